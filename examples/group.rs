//! A group of three workers shares ten thousand tasks; one refuses every hundredth, one leaves in the
//! middle: `cargo run --example group`.
//!
//! The workers would do the same in processes of their own; threads keep the example in one file.

use std::thread;
use std::time::Duration;

use busway::{Bus, Error, Group};

const TASKS: u64 = 10_000;

/// Works until nothing has come for a moment, or `most` tasks are done. Returns how many it did.
fn work(group: &Group, most: u64) -> Result<u64, Error> {
    let mut member = group.member().attach()?;
    let mut done = 0;
    while done < most {
        let Some(task) = member.receive(Duration::from_millis(300))? else {
            break;
        };
        let number =
            task.frame().payload().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let receipt = task.receipt();
        if number % 100 == 99 {
            member.nack(receipt, Duration::ZERO)?;
        } else {
            member.ack(receipt)?;
            done += 1;
        }
    }
    Ok(done)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("group-{}", std::process::id());
    let bus = Bus::options().payload_bytes(8).lanes(1).create(&name)?;
    let group = bus.group("work").max_attempts(2).create()?;

    let workers: Vec<_> = [u64::MAX, u64::MAX, TASKS / 10]
        .into_iter()
        .map(|most| {
            let group = group.clone();
            thread::spawn(move || work(&group, most))
        })
        .collect();
    let mut producer = bus.producer().attach()?;
    for number in 0..TASKS {
        producer.publish_bytes(1, &number.to_le_bytes())?;
    }
    let mut done = 0;
    for worker in workers {
        done += worker.join().map_err(|_| "a worker panicked")??;
    }

    let letters = group.dead_letters()?.ok_or("this group has dead letters")?;
    let dead = letters.list()?;
    println!("{done} tasks done, {} dead letters, {} left", dead.len(), group.stat()?.backlog);
    assert_eq!(done + dead.len() as u64, TASKS);
    Bus::remove(&name)?;
    Bus::remove(&format!("{name}.work.dead"))?;
    Ok(())
}
