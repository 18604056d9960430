//! What is due when: a sorted set of times for each clock, and the entries by number.

use std::collections::{BTreeSet, HashMap};

use crate::clock::{Due, Now, Wake};

/// Entries by when they are due. Entries of the same time come in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    wall: BTreeSet<(u64, u64)>,
    elapsed: BTreeSet<(u64, u64)>,
    entries: HashMap<u64, (Due, E)>,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { wall: BTreeSet::new(), elapsed: BTreeSet::new(), entries: HashMap::new() }
    }

    /// Puts an entry in; whatever had this number before is out.
    pub(crate) fn insert(&mut self, id: u64, due: Due, entry: E) {
        self.remove(id);
        let (times, time) = self.times(due);
        times.insert((time, id));
        self.entries.insert(id, (due, entry));
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<E> {
        let (due, entry) = self.entries.remove(&id)?;
        let (times, time) = self.times(due);
        times.remove(&(time, id));
        Some(entry)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.entries.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When it is worth looking again.
    pub(crate) fn next(&self) -> Wake {
        let first = |times: &BTreeSet<(u64, u64)>| times.first().map(|(time, _)| *time);
        Wake { wall_ns: first(&self.wall), elapsed_ns: first(&self.elapsed) }
    }

    /// Takes the entry out that has been due for longest, if one is due.
    pub(crate) fn take_due(&mut self, now: Now) -> Option<(u64, E)> {
        let wall = self.wall.first().filter(|(time, _)| *time <= now.wall_ns);
        let elapsed = self.elapsed.first().filter(|(time, _)| *time <= now.elapsed_ns);
        let id = match (wall, elapsed) {
            (Some((wall, one)), Some((elapsed, other))) => {
                let is_first = now.wall_ns - wall >= now.elapsed_ns - elapsed;
                if is_first { *one } else { *other }
            }
            (Some((_, id)), None) | (None, Some((_, id))) => *id,
            (None, None) => return None,
        };
        Some((id, self.remove(id)?))
    }

    fn times(&mut self, due: Due) -> (&mut BTreeSet<(u64, u64)>, u64) {
        match due {
            Due::Wall(time) => (&mut self.wall, time),
            Due::Elapsed(time) => (&mut self.elapsed, time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { wall_ns: 1_000, elapsed_ns: 50 };

    #[test]
    fn what_has_been_due_for_longest_comes_first_whatever_the_clock() {
        let mut queue = Queue::new();
        queue.insert(1, Due::Wall(990), "ten late");
        queue.insert(2, Due::Elapsed(20), "thirty late");
        queue.insert(3, Due::Wall(1_000), "just due");
        queue.insert(4, Due::Wall(1_001), "one early");
        queue.insert(5, Due::Elapsed(51), "early as well");
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_due(NOW)).map(|(id, _)| id).collect();
        assert_eq!(taken, [2, 1, 3]);
        assert_eq!(queue.next(), Wake { wall_ns: Some(1_001), elapsed_ns: Some(51) });
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn same_time_is_the_order_of_numbers() {
        let mut queue = Queue::new();
        for id in [7, 3, 5] {
            queue.insert(id, Due::Wall(1), ());
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.take_due(NOW)).map(|(id, ())| id).collect();
        assert_eq!(taken, [3, 5, 7]);
    }

    #[test]
    fn what_is_removed_or_put_in_anew_is_not_due_any_more() {
        let mut queue = Queue::new();
        queue.insert(1, Due::Wall(1), "old");
        queue.insert(2, Due::Elapsed(1), "removed");
        queue.insert(1, Due::Elapsed(60), "new");
        assert_eq!(queue.remove(2), Some("removed"));
        assert_eq!((queue.remove(2), queue.contains(2)), (None, false));
        assert_eq!(queue.take_due(NOW), None);
        assert_eq!(queue.next(), Wake { wall_ns: None, elapsed_ns: Some(60) });
        assert_eq!(queue.take_due(Now { elapsed_ns: 60, ..NOW }), Some((1, "new")));
        assert_eq!(queue.next(), Wake::default());
    }
}
