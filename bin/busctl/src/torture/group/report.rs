//! What is shown of groups: the counts of the page and of the document.

use super::super::gaps::Gaps;
use super::super::tally::Tally;
use super::journal::Again;
use super::stage::FrameCounts;
use crate::exit::Failure;
use crate::units::format_count as count;
use serde::Serialize;

/// The counts of groups in a document.
#[derive(Serialize)]
pub struct Counts {
    published_frames: u64,
    handed_out_frames: u64,
    handed_out_again: u64,
    acknowledged_frames: u64,
    acknowledged_or_not: u64,
    acknowledged_too_late: u64,
    refused: u64,
    timed_out: u64,
    died: u64,
    dead_letters: u64,
    dead_letters_again: u64,
    letters_held_up: u64,
    lost_in_hand: u64,
    groups_kept: u64,
    seats_given_back: u64,
    refusals: u64,
}

/// The rows of frames that are handed out again, with their names in the document and in the table.
pub const AGAIN: [(Again, &str, &str); 2] = [
    (Again::Refused, "handed_out_again_after_refusal", "it was refused, to be tried at once"),
    (Again::Killed, "handed_out_again_after_kill", "its member was killed"),
];

/// The counts for a document.
pub fn counts(tally: &Tally) -> Counts {
    let (groups, frames) = (&tally.groups, tally.groups.frames);
    Counts {
        published_frames: frames.frames,
        handed_out_frames: frames.handed,
        handed_out_again: frames.handed_again,
        acknowledged_frames: frames.acknowledged,
        acknowledged_or_not: frames.unknown,
        acknowledged_too_late: frames.too_late,
        refused: groups.refused,
        timed_out: groups.timed_out,
        died: groups.died,
        dead_letters: frames.letters,
        dead_letters_again: frames.letters_again,
        letters_held_up: groups.letters_held_up,
        lost_in_hand: frames.lost_in_hand,
        groups_kept: groups.kept,
        seats_given_back: tally.seats_given_back,
        refusals: tally.refusals,
    }
}

/// The rows of the page.
pub fn print(
    tally: &Tally,
    row: impl Fn(&str, String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let groups = &tally.groups;
    let FrameCounts { frames, handed, handed_again, acknowledged, too_late, .. } = groups.frames;
    let FrameCounts { letters, letters_again, unknown, lost_in_hand, .. } = groups.frames;
    row(
        "frames",
        format!(
            "{} published, {} handed out, {} of them again; {} acknowledged, {} too late",
            count(frames),
            count(handed),
            count(handed_again),
            count(acknowledged),
            count(too_late)
        ),
    )?;
    row(
        "attempts",
        format!(
            "{} refused, {} timed out, {} of dead members",
            count(groups.refused),
            count(groups.timed_out),
            count(groups.died)
        ),
    )?;
    row(
        "letters",
        format!(
            "{} frames, {} sent again by another, {} held up",
            count(letters),
            count(letters_again),
            count(groups.letters_held_up)
        ),
    )?;
    row(
        "in hand",
        format!(
            "{} at most once, lost with who was killed; {} at least once, acknowledged by the dead or \
             not",
            count(lost_in_hand),
            count(unknown)
        ),
    )?;
    row(
        "others",
        format!(
            "{} second groups kept, {} seats given back, {} publishes refused",
            count(groups.kept),
            count(tally.seats_given_back),
            count(tally.refusals)
        ),
    )
}

/// How long frames took to be handed out again.
pub fn again(tally: &Tally) -> impl Iterator<Item = (&'static str, &'static str, Gaps)> {
    AGAIN.map(|(again, name, says)| (name, says, tally.again(again))).into_iter()
}
