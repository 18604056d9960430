//! Opens a bus of either kind: one that a daemon hands out, or one that is a segment with a name.
//!
//! The daemon is asked first. It refuses a name that a named bus has; but anybody can make a segment
//! under any name afterwards, and nobody shall be led to it who means the daemon's bus.

use crate::context::Context;
use crate::daemon;
use crate::exit::Failure;
use busd::ClientError;
use busway::{Bus, Error};

/// Opens the bus of this name.
///
/// # Errors
/// Those of [`Bus::open`] and [`Bus::connect`].
pub fn open(context: &Context, name: &str) -> Result<Bus, Failure> {
    busway::check_name(name)?;
    if let Some(bus) = brokered(context, name)? {
        return Ok(bus);
    }
    Bus::open(name).map_err(|error| match error {
        Error::NotFound { .. } => Failure::from(error).hint(
            "`busctl ls` shows the buses that exist; a brokered one needs the daemon that made it",
        ),
        error => error.into(),
    })
}

/// The daemon's bus of this name; `None` when there is no daemon, or it has no such bus.
fn brokered(context: &Context, name: &str) -> Result<Option<Bus>, Failure> {
    let socket = context.runtime_dir.broker_socket();
    if context.no_daemon || !socket.exists() {
        return Ok(None);
    }
    context.runtime_dir.check().map_err(ClientError::RuntimeDir)?;
    match Bus::connect(&socket, name) {
        Ok(bus) => Ok(Some(bus)),
        // A daemon that was killed leaves its socket behind.
        Err(Error::NotFound { .. } | Error::Broker { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names of the daemon's buses, if one runs.
///
/// # Errors
/// When the runtime directory is not safe to talk to anybody in.
pub fn brokered_names(context: &Context) -> Result<Vec<String>, Failure> {
    let Some(client) = daemon::running(context)? else {
        return Ok(Vec::new());
    };
    let buses = client.buses()?.buses.into_iter();
    Ok(buses.filter(|bus| bus.brokered).map(|bus| bus.name).collect())
}
