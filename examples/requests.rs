//! A server that squares numbers, and callers with many calls in flight: `cargo run --example requests`.
//!
//! The ends would do the same in processes of their own; threads keep the example in one file.

use std::thread;
use std::time::Duration;

use busway::{CallError, Service};

const CALLS: u64 = 1000;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("squares-{}", std::process::id());
    let service = Service::options().callers(2).create(&name)?;
    let mut server = service.server().attach()?;
    let serving = thread::spawn(move || -> Result<u64, busway::Error> {
        let mut served = 0;
        // Ends when nobody has asked for a while.
        while let Some(request) = server.recv_timeout(SECOND / 4)? {
            let number = request.payload().try_into().map(u64::from_le_bytes);
            match number.ok().and_then(|number| number.checked_mul(number)) {
                Some(square) => request.reply(1, &square.to_le_bytes())?,
                None => request.refuse("not a number whose square I know")?,
            };
            served += 1;
        }
        Ok(served)
    });

    let mut caller = service.caller().attach()?;
    let reply = caller.call(1, &12_u64.to_le_bytes(), SECOND)?;
    println!("12 squared is {}", u64::from_le_bytes(reply.payload().try_into()?));
    match caller.call(1, &u64::MAX.to_le_bytes(), SECOND) {
        Err(CallError::Refused(why)) => println!("refused: {why}"),
        other => println!("unexpected: {other:?}"),
    }

    // Many at once: nobody waits for the one before.
    let mut sum = 0;
    for number in 0..CALLS {
        caller.send(1, &number.to_le_bytes(), Some(SECOND))?;
        while let Some(ended) = caller.poll() {
            sum += u64::from_le_bytes(ended.result?.payload().try_into()?);
        }
    }
    while caller.in_flight() > 0 {
        let ended = caller.recv(SECOND).ok_or("no reply")?;
        sum += u64::from_le_bytes(ended.result?.payload().try_into()?);
    }
    println!("sum of the first {CALLS} squares: {sum}");
    let served = serving.join().map_err(|_| "the server panicked")??;
    println!("{served} requests served");
    assert_eq!(caller.send(1, b"", None), Err(CallError::NoServer));
    Service::remove(&name)?;
    Ok(())
}
