//! Looking at the frames that a group has not done with, without taking part.

#![allow(unsafe_code)]

use super::Group;
use crate::buffer::Buffer;
use crate::claims::Window;
use crate::error::Error;
use crate::lane::lossy::Check;
use crate::layout::claim::Stand;
use crate::received::FrameRef;
use crate::run;

/// Calls `look` with each frame that is published and that the group is not done with, lane by lane.
/// A frame that the gate passes meanwhile may be left out.
pub(super) fn pending(group: &Group, mut look: impl FnMut(FrameRef<'_>)) -> Result<(), Error> {
    let bus = group.bus();
    let lookout = bus.tie().observer(bus.header())?;
    let geometry = bus.header().geometry;
    let capacity = geometry.shape.capacity;
    let row = lookout.regions.cursors.row(group.info().seat);
    let (Some(row), Some(shape)) = (row, geometry.frame_shape()) else {
        return Ok(());
    };
    let mut buffer = Buffer::new(shape.stride());
    let lanes = lookout.lanes.iter().zip(row.positions.iter().zip(&group.inner.regions.lanes));
    for (number, (memory, (gate, lane))) in (0_u32..).zip(lanes) {
        let window = Window::look(&memory.words.head, gate, capacity)
            .map_err(|_| group.impossible(number))?;
        for step in 0..window.len() {
            let position = window.gate.wrapping_add(step);
            if lane.claims.stand(position, lane.claims.word(position)) == Stand::Done {
                continue;
            }
            memory.data.slots.load_words(position, buffer.words_mut(0..shape.stride()));
            let is_whole = Check::after_copy(&memory.words, capacity).is_whole(position);
            let run = run::buffered(number, position, 0, 1, &memory.data, &buffer);
            if let Some(mut run) = run.filter(|_| is_whole) {
                // SAFETY: a run of one frame, a copy in the buffer, which is not written to before the
                // next turn.
                look(unsafe { run.next(shape) });
            }
        }
    }
    Ok(())
}
