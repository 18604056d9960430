//! Bus names and the files they stand for.

use std::path::PathBuf;

use crate::error::Error;

/// Where Linux keeps POSIX shared memory. glibc and musl resolve `shm_open` to this directory.
pub(crate) const SHM_DIR: &str = "/dev/shm";
/// What every bus's file name starts with.
pub(crate) const PREFIX: &str = "busway.";
/// What stands between a bus's name and that of one of its groups; no name has it.
pub(crate) const OF_GROUP: char = '@';
/// Characters of a bus name at most.
const NAME_MAX: usize = 64;

/// Checks a bus name: 1–64 of `a-z A-Z 0-9 . _ -`, not starting with a dot.
///
/// # Errors
/// [`Error::BadName`] says what is wrong and what is allowed.
///
/// # Examples
/// ```
/// assert!(busway::check_name("telemetry.imu-0").is_ok());
/// assert!(busway::check_name("no/slash").is_err());
/// ```
pub fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_MAX {
        "is too long"
    } else if name.starts_with('.') {
        "starts with a dot"
    } else if !name.chars().all(allowed) {
        "has a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.to_owned(), reason })
}

/// The file of a bus whose name has been checked.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("{SHM_DIR}/{PREFIX}{name}"))
}

/// The POSIX name of a bus, as `shm_open` takes it.
pub(crate) fn posix(name: &str) -> String {
    format!("/{PREFIX}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_alphabet_and_length() {
        for good in ["a", "Z9", "a.b_c-d", &"x".repeat(64), "-dash", "_under"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "..", "a/b", "a b", "ä", "a\0b", "a\n", &"x".repeat(65)] {
            let error = check_name(bad).unwrap_err();
            assert_eq!(error.code(), "bad_name");
            assert!(error.to_string().contains("1 to 64"), "{error}");
        }
    }
}
