//! Telling work that is under way that nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, seen by all clones and by all children.
///
/// Nothing is interrupted: work asks [`is_cancelled`](Self::is_cancelled) where it can stop.
///
/// # Examples
/// ```
/// use busway_toolkit::Cancel;
///
/// let all = Cancel::new();
/// let one = all.child();
/// one.cancel();
/// assert!(one.is_cancelled() && !all.is_cancelled());
/// all.cancel();
/// assert!(all.child().is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    node: Arc<Node>,
}

#[derive(Debug, Default)]
struct Node {
    set: AtomicBool,
    parent: Option<Cancel>,
}

impl Cancel {
    /// Not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is cancelled with this one, and may be by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { node: Arc::new(Node { set: AtomicBool::new(false), parent: Some(self.clone()) }) }
    }

    /// Cancels this one and all below it. There is no way back.
    pub fn cancel(&self) {
        // ORDERING: release, pairs with the acquire in `is_cancelled`: who sees it sees why.
        self.node.set.store(true, Ordering::Release);
    }

    /// Whether this one, or any above it, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // ORDERING: acquire, pairs with the release in `cancel`.
        let own = self.node.set.load(Ordering::Acquire);
        own || self.node.parent.as_ref().is_some_and(Self::is_cancelled)
    }
}
