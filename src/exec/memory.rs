//! How much memory a run stays within when nobody says: half of what its process can have.

use std::fs;
use std::path::{Path, PathBuf};

/// The budget where the system does not tell how much there is.
const UNKNOWN: u64 = 2 << 30;

/// Half of the machine's memory, or of what the control group of this process may use, if that is
/// less, in bytes.
#[must_use]
pub fn default_budget() -> u64 {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let group = limit_files(&groups)
        .iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok())
        .min();
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN) / 2
}

/// `MemTotal` of Linux's meminfo in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The files that may hold a limit for a process in these control groups (lines of
/// `number:controllers:path`): the group's own and its parents', of both versions of the interface.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        // Inside a container the path may be the one outside; the root is then the own group.
        let relative = Path::new(path.trim_start_matches('/'));
        files.extend(
            relative
                .ancestors()
                .map(|group| Path::new(root).join(group).join(name)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_budget_below_the_machine() {
        assert!((1 << 20..1 << 60).contains(&default_budget()));
        assert_eq!(
            total("MemFree: 1 kB\nMemTotal:       24683660 kB\n"),
            Some(25_276_067_840)
        );
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn limits_are_looked_for_in_both_interfaces() {
        let found = limit_files("4:cpu,memory:/a/b\n5:cpuset:/x\n0::/c\nodd\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
