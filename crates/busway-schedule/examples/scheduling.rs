//! Events at their time, in one program: `cargo run -p busway-schedule --example scheduling`.
//!
//! What is pending ends with the program. `busctl pub NAME --at TIME` hands it to the daemon instead,
//! which keeps it.

use std::time::{Duration, SystemTime};

use busway::{Bus, Timestamps};
use busway_schedule::{Event, Scheduler, Verdict, When, parse_time};

/// A kind for each of the events.
const LAUNCH: u16 = 1;
const TICK: u16 = 2;
const NEVER: u16 = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("scheduling-{}", std::process::id());
    let bus = Bus::options().timestamps(Timestamps::Frame).create(&name)?;
    let mut consumer = bus.consumer().attach()?;
    let (scheduler, report) = Scheduler::publishing(bus.producer().name("timer").attach()?)?;

    // At a time of day, as people write it; here in a moment.
    let at = match parse_time("+50ms", &jiff::ZonedDateTime::now())? {
        When::At(time) => time,
        When::After(delay) => SystemTime::now() + delay,
    };
    scheduler.schedule(at, Event::new(LAUNCH, *b"launch"));
    // Every 20 ms from now on, and one that is taken back in time.
    let now = scheduler.after(Duration::ZERO);
    let ticks = scheduler.schedule_every(now, Duration::from_millis(20), Event::new(TICK, []));
    let never = scheduler.schedule_after(Duration::from_millis(30), Event::new(NEVER, []));
    assert!(never.cancel());

    let mut counts = [0; 4];
    while counts[usize::from(TICK)] < 5 || counts[usize::from(LAUNCH)] < 1 {
        let frame = consumer.recv()?;
        counts[usize::from(frame.kind())] += 1;
        println!("kind {} {:?}", frame.kind(), String::from_utf8_lossy(frame.payload()));
    }
    assert!(ticks.cancel());
    assert_eq!(counts[usize::from(NEVER)], 0);
    println!("published {}, dropped {}", report.published(), report.dropped());
    drop(scheduler);
    Bus::remove(&name)?;

    // Anything else, by any closure: this one tries again until the third attempt.
    let (sender, done) = std::sync::mpsc::channel();
    let scheduler = Scheduler::start(move |text: &mut String, occasion| {
        if occasion.attempt < 2 {
            return Verdict::Again(Duration::from_millis(1));
        }
        let _ = sender.send(format!("{text}, at attempt {}", occasion.attempt + 1));
        Verdict::Done
    })?;
    scheduler.schedule_after(Duration::from_millis(5), "done".to_owned());
    println!("{}", done.recv()?);
    Ok(())
}
