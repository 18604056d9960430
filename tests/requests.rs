//! Calls between processes: answered once or not at all, whoever dies; and nothing is left behind.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use busway::{CallError, Error, PublishError, Service};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a worker process is to be, and of which service.
const WORKER: &str = "BUSWAY_REQUESTS_WORKER";
/// Deaths of each test.
const KILLS: u32 = 100;

/// A service with a name of its own, removed when the test ends.
struct Named(Service, String);

impl Named {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t-{}-requests-{number}", std::process::id());
        let options = Service::options().requests_frames(64).replies_frames(256).callers(4);
        Self(options.create(&name).unwrap(), name)
    }
}

impl std::ops::Deref for Named {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // A test may have removed it itself.
        let _removed = Service::remove(&self.1);
    }
}

/// A worker process, killed by its own handle when this goes.
struct Worker(Child);

impl Worker {
    fn start(role: &str, service: &Named) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["worker", "--exact", "--test-threads=1"])
            .env(WORKER, format!("{role} {}", service.1))
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have been killed before.
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// Not a test: what a worker process does until it is killed.
#[test]
fn worker() {
    let Ok(role) = std::env::var(WORKER) else {
        return;
    };
    let (role, name) = role.split_once(' ').unwrap();
    let service = Service::open(name).unwrap();
    match role {
        "server" => serve(&service),
        "caller" => call_on_and_on(&service),
        role => panic!("{role}"),
    }
}

/// Answers each number with its double, and those that are odd out of their turn.
fn serve(service: &Service) {
    let mut server = service.server().attach().unwrap();
    let mut later = Vec::new();
    loop {
        if let Some(request) = server.recv_timeout(Duration::from_millis(1)).unwrap() {
            let number = u64::from_le_bytes(request.payload().try_into().unwrap());
            if number % 2 == 1 {
                later.push((request.reply_to(), number));
            } else {
                request.reply(2, &(number * 2).to_le_bytes()).unwrap();
            }
        } else {
            for (to, number) in later.drain(..) {
                server.reply(to, 2, &(number * 2).to_le_bytes()).unwrap();
            }
        }
    }
}

