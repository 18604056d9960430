//! A file of /proc that is read again and again: opened once, one buffer for ever.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The buffer at first. Most files of /proc are smaller; /proc/stat has a word per interrupt.
const BUFFER_BYTES: usize = 16 * 1024;

/// The largest text that is read: /proc/stat of the largest machines is below it.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An open file of /proc and what it held last.
pub struct ProcFile {
    file: File,
    buffer: Vec<u8>,
}

impl ProcFile {
    /// Opens it.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Reads it from its start. One pread(2) once the buffer has grown to the text's size.
    pub fn read(&mut self) -> io::Result<&str> {
        loop {
            let len = self.file.read_at(&mut self.buffer, 0)?;
            if len < self.buffer.len() || self.buffer.len() >= TEXT_BYTES_MAX {
                // A process may call itself anything, so the text need not be UTF-8: what follows
                // the first such byte is not needed by anybody here.
                let text = self.buffer.get(..len).unwrap_or_default();
                return Ok(match std::str::from_utf8(text) {
                    Ok(text) => text,
                    Err(error) => text
                        .get(..error.valid_up_to())
                        .and_then(|valid| std::str::from_utf8(valid).ok())
                        .unwrap_or_default(),
                });
            }
            // Read again from the start: two reads of a file that moves do not fit together.
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }
}
