//! Waiting for what others have done: it ends, whoever dies.

use std::thread;
use std::time::Duration;

use busway::{Affinity, Bus, Ticket, TicketError};
use busway_crashable::CrashPoint;

use super::journal::Scratch;
use super::points::{is_at_its_end, set_up, wait_until};

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn wait_ends_with_the_last_acknowledgement_and_sees_what_was_done() {
    let scratch = Scratch::new("tickets-done");
    let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
    let group = bus.open_group("g").unwrap();
    let lane = producer.lane();
    let tickets: Vec<Ticket> = (0..8_u64)
        .map(|number| producer.publish_bytes(0, &number.to_le_bytes()).unwrap())
        .map(|position| bus.ticket(lane, position))
        .collect();
    let done = std::sync::atomic::AtomicU32::new(0);
    let mut member = group.member().attach().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut receipts = Vec::new();
            while receipts.len() < 8 {
                receipts.extend(
                    member.receive(Duration::from_secs(1)).unwrap().map(|one| one.receipt()),
                );
            }
            // The last first: each is waited for by its own word, not by the gate.
            for receipt in receipts.into_iter().rev() {
                thread::sleep(Duration::from_millis(2));
                // ORDERING: relaxed; the acknowledgement makes it visible.
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                member.ack(receipt).unwrap();
            }
        });
        group.wait_done(&tickets[7..], PATIENCE).unwrap();
        assert!(group.is_done(tickets[7]).unwrap());
        group.wait_done(&tickets, PATIENCE).unwrap();
        // ORDERING: relaxed; see above.
        assert_eq!(done.load(std::sync::atomic::Ordering::Relaxed), 8);
    });
    // Also when the ring has come round.
    assert!(tickets.iter().all(|ticket| group.is_done(*ticket).unwrap()));
}

#[test]
fn worker_that_dies_ends_the_wait_for_its_work_unless_another_takes_it_over() {
    let scratch = Scratch::new("tickets-dies");
    let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
    let group = bus.open_group("g").unwrap();
    let point = CrashPoint::GroupAckNotMade.name();
    let mut worker = scratch.spawn(&format!("work {point} die"));
    wait_until(|| group.stat().unwrap().members.len() == 1);
    let position = producer.publish_bytes(0, &0_u64.to_le_bytes()).unwrap();
    let ticket = bus.ticket(producer.lane(), position);
    let mut number = 0_u64;
    while !is_at_its_end(&worker) {
        number += 1;
        let _full = producer.try_publish_bytes(0, &number.to_le_bytes());
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!worker.0.wait().unwrap().success(), "it died");
    let last = bus.ticket(producer.lane(), producer.position().wrapping_sub(1));
    assert!(
        matches!(group.wait_done(&[last], None), Err(TicketError::NoMember(one)) if one == last)
    );
    let mut heir = group.member().attach().unwrap();
    thread::scope(|scope| {
        let heirs = scope.spawn(|| {
            while group.stat().unwrap().backlog > 0 {
                if let Some(receipt) =
                    heir.receive(Duration::from_millis(5)).unwrap().map(|one| one.receipt())
                {
                    heir.ack(receipt).unwrap();
                }
            }
        });
        group.wait_done(&[ticket, last], PATIENCE).unwrap();
        heirs.join().unwrap();
    });
}

#[test]
fn dead_letters_strange_tickets_and_time_that_is_over_are_told() {
    let scratch = Scratch::new("tickets-told");
    let (bus, mut producer) = set_up(&scratch, Duration::from_secs(600), Affinity::Off);
    bus.remove_group("g").unwrap();
    let group = bus.group("h").max_attempts(2).create().unwrap();
    let _letters = Letters(group.info().dead_letter_bus.clone().unwrap());
    let mut member = group.member().attach().unwrap();
    let position = producer.publish_bytes(0, b"poison").unwrap();
    let bad = bus.ticket(producer.lane(), position);
    let open = group.wait_done(&[bad], Some(Duration::from_millis(5)));
    assert!(matches!(open, Err(TicketError::TimedOut { open: 1 })), "{open:?}");
    while !group.is_done(bad).unwrap() {
        if let Some(receipt) =
            member.receive(Duration::from_millis(5)).unwrap().map(|one| one.receipt())
        {
            member.nack(receipt, Duration::ZERO).unwrap();
        }
    }
    let told = group.wait_done(&[bad], PATIENCE);
    assert!(matches!(told, Err(TicketError::DeadLetter(one)) if one == bad), "{told:?}");
    group.dead_letters().unwrap().unwrap().purge(u64::MAX).unwrap();
    group.wait_done(&[bad], PATIENCE).unwrap();

    let ahead = bus.ticket(producer.lane(), position.wrapping_add(1));
    assert!(matches!(group.is_done(ahead), Err(TicketError::NotPublished(_))));
    let nowhere = Ticket::from_bytes({
        let mut bytes = bad.to_bytes();
        bytes[8..16].fill(0xff);
        bytes
    });
    assert!(matches!(group.is_done(nowhere), Err(TicketError::NotPublished(_))));
    let strange = Ticket::from_bytes([7; 24]);
    assert!(matches!(group.is_done(strange), Err(TicketError::OtherBus(_))));
    let next = producer.publish_bytes(0, b"next").unwrap();
    bus.remove_group("h").unwrap();
    let gone = group.wait_done(&[bus.ticket(producer.lane(), next)], None);
    assert!(matches!(gone, Err(TicketError::Poll(_))), "{gone:?}");
}

/// Another bus of the test, removed whatever happens.
struct Letters(String);

impl Drop for Letters {
    fn drop(&mut self) {
        let _removed = Bus::remove(&self.0);
    }
}
