//! One connection with the daemon: its parser, router, handlers and answers.
//!
//! An input that starts with `>` is a list of requests in a short form; any other is sent as it is.
//!
//! ```text
//! >METHOD PATH        then the body, up to the next line that starts with `>`
//! ```
//!
//! The bus names of an input start with `fuzz-0000000000-`, which becomes this process's own prefix
//! of the same length. Requests that would change other buses are not passed on.

#![no_main]

use std::cell::OnceCell;

use busd::fuzzing::Daemon;
use busway_fuzz::{leaks, scratch};
use libfuzzer_sys::fuzz_target;

/// What stands for this process's own prefix.
const PREFIX: &[u8] = b"fuzz-0000000000-";

thread_local! {
    static DAEMON: OnceCell<Daemon> = const { OnceCell::new() };
}

fuzz_target!(init: scratch::init(), |data: &[u8]| {
    let request = with_own_names(&in_full(data));
    leaks::keeps_nothing(|| {
        let answer = DAEMON.with(|daemon| {
            let daemon = daemon.get_or_init(|| Daemon::new(&scratch::prefix()).expect("a server"));
            daemon.answer(&request).expect("a pair of sockets")
        });
        scratch::remove_own();
        check(&answer);
    });
});

/// The requests of the short form with their heads.
fn in_full(data: &[u8]) -> Vec<u8> {
    let Some(list) = data.strip_prefix(b">") else {
        return data.to_vec();
    };
    let mut requests = Vec::new();
    let mut rest = Some(list);
    while let Some(list) = rest {
        let end = list.windows(2).position(|pair| pair == b"\n>").unwrap_or(list.len());
        let (request, after) = list.split_at(end);
        rest = after.get(2..);
        let head = request.iter().position(|byte| *byte == b'\n').unwrap_or(request.len());
        let (line, body) = request.split_at(head);
        let body = body.get(1..).unwrap_or_default();
        requests.extend_from_slice(line);
        let head = format!(" HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n", body.len());
        requests.extend_from_slice(head.as_bytes());
        requests.extend_from_slice(body);
    }
    requests
}

fn with_own_names(request: &[u8]) -> Vec<u8> {
    let own = scratch::prefix();
    let mut named = request.to_vec();
    let mut at = 0;
    while let Some(found) = named[at..].windows(PREFIX.len()).position(|part| part == PREFIX) {
        let end = at + found + PREFIX.len();
        named[at + found..end].copy_from_slice(own.as_bytes());
        at = end;
    }
    named
}

/// Whatever was asked, each answer is one in HTTP, is no failure of the server's, and says what it
/// says in JSON.
fn check(mut answers: &[u8]) {
    while !answers.is_empty() {
        let end = answers.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.expect("an answer has a head");
        let (head, rest) = answers.split_at(end + 4);
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1."), "{head}");
        let status = head.get(9..12).and_then(|digits| digits.parse::<u16>().ok());
        assert!(status.is_some_and(|status| status < 500 || status == 507), "{head}");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        // An answer to HEAD states the length of a body that it does not have.
        let has_body = !rest.is_empty() && !rest.starts_with(b"HTTP/1.");
        let (body, rest) = rest.split_at(if has_body { length } else { 0 });
        if has_body && length > 0 && head.contains("application/json") {
            let said = serde_json::from_slice::<serde_json::Value>(body);
            assert!(said.is_ok(), "{head}{}", String::from_utf8_lossy(body));
        }
        answers = rest;
    }
}
