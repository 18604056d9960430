//! Participants that stop for ever, at each of their steps in turn.
//!
//! A step is an access to shared memory. The models lead the protocol's code to its words through
//! types of their own (`Deref`, `Gates`, `OrderWords`), and each time one of those is asked for a
//! word the participant's life is a step shorter. When none is left the thread unwinds out of the
//! very function that it is in, with that access not made, and never comes back: to the others it
//! looks as if the process had been killed there. Between two steps there is no store, so no place to
//! die at is left out.
//!
//! What the kernel does when a process dies (its locks become free, after its last store) is what
//! the model does after `until_death`.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::count_executions;

/// Steps of a life that is explored, at most: more are a model that never ends.
const STEPS_MAX: u32 = 100;

/// How long a participant lives. Shared by all that leads it to the memory.
#[derive(Clone)]
pub(crate) struct Life(Option<Arc<Left>>);

struct Left {
    steps: AtomicU32,
    died: Arc<AtomicBool>,
}

/// What a dying thread unwinds with.
struct Death;

impl Life {
    /// Of one who does not die.
    pub(crate) fn without_end() -> Self {
        Self(None)
    }

    fn of(steps: u32, died: &Arc<AtomicBool>) -> Self {
        let (steps, died) = (AtomicU32::new(steps), Arc::clone(died));
        Self(Some(Arc::new(Left { steps, died })))
    }

    /// Comes before each access to shared memory. Does not return when life is over.
    pub(crate) fn step(&self) {
        let Some(left) = &self.0 else {
            return;
        };
        // Nothing of the model can be ordered by these: they are not loom's.
        let steps = left.steps.load(Ordering::Relaxed);
        if steps == 0 {
            left.died.store(true, Ordering::Relaxed);
            panic::resume_unwind(Box::new(Death));
        }
        left.steps.store(steps - 1, Ordering::Relaxed);
    }
}

/// Lets a mortal participant run. `None`: it died. Any other panic goes on.
pub(crate) fn until_death<T>(lives: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(lives)) {
        Ok(done) => Some(done),
        Err(death) if death.is::<Death>() => None,
        Err(panic) => panic::resume_unwind(panic),
    }
}

/// Explores a model with a participant that dies before its first step, before its second, and so
/// on, until there is no execution left in which it dies.
pub(crate) fn explore_deaths(
    preemptions: Option<usize>,
    model: impl Fn(&Life) + Sync + Send + 'static,
) {
    let model = Arc::new(model);
    let mut executions = 0;
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    for steps in 0..STEPS_MAX {
        let died = Arc::new(AtomicBool::new(false));
        let (dies, model) = (Arc::clone(&died), Arc::clone(&model));
        executions += count_executions(preemptions, move || model(&Life::of(steps, &dies)));
        if !died.load(Ordering::Relaxed) {
            println!("{name}: {executions} executions, death at each of {steps} steps");
            return;
        }
    }
    panic!("dies after {STEPS_MAX} steps as well");
}
