//! One process depends on what another does with an earlier event: `cargo run --example tickets`.
//!
//! A map is built by workers from tiles; whoever draws it waits for the tiles that it needs, by their
//! tickets. Threads stand for processes: a ticket is 24 bytes, and can go through a bus.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use busway::{Bus, Ticket, TicketError};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("tiles-{}", std::process::id());
    let bus = Bus::options().create(&name)?;
    let result = draw(&bus);
    Bus::remove(&name)?;
    Bus::remove(&format!("{name}.painters.dead"))?;
    result
}

fn draw(bus: &Bus) -> Result<(), Box<dyn std::error::Error>> {
    let group = bus.group("painters").create()?;
    let mut producer = bus.producer().attach()?;
    let mut tickets = Vec::new();
    for tile in 0..6_u32 {
        let position = producer.publish_bytes(1, &tile.to_le_bytes())?;
        tickets.push(bus.ticket(producer.lane(), position));
    }

    // Nobody works yet, so nobody waits in vain.
    match group.wait_done(&tickets, None) {
        Err(TicketError::NoMember(ticket)) => println!("nobody paints tile {}", ticket.position()),
        other => println!("unexpected: {other:?}"),
    }

    let painted = AtomicU32::new(0);
    let mut members = Vec::new();
    for _ in 0..2 {
        members.push(group.member().batch(1).attach()?);
    }
    thread::scope(|scope| {
        for mut member in members {
            let painted = &painted;
            scope.spawn(move || -> Result<(), busway::Error> {
                while let Some(tile) = member.receive(SECOND / 5)? {
                    let receipt = tile.receipt();
                    thread::sleep(Duration::from_millis(5)); // painting
                    // ORDERING: relaxed; the acknowledgement makes it visible to who waits for it.
                    painted.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = member.ack(receipt) {
                        println!("painted in vain: {error}");
                    }
                }
                Ok(())
            });
        }
        // As it would come from another process.
        let needed = tickets.iter().map(|ticket| Ticket::from_bytes(ticket.to_bytes()));
        group.wait_done(&needed.collect::<Vec<_>>(), Some(SECOND * 10))
    })?;
    // ORDERING: relaxed; see above.
    println!("drawn from {} tiles", painted.load(Ordering::Relaxed));
    Ok(())
}
