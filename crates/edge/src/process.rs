//! What the system says of this process.

mod memory_limit;
mod metrics;

use std::{fs, io};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

pub(crate) use memory_limit::default_memory_limit;
pub(crate) use metrics::ProcessCollector;

/// What the process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// Bytes of address space.
    pub(crate) addressed: u64,
}

/// What the process takes now.
///
/// # Errors
/// The system's, where there is no `/proc`.
pub(crate) fn memory() -> io::Result<Memory> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name| kilobytes(&status, name).ok_or(io::ErrorKind::InvalidData);
    Ok(Memory { resident: field("VmRSS:")?, addressed: field("VmSize:")? })
}

/// How many file descriptors the process has open.
///
/// # Errors
/// The system's, where there is no `/proc`.
pub(crate) fn open_descriptors() -> io::Result<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Newer systems say it at once (Linux 6.2); the others have to be counted.
    match fs::metadata(FOLDER)?.len() {
        0 => Ok(fs::read_dir(FOLDER)?.count() as u64),
        count => Ok(count),
    }
}

/// How many file descriptors the process may have open; `None` where there is no limit.
pub(crate) fn most_descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Processor time of all threads so far, in seconds.
pub(crate) fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The field `name` of a file of lines such as `VmRSS:  1024 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let count: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    count.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_in_kilobytes() {
        let text = "VmSize:\t  233600 kB\nVmRSS:\t   17 kB\nThreads:\t1\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(17 << 10));
        assert_eq!(kilobytes(text, "Threads:"), None);
        assert_eq!(kilobytes(text, "VmSwap:"), None);
    }

    #[test]
    fn a_process_takes_something() {
        let memory = memory().unwrap();
        assert!(memory.resident > 0 && memory.addressed >= memory.resident, "{memory:?}");
        let open = open_descriptors().unwrap();
        assert!(open > 2 && most_descriptors().is_none_or(|most| most >= open), "{open} are open");
        assert!(processor_seconds() > 0.0);
    }
}
