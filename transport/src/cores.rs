//! Which cores this process may use, and pinning threads to them.
//!
//! A pinned thread sees one core, and so does every thread that it starts: whoever counts cores after the first
//! pinning counts wrong and puts two spinning threads on one core. The cores are therefore read once, at the first
//! question, and [`pin_current_thread`] asks it before it pins.

use crate::HostError;
use core_affinity::CoreId;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The cores that this process may keep busy, ascending, never empty; read once and then fixed.
///
/// These are the cores of the affinity mask, cut down to as many as the control groups' CPU quota pays for: a
/// container with four cores in its mask and a quota of two may spin two threads, not four.
pub fn usable() -> &'static [usize] {
    static USABLE: OnceLock<Vec<usize>> = OnceLock::new();
    USABLE.get_or_init(|| {
        let mut cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
        cores.sort_unstable();
        if cores.is_empty() {
            cores.push(0);
        }
        let whole = quota().map_or(cores.len(), |q| (q.floor() as usize).max(1));
        cores.truncate(whole);
        cores
    })
}

/// Pins the calling thread to one core and verifies that it runs there.
///
/// # Errors
///
/// The core does not exist, or the process may not use it.
pub fn pin_current_thread(core: usize) -> Result<(), HostError> {
    let cores = usable();
    let refused = || {
        HostError::new("sched_setaffinity", libc::EINVAL, format!("core {core}"))
            .with_mend(format!("name cores that this process may use: {cores:?}"))
    };
    // The crate's set of cores has a fixed size, beyond which it panics.
    if core >= libc::CPU_SETSIZE as usize || !core_affinity::set_for_current(CoreId { id: core }) {
        return Err(refused());
    }
    // SAFETY: no arguments; reads the calling thread's current core.
    let current = unsafe { libc::sched_getcpu() };
    if usize::try_from(current) == Ok(core) { Ok(()) } else { Err(refused()) }
}

/// Cores' worth of CPU time that the control groups allow, if they limit it.
fn quota() -> Option<f64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let read = |path: &Path| fs::read_to_string(path).ok();
    folders(&membership).iter().filter_map(|folder| quota_of(folder, &read)).min_by(f64::total_cmp)
}

/// The control-group folders that may limit this process: its own and every one above it, in both versions'
/// hierarchies.
fn folders(membership: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let root = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            c if c.split(',').any(|c| c == "cpu") => Path::new("/sys/fs/cgroup/cpu"),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        folders.extend(own.ancestors().take_while(|a| a.starts_with(root)).map(Path::to_path_buf));
    }
    folders
}

/// One folder's limit: `cpu.max` in version 2, a pair of files in version 1.
fn quota_of(folder: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<f64> {
    let (quota, period) = match read(&folder.join("cpu.max")) {
        Some(text) => text.split_once(' ').map(|(quota, period)| (quota.to_owned(), period.to_owned()))?,
        None => (read(&folder.join("cpu.cfs_quota_us"))?, read(&folder.join("cpu.cfs_period_us"))?),
    };
    // "max" in version 2 and -1 in version 1 mean no limit.
    let (quota, period) = (quota.trim().parse::<f64>().ok()?, period.trim().parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        move |path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn there_is_a_core_and_pinning_does_not_change_the_answer() {
        let before = usable().to_vec();
        assert!(!before.is_empty() && before.is_sorted());
        let pinned = std::thread::spawn(|| {
            pin_current_thread(*usable().last().expect("at least one core")).expect("a usable core");
            usable().to_vec()
        });
        assert_eq!(pinned.join().expect("the thread pinned itself"), before);
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused_with_the_choice() {
        let error =
            std::thread::spawn(|| pin_current_thread(100_000)).join().expect("no panic").expect_err("no such core");
        assert!(error.to_string().contains("may use"), "{error}");
    }

    #[test]
    fn version_2_folders_are_the_own_one_and_all_above() {
        let expected: Vec<PathBuf> =
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].iter().map(PathBuf::from).collect();
        assert_eq!(folders("0::/a/b\n"), expected);
    }

    #[test]
    fn version_1_uses_the_cpu_controller_only() {
        let found = folders("5:memory:/m\n4:cpu,cpuacct:/c\n");
        assert_eq!(found, [PathBuf::from("/sys/fs/cgroup/cpu/c"), PathBuf::from("/sys/fs/cgroup/cpu")]);
    }

    #[test]
    fn quotas_of_both_versions() {
        let folder = Path::new("/g");
        for (files, expected) in [
            (&[("/g/cpu.max", "150000 100000\n")][..], Some(1.5)),
            (&[("/g/cpu.max", "max 100000\n")][..], None),
            (&[("/g/cpu.cfs_quota_us", "200000\n"), ("/g/cpu.cfs_period_us", "100000\n")][..], Some(2.0)),
            (&[("/g/cpu.cfs_quota_us", "-1\n"), ("/g/cpu.cfs_period_us", "100000\n")][..], None),
            (&[][..], None),
            (&[("/g/cpu.max", "garbage")][..], None),
        ] {
            assert_eq!(quota_of(folder, &file(files)), expected, "{files:?}");
        }
    }
}
