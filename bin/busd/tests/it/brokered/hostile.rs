//! Packets and descriptors that are none, too many connections, and that nothing is left open.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use busway::{Bus, host};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect as connect_to, sendmsg, socket_with,
};

use super::{connect, make};
use crate::support::{Daemon, Scratch, as_other_user, eventually, is_root};

fn raw(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect_to(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// The next packet; `None` when the daemon has closed.
fn hear(socket: &OwnedFd) -> Option<serde_json::Value> {
    poll(&mut [PollFd::new(socket, PollFlags::IN)], None).unwrap();
    let (packet, _) = host::receive(socket).ok()??;
    Some(serde_json::from_slice(&packet).unwrap())
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = vec![std::mem::MaybeUninit::uninit(); 4096];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
    }
    let bytes = [std::io::IoSlice::new(bytes)];
    sendmsg(socket, &bytes, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

/// How many descriptors the daemon has open.
fn open_descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// The same once nothing is being closed any more: the daemon closes a connection that has ended when it
/// comes to it.
fn settled_descriptors(daemon: &Daemon) -> usize {
    let mut before = open_descriptors(daemon);
    eventually("descriptors that stay the same", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = open_descriptors(daemon);
        (std::mem::replace(&mut before, now) == now).then_some(now)
    })
}

/// No more than before.
fn wait_for_descriptors(daemon: &Daemon, count: usize) {
    eventually(&format!("{count} descriptors of the daemon"), || {
        (open_descriptors(daemon) <= count).then_some(())
    });
}

#[test]
fn packets_that_are_no_requests_end_their_connection_and_leave_nothing_open() {
    let daemon = Daemon::start();
    let name = make(&daemon, "");
    let bus = connect(&daemon, &name);
    let mut honest = bus.producer().attach().unwrap();
    let before = settled_descriptors(&daemon);
    for bytes in [vec![b'x'], vec![0; 60_000], vec![b'['; 65_536], vec![b' '; 100_000]] {
        let socket = raw(&daemon.broker_socket());
        send(&socket, &bytes, &[]);
        // Too long a packet is not even answered.
        while hear(&socket).is_some() {}
    }
    let null = File::open("/dev/null").unwrap();
    for count in [1, 64, 65, 250] {
        let socket = raw(&daemon.broker_socket());
        let many = vec![null.as_fd(); count];
        let open =
            format!("{{\"id\":1,\"ask\":{{\"open\":{{\"version\":1,\"bus\":\"{}\"}}}}}}", &*name);
        send(&socket, open.as_bytes(), &many);
        let answer = hear(&socket);
        assert_eq!(answer.is_some(), count <= 64, "{count} descriptors: {answer:?}");
    }
    wait_for_descriptors(&daemon, before);
    honest.publish_bytes(0, b"x").unwrap();
    bus.producer().attach().unwrap();
}

#[test]
fn a_client_that_asks_and_never_listens_is_cut_off() {
    let daemon = Daemon::start();
    let name = make(&daemon, "");
    let before = settled_descriptors(&daemon);
    let socket = raw(&daemon.broker_socket());
    let open =
        format!("{{\"id\":1,\"ask\":{{\"open\":{{\"version\":1,\"bus\":\"{}\"}}}}}}", &*name);
    let mut refused = 0;
    while refused == 0 {
        let sent = host::send(&socket, open.as_bytes(), &[]);
        refused +=
            u32::from(sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
    }
    drop(socket);
    wait_for_descriptors(&daemon, before);
}

#[test]
fn coming_and_going_leaves_nothing_open() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"lanes_max\": 2, \"consumers_max\": 2");
    let bus = connect(&daemon, &name);
    let round = || {
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        let observer = bus.observer().attach().unwrap();
        producer.publish_bytes(0, b"x").unwrap();
        assert!(consumer.poll().unwrap().is_some());
        drop((producer, observer, consumer));
    };
    round();
    let own = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // The tests beside this one open descriptors of this process as well; its maps are counted by name.
    let maps = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(&format!("busway:{}:", &*name))).count()
    };
    let (before, maps_before) = (settled_descriptors(&daemon), maps());
    for _ in 0..100 {
        round();
    }
    wait_for_descriptors(&daemon, before);
    assert_eq!(maps(), maps_before);
    assert!(own() < 1000);
}

#[test]
fn connections_of_a_user_are_bounded() {
    if !is_root() {
        eprintln!("skipped: being another user needs root");
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.join("busd.toml");
    std::fs::write(&file, "[daemon]\nsocket-mode = \"0666\"\n").unwrap();
    let daemon = Daemon::start_with(&["--config", file.to_str().unwrap()]);
    let name = make(&daemon, ", \"allow\": [\"65534\"]");
    let socket = daemon.broker_socket();
    let all: Vec<OwnedFd> = as_other_user(move || (0..256).map(|_| raw(&socket)).collect());
    let (socket, other) = (daemon.broker_socket(), name.to_string());
    let error = as_other_user(move || Bus::connect(socket, &other).err().unwrap());
    assert_eq!(error.code(), "broker");
    assert!(error.to_string().contains("too many connections"), "{error}");
    // Others are let in, and so is this one when there is room again.
    connect(&daemon, &name).producer().attach().unwrap();
    drop(all);
    let (socket, other) = (daemon.broker_socket(), name.to_string());
    eventually("room for another connection", move || {
        let (socket, other) = (socket.clone(), other.clone());
        as_other_user(move || Bus::connect(socket, &other).ok())
    });
}
