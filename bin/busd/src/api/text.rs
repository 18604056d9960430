//! Text forms of values that are numbers to programs: a file mode, a group, a user, a time.
//!
//! Requests, the config file and the command line all read them through here, so that they accept
//! the same spellings and refuse with the same sentences.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use busway::host::{Allow, Roles, Who};
use serde::{Deserialize, Serialize};

/// The permission bits of a segment or socket, written in octal: `"0600"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(pub u32);

/// A group, by name or by number: `"audio"` or `"29"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

/// Who may use a brokered bus, and as what: `alice`, `1000:producer`, `@audio:consumer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowText(String);

/// A user, by name or by number: `"robot"` or `"1000"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

/// A time with its unit: `"500ms"`, `"2s"`, `"1m 30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(pub Duration);

/// Why a text is not what it should be: one sentence with the value and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError(String);

impl FromStr for FileMode {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal =
            !digits.is_empty() && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(digits, 8) {
            // A segment or socket that its owner cannot use is of no use.
            Ok(mode) if is_octal && mode <= 0o777 && mode & 0o600 == 0o600 => Ok(Self(mode)),
            _ => Err(TextError(format!(
                "mode {text:?} is not permission bits in octal: write 0600 to 0777, with read and \
                 write for the owner"
            ))),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl GroupName {
    /// The group's number, looked up in the host's group database.
    ///
    /// # Errors
    /// When the host has no group of this name, or the database cannot be read.
    pub fn resolve(&self) -> Result<u32, TextError> {
        if let Ok(number) = self.0.parse() {
            return Ok(number);
        }
        match nix::unistd::Group::from_name(&self.0) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(TextError(format!("this host has no group {:?}", self.0))),
            Err(error) => Err(TextError(format!("cannot look up group {:?}: {error}", self.0))),
        }
    }
}

impl FromStr for GroupName {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() || text.contains(['\0', ':', '\n']) {
            return Err(TextError(format!("{text:?} is not the name or number of a group")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AllowText {
    /// The line in numbers, looked up in the host's databases of users and groups.
    ///
    /// # Errors
    /// When the host has no user or group of this name, or the database cannot be read.
    pub fn resolve(&self) -> Result<Allow, TextError> {
        let (who, roles) = parts(&self.0)?;
        let who = match who.strip_prefix('@') {
            Some(group) => Who::Group(group.parse::<GroupName>()?.resolve()?),
            None => Who::User(who.parse::<UserName>()?.resolve()?),
        };
        Ok(Allow { who, roles })
    }
}

/// Who, with `@` before a group, and as what.
fn parts(text: &str) -> Result<(&str, Roles), TextError> {
    let (who, roles) = text.split_once(':').unwrap_or((text, "both"));
    let roles = match roles {
        "producer" => Some(Roles::Producer),
        "consumer" => Some(Roles::Consumer),
        "both" => Some(Roles::Both),
        _ => None,
    };
    match roles {
        Some(roles) if !who.trim_start_matches('@').is_empty() && !who.contains(['\0', '\n']) => {
            Ok((who, roles))
        }
        _ => Err(TextError(format!(
            "{text:?} does not say who may use a bus: write USER, UID or @GROUP, and :producer, \
             :consumer or :both after it"
        ))),
    }
}

impl FromStr for AllowText {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        parts(text).map(|_| Self(text.to_owned()))
    }
}

impl fmt::Display for AllowText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Allow> for AllowText {
    fn from(allow: Allow) -> Self {
        let who = match allow.who {
            Who::User(uid) => uid.to_string(),
            Who::Group(gid) => format!("@{gid}"),
        };
        let roles = match allow.roles {
            Roles::Producer => "producer",
            Roles::Consumer => "consumer",
            Roles::Both => "both",
        };
        Self(format!("{who}:{roles}"))
    }
}

impl TryFrom<String> for AllowText {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl UserName {
    /// The user's number, looked up in the host's user database.
    ///
    /// # Errors
    /// When the host has no user of this name, or the database cannot be read.
    pub fn resolve(&self) -> Result<u32, TextError> {
        if let Ok(number) = self.0.parse() {
            return Ok(number);
        }
        match nix::unistd::User::from_name(&self.0) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(TextError(format!("this host has no user {:?}", self.0))),
            Err(error) => Err(TextError(format!("cannot look up user {:?}: {error}", self.0))),
        }
    }
}

impl FromStr for UserName {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() || text.contains(['\0', ':', '\n']) {
            return Err(TextError(format!("{text:?} is not the name or number of a user")));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Period {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| TextError(format!("{text:?} is not a time; write 500ms, 2s or 1m")))
    }
}

impl TryFrom<String> for Period {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<AllowText> for String {
    fn from(allow: AllowText) -> Self {
        allow.0
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::error::Error for TextError {}

impl TryFrom<String> for FileMode {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        mode.to_string()
    }
}

impl TryFrom<String> for GroupName {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<GroupName> for String {
    fn from(group: GroupName) -> Self {
        group.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_whatever_the_leading_zeros() {
        assert_eq!("600".parse(), Ok(FileMode(0o600)));
        assert_eq!("0660".parse(), Ok(FileMode(0o660)));
        assert_eq!("0o640".parse(), Ok(FileMode(0o640)));
        assert_eq!(FileMode(0o60).to_string(), "0060");
    }

    #[test]
    fn what_is_not_a_mode_is_refused_by_value() {
        for text in
            ["", "0o", "rw", "0800", "0060", "0400", "1000", "-600", "+600", "77777777777777"]
        {
            let error = text.parse::<FileMode>().expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn lines_of_an_access_list_resolve_and_are_written_as_they_are_read() {
        let line = |text: &str| text.parse::<AllowText>().unwrap().resolve().unwrap();
        let both = Roles::Both;
        assert_eq!(line("root"), Allow { who: Who::User(0), roles: both });
        assert_eq!(line("@root:both"), Allow { who: Who::Group(0), roles: both });
        assert_eq!(line("7:producer"), Allow { who: Who::User(7), roles: Roles::Producer });
        assert_eq!(line("@7:consumer"), Allow { who: Who::Group(7), roles: Roles::Consumer });
        for text in ["7:producer", "@7:consumer", "7:both"] {
            assert_eq!(AllowText::from(line(text)).to_string(), text);
        }
        for text in ["", "@", ":producer", "7:", "7:owner", "@:both", "a\n"] {
            let error = text.parse::<AllowText>().expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        let unknown = "no-such-user-here".parse::<AllowText>().unwrap().resolve().unwrap_err();
        assert!(unknown.to_string().contains("no-such-user-here"));
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!("1m 500ms".parse(), Ok(Period(Duration::from_millis(60_500))));
        for text in ["", "500", "fast", "-1s", "99999999999999999999s"] {
            let error = text.parse::<Period>().expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn users_resolve_by_number_and_by_name() {
        assert_eq!("7".parse::<UserName>().unwrap().resolve(), Ok(7));
        assert_eq!("root".parse::<UserName>().unwrap().resolve(), Ok(0));
        let error = "no-such-user-here".parse::<UserName>().unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains("no-such-user-here"));
        assert!("".parse::<UserName>().is_err());
    }

    #[test]
    fn groups_resolve_by_number_and_by_name() {
        assert_eq!("0".parse::<GroupName>().unwrap().resolve(), Ok(0));
        assert_eq!("root".parse::<GroupName>().unwrap().resolve(), Ok(0));
        let error = "no-such-group-here".parse::<GroupName>().unwrap().resolve().unwrap_err();
        assert!(error.to_string().contains("no-such-group-here"));
        assert!("".parse::<GroupName>().is_err());
    }
}
