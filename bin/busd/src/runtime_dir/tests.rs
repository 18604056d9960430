//! Which directory is chosen, and which ones are refused.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn resolve(uid: u32, variables: &[(&str, &str)], session_owner: u32) -> String {
    let variable = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    let found = resolve_from(None, uid, variable, |_| Some(session_owner));
    found.path.display().to_string()
}

#[test]
fn the_named_directory_wins_over_the_session_over_the_default() {
    let session = ("XDG_RUNTIME_DIR", "/run/user/7");
    let named = ("BUSWAY_RUNTIME_DIR", "/srv/bus");
    assert_eq!(resolve(7, &[session, named], 7), "/srv/bus");
    assert_eq!(resolve(7, &[session], 7), "/run/user/7/busway");
    assert_eq!(resolve(7, &[], 7), "/tmp/busway-7");
    assert_eq!(resolve(0, &[], 0), "/run/busway");
    assert_eq!(resolve(7, &[("BUSWAY_RUNTIME_DIR", "")], 7), "/tmp/busway-7");
}

#[test]
fn a_session_directory_that_is_foreign_or_relative_is_void() {
    assert_eq!(resolve(0, &[("XDG_RUNTIME_DIR", "/run/user/7")], 7), "/run/busway");
    assert_eq!(resolve(7, &[("XDG_RUNTIME_DIR", "run")], 7), "/tmp/busway-7");
}

/// A directory of our own under the system's temporary directory, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("t-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn dir(&self, name: &str) -> RuntimeDir {
        RuntimeDir { path: self.0.join(name), source: Source::Default }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode_of(directory: &RuntimeDir) -> u32 {
    fs::metadata(&directory.path).unwrap().mode() & 0o777
}

#[test]
fn a_missing_directory_is_made_for_its_owner_alone() {
    let scratch = Scratch::new("made");
    let directory = scratch.dir("run");
    directory.check().unwrap();
    directory.prepare(Passage::default()).unwrap();
    assert_eq!(mode_of(&directory), 0o700);
    directory.prepare(Passage { group: None, others: true }).unwrap();
    assert_eq!(mode_of(&directory), 0o701);
    directory.prepare(Passage::default()).unwrap();
    assert_eq!(mode_of(&directory), 0o700);
    directory.check().unwrap();
}

#[test]
fn links_files_and_directories_that_others_may_write_are_refused() {
    let scratch = Scratch::new("refused");
    let open = scratch.dir("open");
    fs::create_dir(&open.path).unwrap();
    fs::set_permissions(&open.path, fs::Permissions::from_mode(0o777)).unwrap();
    let link = scratch.dir("link");
    symlink(&scratch.0, &link.path).unwrap();
    let file = scratch.dir("file");
    fs::write(&file.path, "").unwrap();

    for (directory, words) in
        [(&open, "has mode 0777"), (&link, "symbolic link"), (&file, "not a directory")]
    {
        for refused in [directory.prepare(Passage::default()), directory.check()] {
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains(&directory.path.display().to_string()));
        }
    }
    assert_eq!(mode_of(&open), 0o777);
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if own_uid() != 0 {
        eprintln!("skipped: only root can make a directory of another user's");
        return;
    }
    let scratch = Scratch::new("foreign");
    let directory = scratch.dir("run");
    fs::create_dir(&directory.path).unwrap();
    std::os::unix::fs::chown(&directory.path, Some(65534), None).unwrap();
    for refused in [directory.prepare(Passage::default()), directory.check()] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("belongs to uid 65534"), "{error}");
        assert!(error.is_permission());
    }
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_before_anything_is_made() {
    let directory = Scratch::new("long").dir(&"x".repeat(120));
    let error = directory.prepare(Passage::default()).unwrap_err();
    assert!(error.to_string().contains("at most 107"), "{error}");
    assert!(!directory.path.exists());
}
