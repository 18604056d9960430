//! What /proc says of a process: names for tables. For display only, never proof of anything.

/// The kernel's name of a process (at most 15 bytes), or `-` when it is gone or not ours to see.
pub fn process_name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| String::from("-"), |name| name.trim_end().to_owned())
}
