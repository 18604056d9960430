//! One thread waits for a bus, a group and a table: `cargo run --example wait_set`.
//!
//! Orders come by a bus, tasks by a group whose frames are shared with others, and prices stand in a table.
//! The thread sleeps until any of them has something, and takes one thing at a time, so that none of them
//! keeps the others waiting.

use std::thread;
use std::time::Duration;

use busway::{Bus, PollError, Table, Wait, WaitSet};

const COUNT: u64 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [orders, tasks, prices] =
        ["orders", "tasks", "prices"].map(|name| format!("{name}-{}", std::process::id()));
    let orders = Bus::options().payload_bytes(8).create(&orders)?;
    let tasks = Bus::options().payload_bytes(8).create(&tasks)?;
    let workers = tasks.group("workers").max_attempts(0).create()?;
    let prices = Table::options().keys(4).value_bytes(8).create(&prices)?;

    let mut all_orders = orders.consumer().attach()?;
    let mut my_tasks = workers.member().attach()?;
    let mut changes = prices.reader().attach()?.watch();
    let (mut order, mut task, mut price) =
        (orders.producer().attach()?, tasks.producer().attach()?, prices.writer().attach()?);
    let others = thread::spawn(move || {
        for count in 0..COUNT {
            order.publish_bytes(1, &count.to_le_bytes())?;
            thread::sleep(Duration::from_millis(1));
            task.publish_bytes(1, &count.to_le_bytes())?;
            price.set_bytes(count % 4, &count.to_le_bytes())?;
        }
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });

    let mut set = WaitSet::with_wait(Wait::Parking);
    let (mut done, mut closed) = (0, false);
    while done < COUNT || !closed {
        match set.wait(&mut [&mut all_orders, &mut my_tasks, &mut changes], None) {
            Some(0) => match all_orders.poll() {
                Ok(Some(frame)) => println!("order {}", frame.position()),
                Ok(None) => {}
                Err(PollError::Closed) => closed = true,
                Err(error) => return Err(error.into()),
            },
            Some(1) => {
                if let Some(task) = my_tasks.poll()?.map(|task| task.receipt()) {
                    println!("task {}", task.position());
                    my_tasks.ack(task)?;
                    done += 1;
                }
            }
            _ => {
                if let Some(price) = changes.poll()? {
                    println!("price of {}: version {}", price.key(), price.version());
                }
            }
        }
    }
    others.join().map_err(|_| "the other thread panicked")?.map_err(|error| error.to_string())?;
    Bus::remove(orders.name())?;
    Bus::remove(tasks.name())?;
    Table::remove(prices.name())?;
    Ok(())
}
