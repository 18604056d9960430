//! All or nothing, on one bus and over two: `cargo run --example transactions`.

use busway::{Bus, Deduplicator, KeyedTransaction};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names = ["accounts", "audit"].map(|bus| format!("{bus}-{}", std::process::id()));
    let accounts = Bus::options().create(&names[0])?;
    let audit = Bus::options().create(&names[1])?;
    let mut reader = accounts.consumer().attach()?;
    let mut auditor = audit.consumer().attach()?;
    let mut account_lane = accounts.producer().attach()?;
    let mut audit_lane = audit.producer().attach()?;

    // On one bus: nobody ever sees the one without the other.
    let mut transfer = account_lane.transaction();
    transfer.publish_bytes(1, b"100 from Ann")?;
    transfer.publish_bytes(2, b"100 to Bob")?;
    transfer.commit()?;
    let mut withdrawn = account_lane.transaction();
    withdrawn.publish_bytes(1, b"1000000 from Ann")?;
    withdrawn.rollback();
    println!("{} frames of one transaction are there", reader.lag());
    while let Some(frame) = reader.poll()? {
        println!("  {}", String::from_utf8_lossy(frame.payload()));
    }

    // Over two buses: the first attempt dies between its two commits, and the whole is repeated.
    let key = 0xacc0_0001;
    let mut half = KeyedTransaction::new(key);
    let part = half.join(&mut account_lane)?;
    half.publish_bytes(part, 1, b"5 from Bob")?;
    half.commit()?;
    let mut whole = KeyedTransaction::new(key);
    let (account_part, audit_part) = (whole.join(&mut account_lane)?, whole.join(&mut audit_lane)?);
    whole.publish_bytes(account_part, 1, b"5 from Bob")?;
    whole.publish_bytes(audit_part, 1, b"Bob paid 5")?;
    whole.commit()?;
    for (name, consumer) in [("accounts", &mut reader), ("audit", &mut auditor)] {
        let mut known = Deduplicator::new(1000);
        while let Some(frame) = consumer.poll()? {
            if known.admits(&frame) {
                println!("{name}: {}", String::from_utf8_lossy(frame.payload()));
            }
        }
        println!("{name}: {} repeated part dropped", known.repeated());
    }
    names.iter().try_for_each(|name| Bus::remove(name))?;
    Ok(())
}
