//! The newest frames of a stream, and the rates that they make.

#![allow(clippy::cast_precision_loss, reason = "rates are rounded for people anyway")]

use serde::Serialize;
use std::collections::VecDeque;
use std::time::Duration;

/// A line of `hz --json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct FrameRate {
    pub bus: String,
    pub rate_hz: f64,
    pub interval_min_ns: u64,
    pub interval_max_ns: u64,
    pub interval_std_dev_ns: u64,
    pub window_frames: usize,
    pub window_lost_frames: u64,
    pub total_frames: u64,
}

/// A line of `bw --json`.
#[derive(Debug, PartialEq, Serialize)]
pub struct ByteRate {
    pub bus: String,
    pub bytes_per_s: f64,
    pub frame_mean_bytes: f64,
    pub frame_min_bytes: usize,
    pub frame_max_bytes: usize,
    pub window_frames: usize,
    pub window_lost_frames: u64,
    pub total_frames: u64,
}

/// What is kept of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub time_ns: u64,
    pub len: usize,
    pub lost_before: u64,
}

/// The newest frames.
pub struct Window {
    marks: VecDeque<Mark>,
    frames_max: usize,
    total: u64,
}

impl Window {
    pub fn new(frames_max: usize) -> Self {
        Self { marks: VecDeque::with_capacity(frames_max), frames_max, total: 0 }
    }

    pub fn push(&mut self, mark: Mark) {
        if self.marks.len() == self.frames_max {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
        self.total += 1;
    }

    /// Frames ever pushed.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// So many were lost right before the newest frame.
    pub fn lost(&mut self, frames: u64) {
        if let Some(newest) = self.marks.back_mut() {
            newest.lost_before += frames;
        }
    }

    /// The marks by time: lanes are read in turn, so frames of several come out of order.
    fn sorted(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = self.marks.iter().copied().collect();
        marks.sort_by_key(|mark| mark.time_ns);
        marks
    }

    /// Frames a second over the window, lost ones included; `None` while there is no interval.
    fn frames_per_s(marks: &[Mark]) -> Option<f64> {
        let (first, last) = (marks.first()?, marks.last()?);
        let span_ns = last.time_ns.checked_sub(first.time_ns).filter(|span| *span > 0)?;
        let lost: u64 = marks.iter().skip(1).map(|mark| mark.lost_before).sum();
        Some((marks.len() as u64 - 1 + lost) as f64 * 1e9 / span_ns as f64)
    }

    pub fn frame_rate(&self, bus: &str) -> Option<FrameRate> {
        let marks = self.sorted();
        let rate_hz = Self::frames_per_s(&marks)?;
        let intervals: Vec<u64> = marks
            .windows(2)
            .filter(|pair| pair[1].lost_before == 0)
            .map(|pair| pair[1].time_ns - pair[0].time_ns)
            .collect();
        let count = intervals.len().max(1) as f64;
        let mean = intervals.iter().map(|ns| *ns as f64).sum::<f64>() / count;
        let variance = intervals.iter().map(|ns| (*ns as f64 - mean).powi(2)).sum::<f64>() / count;
        Some(FrameRate {
            bus: bus.to_owned(),
            rate_hz,
            interval_min_ns: intervals.iter().copied().min().unwrap_or(0),
            interval_max_ns: intervals.iter().copied().max().unwrap_or(0),
            interval_std_dev_ns: whole_ns(variance.sqrt()),
            window_frames: marks.len(),
            window_lost_frames: marks.iter().map(|mark| mark.lost_before).sum(),
            total_frames: self.total,
        })
    }

    pub fn byte_rate(&self, bus: &str) -> Option<ByteRate> {
        let marks = self.sorted();
        let lengths = || marks.iter().map(|mark| mark.len);
        let frame_mean_bytes = lengths().sum::<usize>() as f64 / marks.len().max(1) as f64;
        Some(ByteRate {
            bus: bus.to_owned(),
            bytes_per_s: Self::frames_per_s(&marks)? * frame_mean_bytes,
            frame_mean_bytes,
            frame_min_bytes: lengths().min()?,
            frame_max_bytes: lengths().max()?,
            window_frames: marks.len(),
            window_lost_frames: marks.iter().map(|mark| mark.lost_before).sum(),
            total_frames: self.total,
        })
    }
}

fn whole_ns(ns: f64) -> u64 {
    let duration = Duration::try_from_secs_f64(ns / 1e9).unwrap_or(Duration::MAX);
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    fn window(marks: &[(u64, u64)]) -> Window {
        let mut window = Window::new(100);
        for &(time_ns, lost_before) in marks {
            window.push(Mark { time_ns, len: 10, lost_before });
        }
        window
    }

    #[test]
    fn a_steady_stream_has_its_rate_and_no_deviation() {
        let window = window(&[(0, 0), (1_000_000, 0), (2_000_000, 0), (3_000_000, 0)]);
        let rate = window.frame_rate("x").unwrap();
        assert_eq!((rate.rate_hz, rate.interval_std_dev_ns), (1000.0, 0));
        assert_eq!((rate.interval_min_ns, rate.interval_max_ns), (1_000_000, 1_000_000));
        assert_eq!(window.byte_rate("x").unwrap().bytes_per_s, 10_000.0);
    }

    #[test]
    fn lost_frames_count_in_the_rate_and_not_in_the_intervals() {
        let rate = window(&[(0, 0), (1_000_000, 0), (4_000_000, 2)]).frame_rate("x").unwrap();
        assert_eq!(rate.rate_hz, 1000.0);
        assert_eq!((rate.interval_max_ns, rate.window_lost_frames), (1_000_000, 2));
    }

    #[test]
    fn frames_of_several_lanes_are_put_in_order_of_time() {
        let rate = window(&[(2_000_000, 0), (0, 0), (1_000_000, 0)]).frame_rate("x").unwrap();
        assert_eq!((rate.rate_hz, rate.interval_max_ns), (1000.0, 1_000_000));
    }

    #[test]
    fn one_frame_has_no_rate_and_the_window_has_a_limit() {
        assert!(window(&[(5, 0)]).frame_rate("x").is_none());
        let mut small = Window::new(2);
        for time_ns in 0..5 {
            small.push(Mark { time_ns, len: 1, lost_before: 0 });
        }
        assert_eq!((small.marks.len(), small.total), (2, 5));
    }
}
