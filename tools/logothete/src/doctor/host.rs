//! What the kernel, the memory, the cores and the clock offer.

use super::{Check, State, bytes_text};
use logothete_transport::cores;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// Multishot receives came with 6.0, deferred task work with 6.1.
const KERNEL_WANTED: (u32, u32) = (6, 1);

/// Pools of a replica are tens of MiB with the settings that `init` writes.
const LOCKED_BYTES_WANTED: u64 = 64 << 20;

/// Every check of this file.
pub fn checks() -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    vec![
        kernel(read("/proc/sys/kernel/osrelease").as_deref().unwrap_or("unknown")),
        io_uring(read("/proc/sys/kernel/io_uring_disabled").as_deref()),
        locked_memory(getrlimit(Resource::Memlock).current, rustix::process::geteuid().is_root()),
        huge_pages(
            read("/proc/sys/vm/nr_hugepages").as_deref(),
            read("/sys/kernel/mm/transparent_hugepage/enabled").as_deref(),
        ),
        usable_cores(cores::usable()),
        isolated_cores(read("/sys/devices/system/cpu/isolated").as_deref()),
        clock_source(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
    ]
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let state = if version >= Some(KERNEL_WANTED) { State::Good } else { State::Advice };
    Check::new(
        "kernel",
        state,
        release,
        format!("{}.{} or later", KERNEL_WANTED.0, KERNEL_WANTED.1),
        "older kernels lack the io_uring calls that receive without a system call a datagram; recvmmsg is used there",
        "install a newer kernel, or choose --transport mmsg",
    )
}

fn io_uring(disabled: Option<&str>) -> Check {
    let (state, found) = match disabled {
        // The switch came with 6.6; before, io_uring is there when the kernel is new enough.
        None => (State::Good, "no switch in this kernel"),
        Some("0") => (State::Good, "enabled"),
        Some("1") => (State::Advice, "only for the group in kernel.io_uring_group and for privileged processes"),
        Some(_) => (State::Advice, "disabled"),
    };
    Check::new(
        "io_uring",
        state,
        found,
        "enabled",
        "it receives and sends many datagrams a system call; recvmmsg and sendmmsg are used where it is missing",
        "sysctl -w kernel.io_uring_disabled=0",
    )
}

fn locked_memory(limit: Option<u64>, privileged: bool) -> Check {
    let (state, found) = match limit {
        _ if privileged => (State::Good, String::from("unlimited for root")),
        None => (State::Good, String::from("unlimited")),
        Some(limit) if limit >= LOCKED_BYTES_WANTED => (State::Good, bytes_text(limit)),
        Some(limit) => (State::Advice, bytes_text(limit)),
    };
    Check::new(
        "locked memory",
        state,
        found,
        format!("{} or more", bytes_text(LOCKED_BYTES_WANTED)),
        "packet buffers that are not locked can be paged out, and the next packet then waits for the disk",
        "ulimit -l unlimited (for good: `* - memlock unlimited` in /etc/security/limits.conf)",
    )
}

fn huge_pages(reserved: Option<&str>, transparent: Option<&str>) -> Check {
    let reserved: u64 = reserved.and_then(|count| count.parse().ok()).unwrap_or(0);
    // The kernel puts the chosen mode in brackets.
    let transparent = transparent.and_then(|modes| modes.split(['[', ']']).nth(1)).unwrap_or("not offered");
    let good = reserved > 0 || matches!(transparent, "always" | "madvise");
    Check::new(
        "huge pages",
        if good { State::Good } else { State::Advice },
        format!("{reserved} reserved, transparent: {transparent}"),
        "some reserved, or transparent ones on request",
        "packet buffers in 4 KiB pages cost more misses of the address cache",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (or sysctl -w vm.nr_hugepages=128)",
    )
}

fn usable_cores(cores: &[usize]) -> Check {
    let state = if cores.len() >= 2 { State::Good } else { State::Advice };
    Check::new(
        "cores",
        state,
        format!("{} (affinity and control group considered)", cores.len()),
        "2 or more a replica for --arrangement split; 1 for shared",
        "agents that share a core take turns, and a turn lost is latency",
        "start with a wider affinity (taskset) or CPU quota, or choose --arrangement shared",
    )
}

fn isolated_cores(isolated: Option<&str>) -> Check {
    let found = isolated.filter(|list| !list.is_empty());
    Check::new(
        "isolated cores",
        if found.is_some() { State::Good } else { State::Advice },
        found.unwrap_or("none"),
        "those that replicas are pinned to",
        "the scheduler puts other work on cores that are not isolated: latency tails of milliseconds",
        "add isolcpus=2-5 nohz_full=2-5 to the kernel command line, and name these cores in replica-I.toml",
    )
}

fn clock_source(current: Option<&str>) -> Check {
    // Sources that are read without a system call.
    let good = matches!(current, Some("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "arch_sys_counter"));
    Check::new(
        "clock source",
        if good { State::Good } else { State::Advice },
        current.unwrap_or("unknown"),
        "tsc, kvm-clock or arch_sys_counter",
        "others cost a system call or a slow device access for each reading of the clock",
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
    )
}

#[cfg(test)]
mod tests {
    use super::State::{Advice, Good};
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, state) in [
            ("6.1.0-13-amd64", Good),
            ("6.18.44", Good),
            ("7.0.0", Good),
            ("6.0.9", Advice),
            ("5.15.0", Advice),
            ("odd", Advice),
        ] {
            assert_eq!(kernel(release).state, state, "{release}");
        }
    }

    #[test]
    fn findings_are_judged() {
        assert_eq!(io_uring(None).state, Good);
        assert_eq!(io_uring(Some("0")).state, Good);
        assert_eq!(io_uring(Some("1")).state, Advice);
        assert_eq!(io_uring(Some("2")).found, "disabled");
        assert_eq!(locked_memory(Some(8 << 20), false).state, Advice);
        assert_eq!(locked_memory(Some(8 << 20), true).state, Good);
        assert_eq!(locked_memory(Some(64 << 20), false).state, Good);
        assert_eq!(locked_memory(None, false).state, Good);
        assert_eq!(huge_pages(Some("0"), Some("always madvise [never]")).state, Advice);
        assert_eq!(huge_pages(Some("0"), Some("always [madvise] never")).state, Good);
        assert_eq!(huge_pages(Some("64"), None).state, Good);
        assert_eq!(huge_pages(None, None).found, "0 reserved, transparent: not offered");
        assert_eq!(usable_cores(&[3]).state, Advice);
        assert_eq!(usable_cores(&[0, 1]).state, Good);
        assert_eq!(isolated_cores(Some("")).found, "none");
        assert_eq!(isolated_cores(Some("2-5")).state, Good);
        assert_eq!(clock_source(Some("tsc")).state, Good);
        assert_eq!(clock_source(Some("hpet")).state, Advice);
    }
}
