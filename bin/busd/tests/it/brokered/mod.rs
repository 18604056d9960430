//! Brokered buses: processes that attach to them, die, may not, or mean no good.
//!
//! ```text
//! api         create, list, inspect, remove over HTTP; the config file
//! life        processes that come, go and die; a daemon that dies
//! rights      users, groups, roles; the seals of what is handed out
//! hostile     packets and descriptors that are none; too many connections; nothing is left open
//! ```

mod api;
mod hostile;
mod life;
mod rights;

use busway::Bus;

use crate::support::{BusName, Daemon};

/// A brokered bus of its own.
fn make(daemon: &Daemon, options: &str) -> BusName {
    let name = BusName::new();
    daemon.create(&name, &format!(", \"brokered\": true{options}"));
    name
}

fn connect(daemon: &Daemon, name: &str) -> Bus {
    Bus::connect(daemon.broker_socket(), name).unwrap()
}
