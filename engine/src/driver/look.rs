//! When a driver looks for applications that came or left. A look costs a system call where nothing happened, and the making of a session's
//! memory for each application that came: a storm of those must not take the driver from the others.

use crate::limits::{SESSIONS_LOOK_NS, SESSIONS_SHARE};

/// When to look next.
#[derive(Debug, Default)]
pub struct Look {
    due_ns: u64,
    /// Not even in haste before that: what the last look took is to stay a small part of the time.
    earliest_ns: u64,
}

impl Look {
    /// Whether to look now.
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns <= now_ns
    }

    /// A look was begun and ended at these times.
    pub fn looked(&mut self, begin_ns: u64, end_ns: u64) {
        self.earliest_ns = end_ns + (end_ns - begin_ns) * SESSIONS_SHARE;
        self.due_ns = self.earliest_ns.max(begin_ns + SESSIONS_LOOK_NS);
    }

    /// The driver was woken, perhaps by an application.
    pub fn hasten(&mut self) {
        self.due_ns = self.earliest_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_take_a_small_part_of_the_time_however_often_the_driver_is_woken() {
        let (mut look, mut now_ns, mut looking_ns) = (Look::default(), 0, 0);
        while now_ns < 1_000_000_000 {
            if look.is_due(now_ns) {
                // Thirty-two applications came.
                look.looked(now_ns, now_ns + 2_000_000);
                (now_ns, looking_ns) = (now_ns + 2_000_000, looking_ns + 2_000_000);
            }
            look.hasten();
            now_ns += 10_000;
        }
        assert!(looking_ns <= now_ns / SESSIONS_SHARE, "{looking_ns}");
        assert!(looking_ns > now_ns / (2 * SESSIONS_SHARE), "{looking_ns}");
    }

    #[test]
    fn who_was_woken_looks_at_once_if_looking_was_cheap() {
        let mut look = Look::default();
        look.looked(5_000, 6_000);
        assert!(!look.is_due(500_000));
        look.hasten();
        assert!(look.is_due(6_000 + 1_000 * SESSIONS_SHARE));
    }
}
