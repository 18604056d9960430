//! Reading a file, and saying where it is wrong.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Config;

/// A file's size is bounded so that one that never ends is an error.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Which language a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFormat {
    /// TOML 1.
    Toml,
    /// YAML 1.2.
    Yaml,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The file, as it was named; empty for text.
    pub file: String,
    /// Line, from 1; 0 when it is about the whole.
    pub line: u64,
    /// Column in characters, from 1; 0 when it is about the whole.
    pub column: u64,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
        }
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    fn whole(message: impl Into<String>) -> Self {
        Self { file: String::new(), line: 0, column: 0, message: message.into() }
    }
}

impl Config {
    /// Reads a text.
    ///
    /// # Errors
    /// The first thing that is wrong, with line and column.
    pub fn parse(text: &str, format: ConfigFormat) -> Result<Self, ConfigError> {
        match format {
            ConfigFormat::Toml => toml::from_str(text).map_err(|error| of_toml(text, &error)),
            ConfigFormat::Yaml => of_yaml(text),
        }
    }

    /// Reads a file; one that ends in `.toml` is TOML, `.yaml` and `.yml` are YAML.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`parse`](Self::parse), with the file's name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let named = |error| ConfigError { file: path.display().to_string(), ..error };
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => ConfigFormat::Toml,
            Some("yaml" | "yml") => ConfigFormat::Yaml,
            _ => return Err(named(ConfigError::whole("a name ends in .toml, .yaml or .yml"))),
        };
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        read.map_err(|error| named(ConfigError::whole(format!(" {error}"))))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!(" longer than {FILE_BYTES_MAX} bytes");
            return Err(named(ConfigError::whole(message)));
        }
        Self::parse(&text, format).map_err(named)
    }
}

fn of_toml(text: &str, error: &toml::de::Error) -> ConfigError {
    let message = error.message().to_owned();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return ConfigError::whole(message);
    };
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let line = before.matches('\n').count() + 1;
    ConfigError { file: String::new(), line: line as u64, column: column as u64, message }
}

fn of_yaml(text: &str) -> Result<Config, ConfigError> {
    // A text without content is a configuration without content, as in TOML.
    let has_content = |line: &str| !matches!(line.trim_start().chars().next(), None | Some('#'));
    if !text.lines().any(has_content) {
        return Ok(Config::default());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error: serde_saphyr::Error| {
        let location = error.location();
        ConfigError {
            file: String::new(),
            line: location.map_or(0, |at| at.line()),
            column: location.map_or(0, |at| at.column()),
            message: error.to_string(),
        }
    })
}
