//! Measures busway side by side with what a user would take instead, on the user's own machine.

mod peer;
mod peers;

fn main() {}
