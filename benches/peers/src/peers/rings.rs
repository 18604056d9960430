//! One ring for each producer, as the peers have it whose rings take one producer only: the
//! consumer looks at them in turn.

use std::time::Duration;

use crate::peer::Rx;

/// The receiving ends of several rings as one.
pub struct Rings<R> {
    rings: Vec<R>,
    next: usize,
}

impl<R> Rings<R> {
    /// One end for each of `0..count`, by its number.
    ///
    /// # Errors
    /// That of the first ring that could not be attached.
    pub fn attach(
        count: usize,
        mut attach: impl FnMut(usize) -> Result<R, String>,
    ) -> Result<Self, String> {
        let rings = (0..count).map(&mut attach).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rings, next: 0 })
    }
}

impl<R: Rx> Rx for Rings<R> {
    fn begin(&mut self) -> Result<(), String> {
        self.rings.iter_mut().try_for_each(Rx::begin)
    }

    /// Takes from the first ring, after the one that was taken from last, that has anything.
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for _ in 0..self.rings.len() {
            let ring = self.next;
            self.next = if ring + 1 == self.rings.len() { 0 } else { ring + 1 };
            let count = self.rings[ring].poll(max, &mut each)?;
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }

    /// Only where there is one ring: no peer can sleep on several.
    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        match self.rings.as_mut_slice() {
            [ring] => ring.wait(timeout, each),
            rings => Err(format!("cannot sleep on {} rings at once", rings.len())),
        }
    }
}
