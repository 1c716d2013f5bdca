//! What a process asks of the system about itself.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getppid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

/// Turns core dumps and tracing by other processes off: memory holds private keys.
///
/// # Errors
/// The system's refusal.
pub(crate) fn keep_memory_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Has the system send SIGTERM to this process when the thread of `parent` that started it ends.
///
/// # Errors
/// The system's refusal, or that `parent` has ended already.
pub(crate) fn exit_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have ended before the signal was asked for: another process is the parent then.
    let now = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    match u32::try_from(now) == Ok(parent) {
        true => Ok(()),
        false => Err(io::Error::other("the process that started this one has ended")),
    }
}
