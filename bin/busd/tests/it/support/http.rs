//! HTTP by hand, so that the tests do not see the server through the client's eyes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body, which must be JSON and say so.
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error answer, whose form is checked.
    pub fn code(&self) -> String {
        let error = self.json()["error"].clone();
        assert!(self.status >= 400, "{self:?}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        assert!(error["hint"].is_string() || error["hint"].is_null(), "{self:?}");
        error["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// One request on a connection of its own.
pub fn exchange(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    exchange_with(socket, method, path, "", body)
}

/// The same with more headers, each ended by its line's end.
pub fn exchange_with(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> io::Result<Answer> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: busd\r\nConnection: close\r\n{headers}");
    let length = if body.is_empty() { String::new() } else { length_header(body) };
    let bytes = send_raw(socket, format!("{head}{length}\r\n{body}").as_bytes())?;
    parse(&bytes).ok_or_else(|| io::Error::other(format!("no answer in {bytes:?}")))
}

fn length_header(body: &str) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

/// Sends these bytes and reads until the server closes. A server that closes before it has read
/// everything is fine.
pub fn send_raw(socket: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

/// Runs in a thread that is another user to the kernel. Needs root.
pub fn as_other_user<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    use rustix::fs::{Gid, Uid};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
    let thread = std::thread::spawn(move || {
        set_thread_groups(&[]).unwrap();
        set_thread_gid(Gid::from_raw(65534)).unwrap();
        set_thread_uid(Uid::from_raw(65534)).unwrap();
        work()
    });
    thread.join().unwrap()
}
