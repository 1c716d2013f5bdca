//! How much memory the process is given.

use std::{fs, path::Path};

use super::kilobytes;

/// What is used of it unless the operator says otherwise, in percent.
const SHARE: u64 = 80;

/// The default of `limits.memory`, in bytes: a share of what the process's control group may have,
/// or of the machine's memory.
pub(crate) fn default_memory_limit() -> u64 {
    share_of_memory(Path::new("/"))
}

fn share_of_memory(root: &Path) -> u64 {
    let of_groups = groups_limit(root);
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let of_machine = kilobytes(&meminfo, "MemTotal:");
    // Without a limit, version 1 has a number beyond any machine's memory.
    let available = of_groups.into_iter().chain(of_machine).min();
    available.map_or(u64::MAX, |bytes| bytes / 100 * SHARE)
}

/// The least limit of the process's control group and those above it.
fn groups_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let limits = groups.lines().filter_map(|line| {
        // As in `0::/system.slice/edge.service` and `5:memory:/docker/0123`.
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        match controllers {
            "" => least(&mounted, path, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                least(&mounted.join("memory"), path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The least number in the files `name` of the folders from `root` down to `path`.
fn least(root: &Path, path: &str, name: &str) -> Option<u64> {
    let path = Path::new(path.trim_start_matches('/'));
    let limits = path.ancestors().filter_map(|folder| {
        let text = fs::read_to_string(root.join(folder).join(name)).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn system(files: &[(&str, &str)]) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        share_of_memory(folder.path())
    }

    #[test]
    fn is_a_share_of_the_least_that_bounds_the_process() {
        let machine = ("proc/meminfo", "MemTotal:  8388608 kB\nMemFree: 17 kB\n");
        let service = ("proc/self/cgroup", "0::/system.slice/edge.service\n");
        let table: [(&[(&str, &str)], u64); 6] = [
            (&[machine], 8 * GIB),
            (&[machine, service, ("sys/fs/cgroup/system.slice/memory.max", "max\n")], 8 * GIB),
            (
                &[
                    machine,
                    service,
                    ("sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
                    ("sys/fs/cgroup/system.slice/edge.service/memory.max", "4294967296\n"),
                ],
                2 * GIB,
            ),
            (
                &[
                    machine,
                    ("proc/self/cgroup", "0::/\n"),
                    ("sys/fs/cgroup/memory.max", "1073741824"),
                ],
                GIB,
            ),
            (
                &[
                    machine,
                    ("proc/self/cgroup", "9:cpu,memory:/docker/01\n1:name=systemd:/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("sys/fs/cgroup/memory/docker/01/memory.limit_in_bytes", "3221225472\n"),
                ],
                3 * GIB,
            ),
            (&[machine, service, ("sys/fs/cgroup/memory.max", "17179869184\n")], 8 * GIB),
        ];
        for (files, bytes) in table {
            assert_eq!(system(files), bytes / 100 * SHARE, "{files:?}");
        }
    }

    #[test]
    fn there_is_none_where_nothing_is_known() {
        assert_eq!(system(&[]), u64::MAX);
    }
}
