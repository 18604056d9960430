//! A task, the waiter and a publisher under `loom`. Barriers are real fences, and the lock is loom's.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::Post;
use crate::sync::bell::Bell;
use crate::sync::bell::model::explore;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

struct Scene {
    head: AtomicU64,
    doorbell: AtomicU32,
    sleepers: AtomicU64,
    post: Mutex<Post<()>>,
}

impl Scene {
    fn bell(&self) -> Bell<'_> {
        Bell { doorbell: &self.doorbell, sleepers: &self.sleepers, bit: 1 }
    }

    fn publish(&self) {
        self.head.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.bell().ring();
        }
    }

    fn has_work(&self) -> bool {
        self.head.load(Ordering::Relaxed) != 0
    }

    /// As the waiter does it whenever it is awake.
    fn scan(&self) -> bool {
        self.post.lock().unwrap().look(&self.doorbell).is_some()
    }
}

#[test]
fn task_that_waits_is_woken() {
    explore(|| {
        let scene = {
            let (doorbell, sleepers) = (AtomicU32::new(0), AtomicU64::new(0));
            let post = Mutex::new(Post::new(&doorbell));
            Arc::new(Scene { head: AtomicU64::new(0), doorbell, sleepers, post })
        };
        let publisher = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || scene.publish())
        };
        let waiter = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || scene.scan())
        };
        // As `Async::poll_ready` does it.
        scene.post.lock().unwrap().leave(());
        scene.bell().announce();
        fence(Ordering::SeqCst);
        let is_pending = !scene.has_work();
        publisher.join().unwrap();
        let woken = waiter.join().unwrap();
        // The waiter does not sleep on a bell that is not what it last saw: it scans once more.
        assert!(!is_pending || woken || scene.scan(), "sleeps for good");
    });
}
