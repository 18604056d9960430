//! The thread, and the list of those whom it sleeps for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::post::Post;
use crate::park::{Bed, PARK};
use crate::sync::{AtomicU32, Ordering, barrier, futex};

/// How long a task sleeps at most where the kernel refuses the heavy barrier.
const UNSURE: Duration = Duration::from_millis(1);
/// How long the thread stays when there is nobody to sleep for.
const LINGER: Duration = Duration::from_secs(1);

static WAITER: Waiter = Waiter {
    changes: AtomicU32::new(0),
    list: Mutex::new(List {
        posts: BTreeMap::new(),
        next: 0,
        running_in: None,
        sleeps_until: None,
    }),
};

#[derive(Debug)]
struct Waiter {
    /// Changed when there is something to learn from the list; the thread sleeps on it too.
    changes: AtomicU32,
    list: Mutex<List>,
}

#[derive(Debug)]
struct List {
    posts: BTreeMap<u64, Entry>,
    next: u64,
    /// The process that the thread runs in. A forked child has the list and not the thread.
    running_in: Option<u32>,
    /// When it will look at the list again, whatever comes.
    sleeps_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    bed: Arc<Bed>,
    post: Post<Waker>,
    /// When whoever waits is woken anyway.
    wake_at: Instant,
}

/// A place in the list, for one end. Given back on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    id: u64,
    bed: Arc<Bed>,
    pid: u32,
}

impl Registration {
    /// Takes a place for the end that sleeps there.
    pub(crate) fn new(bed: &Bed) -> Self {
        let bed = Arc::new(bed.clone());
        let pid = std::process::id();
        let mut list = WAITER.lock();
        if list.running_in.is_some_and(|running| running != pid) {
            // What the parent waited for is nothing to this process, which has no mapping of it.
            (list.posts, list.running_in) = (BTreeMap::new(), None);
        }
        let id = list.next;
        list.next = id.wrapping_add(1);
        let post = Post::new(bed.doorbell());
        list.posts.insert(id, Entry { bed: Arc::clone(&bed), post, wake_at: Instant::now() });
        if list.running_in.is_none() {
            let thread = std::thread::Builder::new().name("busway-waiter".to_owned());
            // A process that cannot have one more thread: tasks are woken by nobody then. So that they
            // are, the next registration tries again; `watch` wakes them meanwhile.
            if thread.spawn(run).is_ok() {
                list.running_in = Some(pid);
            }
        }
        drop(list);
        WAITER.note_change();
        Self { id, bed, pid }
    }

    /// Whether it is for who sleeps there.
    pub(crate) fn is_at(&self, bed: &Bed) -> bool {
        std::ptr::eq(self.bed.doorbell(), bed.doorbell())
    }

    /// Leaves a waker and says that its task sleeps. The caller looks for work after this, once more.
    /// It is woken after `longest` at the latest; where that is `PARK` or longer, when the thread next
    /// looks after it, another `PARK` later at most.
    pub(crate) fn watch(&self, waker: &Waker, longest: Duration) {
        let mut list = WAITER.lock();
        let is_running = list.running_in.is_some();
        if let Some(entry) = list.posts.get_mut(&self.id)
            && !entry.post.waker().is_some_and(|left| left.will_wake(waker))
        {
            entry.post.leave(waker.clone());
        }
        drop(list);
        self.bed.announce();
        let longest = if barrier::heavy() { longest } else { longest.min(UNSURE) };
        let wake_at = Instant::now() + longest;
        let mut list = WAITER.lock();
        // The thread looks every `PARK` by itself. Waking it for less would cost each wait two wakes.
        let is_sooner = longest < PARK && list.sleeps_until.is_none_or(|until| wake_at < until);
        if let Some(entry) = list.posts.get_mut(&self.id) {
            entry.wake_at = wake_at;
        }
        drop(list);
        if !is_running {
            waker.wake_by_ref();
        } else if is_sooner {
            WAITER.note_change();
        }
    }

    /// Takes it back: the task has found something.
    pub(crate) fn unwatch(&self) {
        if let Some(entry) = WAITER.lock().posts.get_mut(&self.id) {
            entry.post.take();
        }
        self.bed.withdraw();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        let entry = WAITER.lock().posts.remove(&self.id);
        // Not under the lock: a waker's drop is somebody else's code.
        drop(entry);
        self.bed.withdraw();
        // So that the mapping goes soon.
        WAITER.note_change();
    }
}

impl Waiter {
    /// Whoever panicked with it left a whole list.
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_change(&self) {
        // ORDERING: release, pairs with the acquire load in `run`.
        self.changes.fetch_add(1, Ordering::Release);
        futex::wake(&self.changes);
    }
}

/// The thread. Progress: bounded by the list's length between two sleeps.
fn run() {
    let mut idle_since = None;
    let mut turn = 0_usize;
    loop {
        // ORDERING: acquire, pairs with the release in `note_change`. Before the list is looked at, so
        // that a change after this ends the sleep.
        let changes = WAITER.changes.load(Ordering::Acquire);
        let now = Instant::now();
        let mut woken = Vec::new();
        let mut beds = Vec::new();
        let mut list = WAITER.lock();
        let mut timeout = if list.posts.is_empty() { LINGER } else { PARK };
        for entry in list.posts.values_mut() {
            let due = entry.wake_at <= now;
            let waker = entry
                .post
                .look(entry.bed.doorbell())
                .or_else(|| if due { entry.post.take() } else { None });
            woken.extend(waker);
            if entry.post.waker().is_some() {
                timeout = timeout.min(entry.wake_at.saturating_duration_since(now));
            }
            beds.push((Arc::clone(&entry.bed), entry.post.rung));
        }
        if list.posts.is_empty() {
            if now.duration_since(*idle_since.get_or_insert(now)) >= LINGER {
                list.running_in = None;
                return;
            }
        } else {
            idle_since = None;
        }
        list.sleeps_until = now.checked_add(timeout);
        drop(list);
        woken.into_iter().for_each(Waker::wake);
        let own = std::iter::once((&WAITER.changes, changes));
        let bells = beds.iter().map(|(bed, rung)| (bed.doorbell(), *rung));
        let words: Vec<(&AtomicU32, u32)> = own.chain(bells).collect();
        turn = turn.wrapping_add(1);
        futex::wait_any(&words, turn, timeout);
    }
}
