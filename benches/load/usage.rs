//! What a process and all below it use, from /proc.

use std::{collections::BTreeMap, fs, time::Duration};

/// A process and all of its descendants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    root: u32,
}

/// What stands in `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of all threads, ended ones too, in ticks of the clock.
    ticks: u64,
}

impl Tree {
    pub(super) fn of(root: u32) -> Self {
        Self { root }
    }

    /// User and system time so far.
    pub(super) fn cpu(self) -> Duration {
        let ticks: u64 = self.members().values().map(|stat| stat.ticks).sum();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Duration::from_secs(ticks) / u32::try_from(per_second).unwrap_or(u32::MAX)
    }

    /// Memory in bytes, pages that are shared counted in proportion (PSS).
    pub(super) fn memory(self) -> u64 {
        let pids = self.members().into_keys();
        pids.filter_map(|pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            proportional_kilobytes(&rollup)
        })
        .sum::<u64>()
            * 1_024
    }

    fn members(self) -> BTreeMap<u32, Stat> {
        let all = all();
        let mut members = BTreeMap::new();
        let mut next = vec![self.root];
        while let Some(pid) = next.pop() {
            let Some(stat) = all.get(&pid) else { continue };
            members.insert(pid, *stat);
            next.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid));
        }
        members
    }
}

/// Every process there is. One that ends meanwhile is left out.
fn all() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, stat(&text)?))
    })
    .collect()
}

/// Reads `/proc/PID/stat`: the second field is the name in brackets, which may have any character.
fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

fn proportional_kilobytes(rollup: &str) -> Option<u64> {
    let rest = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_and_spaces_moves_no_field() {
        let text = "17 (a) b) (c) S 4 17 17 0 -1 4194560 3 0 0 0 250 50 7 7 20 0 3 0 100 1 2";
        assert_eq!(stat(text), Some(Stat { parent: 4, ticks: 300 }));
        assert_eq!(stat("17 (a"), None);
    }

    #[test]
    fn shared_pages_are_counted_in_proportion() {
        let text = "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:   123 kB\n";
        assert_eq!(proportional_kilobytes(text), Some(123));
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = Tree::of(std::process::id());
        assert!(own.members().contains_key(&std::process::id()));
        assert!(own.memory() > 0);
    }
}
