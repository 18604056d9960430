//! The registers of a stopped system call: the one part that knows the processor.

use nix::Result;
use nix::unistd::Pid;

/// Has the kernel skip the call that is about to begin.
#[cfg(target_arch = "x86_64")]
pub(crate) fn skip(thread: Pid) -> Result<()> {
    let mut registers = nix::sys::ptrace::getregs(thread)?;
    registers.orig_rax = u64::MAX;
    nix::sys::ptrace::setregs(thread, registers)
}

/// Sets what the call that has just ended returns.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_result(thread: Pid, result: i64) -> Result<()> {
    let mut registers = nix::sys::ptrace::getregs(thread)?;
    registers.rax = result.cast_unsigned();
    nix::sys::ptrace::setregs(thread, registers)
}

/// Halves the third argument of the call that is about to begin: the bytes of a read or write.
#[cfg(target_arch = "x86_64")]
pub(crate) fn halve_length(thread: Pid) -> Result<()> {
    let mut registers = nix::sys::ptrace::getregs(thread)?;
    // Nothing at all would mean the end of the file.
    registers.rdx = registers.rdx.div_ceil(2);
    nix::sys::ptrace::setregs(thread, registers)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn skip(_thread: Pid) -> Result<()> {
    Err(nix::errno::Errno::EOPNOTSUPP)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn set_result(_thread: Pid, _result: i64) -> Result<()> {
    Err(nix::errno::Errno::EOPNOTSUPP)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn halve_length(_thread: Pid) -> Result<()> {
    Err(nix::errno::Errno::EOPNOTSUPP)
}