fn call_on_and_on(service: &Service) {
    let mut caller = service.caller().in_flight(128).attach().unwrap();
    for number in 0_u64.. {
        match caller.send(2, &number.to_le_bytes(), None) {
            Ok(_) => {}
            Err(_) => {
                let _ended = caller.recv(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn replies_find_their_calls_in_any_order() {
    let service = Named::new();
    let mut server = service.server().attach().unwrap();
    let (mut one, mut two) =
        (service.caller().attach().unwrap(), service.caller().attach().unwrap());
    let first = one.send(1, b"first", Some(PATIENCE)).unwrap();
    let second = one.send(2, b"second", Some(PATIENCE)).unwrap();
    let other = two.send(3, b"other", Some(PATIENCE)).unwrap();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let request = server.recv_timeout(PATIENCE).unwrap().unwrap();
        asked.push((request.reply_to(), request.kind(), request.payload().to_vec()));
    }
    for (to, kind, body) in asked.into_iter().rev() {
        assert!(server.reply(to, kind + 10, &[&b"re: "[..], &body].concat()).unwrap());
    }
    // The second comes first, and waits for its turn.
    let reply = one.wait(first).unwrap();
    assert_eq!((reply.kind(), reply.payload()), (11, &b"re: first"[..]));
    let ended = one.recv(PATIENCE).unwrap();
    assert_eq!((ended.call, ended.result.unwrap().payload()), (second, &b"re: second"[..]));
    assert_eq!(two.wait(other).unwrap().payload(), b"re: other");
    assert_eq!((one.in_flight(), one.late(), two.in_flight()), (0, 0, 0));
    assert_eq!(one.poll(), None);
}

#[test]
fn calls_end_by_refusal_timeout_and_cancelling() {
    let service = Named::new();
    let mut caller = service.caller().in_flight(2).attach().unwrap();
    assert_eq!(caller.send(0, b"", None), Err(CallError::NoServer));
    assert!(!caller.has_server() && !caller.wait_for_server(Duration::ZERO));
    let mut server = service.server().attach().unwrap();
    assert!(caller.wait_for_server(PATIENCE));

    let call = caller.send(1, b"please", None).unwrap();
    server
        .poll()
        .unwrap()
        .unwrap()
        .refuse("no, since it is late; and a reason so long that it cannot fit")
        .unwrap();
    match caller.wait(call) {
        Err(CallError::Refused(why)) => {
            assert_eq!(&*why, "no, since it is late; and a reason so long that ");
        }
        other => panic!("{other:?}"),
    }

    let call = caller.send(1, b"slow", Some(Duration::from_millis(5))).unwrap();
    assert_eq!(caller.wait(call), Err(CallError::TimedOut));
    let slow = server.poll().unwrap().unwrap().reply_to();
    assert!(server.poll().unwrap().is_none(), "what comes next says that it is too late");
    assert!(server.is_cancelled(slow));
    assert!(server.reply(slow, 0, b"late").unwrap(), "the caller is there");
    assert_eq!(caller.poll(), None);
    assert_eq!(caller.late(), 1);

    let call = caller.send(1, b"unwanted", None).unwrap();
    assert!(caller.cancel(call) && !caller.cancel(call));
    assert_eq!(caller.wait(call), Err(CallError::TimedOut));
    let (first, second) = (caller.send(1, b"", None).unwrap(), caller.send(1, b"", None).unwrap());
    assert_ne!(first, second);
    assert_eq!(caller.send(1, b"", None), Err(CallError::TooMany { max: 2 }));
    let long = CallError::NotSent(PublishError::TooLarge { len: 65, max: 64 });
    caller.cancel(first);
    assert_eq!(caller.send(1, &[0; 49], None), Err(long));
    assert_eq!(caller.in_flight(), 1);
}

#[test]
fn server_that_leaves_ends_its_calls_and_the_next_starts_anew() {
    let service = Named::new();
    let mut caller = service.caller().attach().unwrap();
    let mut server = service.server().attach().unwrap();
    assert!(matches!(service.server().attach(), Err(Error::SeatsTaken { .. })));
    let (answered, open) =
        (caller.send(1, b"a", None).unwrap(), caller.send(1, b"b", None).unwrap());
    server.recv_timeout(PATIENCE).unwrap().unwrap().reply(1, b"A").unwrap();
    drop(server);
    assert_eq!(caller.wait(open), Err(CallError::ServerGone));
    assert_eq!(caller.wait(answered).unwrap().payload(), b"A", "its last word counts");
    let mut next = service.server().attach().unwrap();
    assert!(next.poll().unwrap().is_none(), "what the one before was asked is not handed on");
    let call = caller.send(1, b"c", None).unwrap();
    next.recv_timeout(PATIENCE).unwrap().unwrap().reply(1, b"C").unwrap();
    assert_eq!(caller.wait(call).unwrap().payload(), b"C");
}

/// The seat at the requests is taken before it is settled from where they are read: what was sent in
/// between would be read by nobody, and its caller wait for ever.
#[test]
fn server_that_is_still_attaching_is_not_asked() {
    let service = Named::new();
    let mut caller = service.caller().attach().unwrap();
    let half = service.requests().consumer().attach().unwrap();
    assert!(!caller.has_server());
    assert_eq!(caller.send(1, b"", None), Err(CallError::NoServer));
    drop(half);
    let mut server = service.server().attach().unwrap();
    let call = caller.send(1, b"a", None).unwrap();
    server.recv_timeout(PATIENCE).unwrap().unwrap().reply(1, b"A").unwrap();
    assert_eq!(caller.wait(call).unwrap().payload(), b"A");
}

#[test]
fn reply_to_a_caller_that_has_left_is_dropped_and_counted() {
    let service = Named::new();
    let mut server = service.server().attach().unwrap();
    let mut caller = service.caller().attach().unwrap();
    caller.send(1, b"bye", None).unwrap();
    let to = server.recv_timeout(PATIENCE).unwrap().unwrap().reply_to();
    drop(caller);
    // Its lane's next tenant is not it.
    let mut next = service.caller().attach().unwrap();
    assert!(!server.reply(to, 1, b"to nobody").unwrap());
    assert!(server.is_cancelled(to));
    assert_eq!(next.poll(), None);
    assert_eq!((server.unwanted(), next.late()), (1, 0));
}

#[test]
fn caller_that_reads_nothing_learns_that_replies_were_lost() {
    let service = Named::new();
    let mut server = service.server().attach().unwrap();
    let mut slow = service.caller().attach().unwrap();
    let mut busy = service.caller().attach().unwrap();
    let call = slow.send(1, b"mine", Some(Duration::from_millis(300))).unwrap();
    server.recv_timeout(PATIENCE).unwrap().unwrap().reply(1, b"yours").unwrap();
    for _ in 0..600 {
        let call = busy.send(1, b"again", Some(PATIENCE)).unwrap();
        server.recv_timeout(PATIENCE).unwrap().unwrap().reply(1, b"and again").unwrap();
        busy.wait(call).unwrap();
    }
    assert_eq!(slow.wait(call), Err(CallError::ReplyLost));
}

#[test]
fn removed_service_ends_its_calls() {
    let service = Named::new();
    let _server = service.server().attach().unwrap();
    let mut caller = service.caller().attach().unwrap();
    let call = caller.send(1, b"", None).unwrap();
    Service::remove(&service.1).unwrap();
    assert!(matches!(caller.wait(call), Err(CallError::Poll(_))));
    assert!(matches!(Service::open(&service.1), Err(Error::NotFound { .. })));
}

/// The files in shared memory of a service.
fn files(service: &Named) -> usize {
    let all = std::fs::read_dir("/dev/shm").unwrap();
    all.filter(|file| {
        file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().contains(&service.1))
    })
    .count()
}

#[test]
fn server_killed_in_the_middle_of_requests_ends_every_call() {
    let service = Named::new();
    let mut caller = service.caller().in_flight(64).attach().unwrap();
    let (mut answered, mut gone) = (0_u32, 0_u32);
    for round in 0..KILLS {
        let mut server = Worker::start("server", &service);
        assert!(caller.wait_for_server(PATIENCE));
        let mut calls = std::collections::HashMap::new();
        let mut number = 0_u64;
        let deadline = Instant::now() + PATIENCE;
        let mut kill_at = u64::from(round * 37 % 400 + 1);
        loop {
            assert!(Instant::now() < deadline, "{} calls hang", calls.len());
            match caller.send(2, &number.to_le_bytes(), None) {
                Ok(call) => {
                    calls.insert(call, number);
                    number += 1;
                }
                Err(CallError::TooMany { .. }) => {}
                Err(CallError::NoServer) => break,
                Err(error) => panic!("{error}"),
            }
            if number >= kill_at {
                server.kill();
                kill_at = u64::MAX;
            }
            while let Some(ended) = caller.poll() {
                let asked = calls.remove(&ended.call).expect("each call ends once");
                match ended.result {
                    Ok(reply) => {
                        assert_eq!(reply.payload(), (asked * 2).to_le_bytes());
                        answered += 1;
                    }
                    Err(CallError::ServerGone) => gone += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            if caller.in_flight() == 64 {
                thread::yield_now();
            }
        }
        while !calls.is_empty() {
            let ended = caller.recv(PATIENCE).expect("no call hangs");
            calls.remove(&ended.call).expect("each call ends once");
            match ended.result {
                Ok(_) => answered += 1,
                Err(CallError::ServerGone) => gone += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(answered > 0 && gone > 0, "{answered} answered, {gone} not");
    assert_eq!((caller.in_flight(), files(&service)), (0, 2));
}

#[test]
fn callers_killed_with_many_in_flight_leave_nothing_behind() {
    let service = Named::new();
    let mut server = service.server().attach().unwrap();
    let mut mine = service.caller().attach().unwrap();
    let mut taken = 0_u64;
    for round in 0..KILLS {
        let mut caller = Worker::start("caller", &service);
        let deadline = Instant::now() + PATIENCE;
        let until = taken + 40 + u64::from(round % 50);
        while taken < until {
            assert!(Instant::now() < deadline, "nobody calls");
            if let Some(request) = server.recv_timeout(Duration::from_millis(1)).unwrap() {
                taken += 1;
                // Half of them are still open when it dies.
                if taken.is_multiple_of(2) {
                    request.reply(2, b"").unwrap();
                }
            }
        }
        caller.kill();
    }
    // Those who died have made room for others, and their requests do not come any more, in the end.
    let call = mine.send(7, b"still there?", Some(PATIENCE)).unwrap();
    loop {
        let request = server.recv_timeout(PATIENCE).unwrap().expect("mine comes");
        if request.kind() == 7 {
            request.reply(7, b"yes").unwrap();
            break;
        }
        let to = request.reply_to();
        server.reply(to, 2, b"").unwrap();
    }
    assert_eq!(mine.wait(call).unwrap().payload(), b"yes");
    drop((mine, server));
    service.requests().reclaim().unwrap();
    service.replies().reclaim().unwrap();
    assert_eq!(service.requests().participants().len() + service.replies().participants().len(), 0);
    assert_eq!(files(&service), 2);
}
