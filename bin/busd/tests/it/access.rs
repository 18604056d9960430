//! Other users of the host. Only root can become one, so that these tests need root.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use crate::support::{BusName, Daemon, Scratch, as_other_user, exchange, is_root};

/// A daemon with this `[daemon]` section.
fn daemon_with(section: &str) -> (Scratch, Daemon) {
    let scratch = Scratch::new();
    let file = scratch.join("busd.toml");
    std::fs::write(&file, format!("[daemon]\n{section}\n")).unwrap();
    let daemon = Daemon::start_with(&["--config", file.to_str().unwrap()]);
    (scratch, daemon)
}

fn skip() -> bool {
    if !is_root() {
        eprintln!("skipped: needs root");
    }
    !is_root()
}

#[test]
fn by_default_nobody_else_can_even_connect() {
    let daemon = Daemon::start();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(daemon.runtime_dir()), 0o700);
    assert_eq!(mode(daemon.socket()), 0o600);
    if skip() {
        return;
    }
    let socket = daemon.socket();
    let refused = as_other_user(move || exchange(&socket, "GET", "/v1/version", ""));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn others_who_are_let_in_may_read_and_not_change() {
    let (_scratch, daemon) = daemon_with("socket-mode = \"0666\"");
    let name = BusName::new();
    daemon.create(&name, "");
    if skip() {
        return;
    }
    let path = format!("/v1/buses/{}", &*name);
    for path in ["/v1/version", "/v1/health", "/v1/buses", "/v1/participants", &path] {
        let (socket, path) = (daemon.socket(), path.to_owned());
        let answer = as_other_user(move || exchange(&socket, "GET", &path, "")).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let other = BusName::new();
    let wish = format!("{{\"name\": \"{}\"}}", &*other);
    for (method, path, body) in
        [("POST", "/v1/buses", &*wish), ("DELETE", &*path, ""), ("POST", "/v1/buses", "nonsense")]
    {
        let (socket, target, body) = (daemon.socket(), path.to_owned(), body.to_owned());
        let answer = as_other_user(move || exchange(&socket, method, &target, &body)).unwrap();
        assert_eq!((answer.status, &*answer.code()), (403, "permission"), "{method} {path}");
        assert!(answer.message().contains("uid 65534"), "{answer:?}");
    }
    assert!(name.segment().exists());
    assert!(!other.segment().exists());
}

#[test]
fn a_user_that_the_config_names_may_change_things() {
    let (_scratch, daemon) = daemon_with("socket-mode = \"0666\"\nallow-uids = [65534]");
    if skip() {
        return;
    }
    let name = BusName::new();
    let (socket, wish) = (daemon.socket(), format!("{{\"name\": \"{}\"}}", &*name));
    let answer = as_other_user(move || exchange(&socket, "POST", "/v1/buses", &wish)).unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(name.segment().exists());
}

#[test]
fn a_group_that_the_config_names_may_connect() {
    if skip() {
        return;
    }
    let (_scratch, daemon) = daemon_with("socket-mode = \"0660\"\nsocket-group = \"65534\"");
    let socket = daemon.socket();
    let answer = as_other_user(move || exchange(&socket, "GET", "/v1/version", "")).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let mode = std::fs::metadata(daemon.runtime_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o710);
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if skip() {
        return;
    }
    let scratch = Scratch::new();
    let run = scratch.join("run");
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::chown(&run, Some(65534), None).unwrap();
    let (code, text) = crate::support::refused(&run, &[]);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("belongs to uid 65534"), "{text}");
    assert!(std::fs::read_dir(&run).unwrap().next().is_none());
}
