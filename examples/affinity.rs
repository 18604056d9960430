//! Orders are handled by three workers, each order's events by one worker, in their order, although one
//! worker leaves in the middle: `cargo run --example affinity`.
//!
//! The workers would do the same in processes of their own; threads keep the example in one file.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Affinity, Bus, Error, Frame, Group, Schema};

const ORDERS: u64 = 50;
const EVENTS: u64 = 100;

/// What happened to an order, and which of its events that was.
#[derive(Frame, FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(name = "event", kind = 1)]
#[repr(C)]
struct Event {
    order: u64,
    number: u64,
}

/// The last event of each order that was handled.
type Orders = Mutex<BTreeMap<u64, u64>>;

/// Works until nothing has come for a moment, or `most` events are handled. Returns how many it did.
fn work(group: &Group, orders: &Orders, most: u64) -> Result<u64, Error> {
    let mut member = group.member().attach()?;
    let mut done = 0;
    while done < most {
        let Some(task) = member.receive(Duration::from_millis(300))? else {
            break;
        };
        let event = *task.frame().value::<Event>()?;
        let receipt = task.receipt();
        if let Ok(mut orders) = orders.lock() {
            let before = orders.insert(event.order, event.number);
            assert!(before < Some(event.number), "events of an order come in their order");
        }
        member.ack(receipt)?;
        done += 1;
    }
    Ok(done)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("affinity-{}", std::process::id());
    let bus = Bus::options().schema(Schema::of::<Event>()).lanes(1).create(&name)?;
    // The key is the order: the first eight bytes of an event.
    let affinity = Affinity::Payload { offset: 0, len: 8 };
    let group = bus.group("orders").affinity(affinity).create()?;

    let orders = Orders::default();
    let done: Result<Vec<u64>, Error> = thread::scope(|scope| {
        let (group, orders) = (&group, &orders);
        let most = [u64::MAX, u64::MAX, ORDERS * EVENTS / 10];
        let workers = most.map(|most| scope.spawn(move || work(group, orders, most)));
        let mut producer = bus.producer().attach_typed::<Event>()?;
        for number in 1..=EVENTS {
            for order in 0..ORDERS {
                producer.publish(&Event { order, number })?;
            }
        }
        workers.into_iter().map(|worker| worker.join().expect("orders in their order")).collect()
    });
    let done = done?;
    println!("{done:?} events handled by three workers, {} left", group.stat()?.backlog);
    assert_eq!(done.iter().sum::<u64>(), ORDERS * EVENTS);
    Bus::remove(&name)?;
    Bus::remove(&format!("{name}.orders.dead"))?;
    Ok(())
}
