//! What the kernel delivers beside a datagram: how many it had to drop on this socket so far (`SO_RXQ_OVFL`).
//!
//! It attaches the number only once something was dropped, so undisturbed sockets pay nothing.

/// Room for one ancillary message with a `u32`.
pub(super) const CONTROL_BYTES: usize = 24;
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const _: () = assert!(HEADER_BYTES + size_of::<u32>() <= CONTROL_BYTES);

/// The drop count of one socket, which the kernel tells as a running total modulo 2^32.
#[derive(Default)]
pub(super) struct Drops {
    last: u32,
}

impl Drops {
    /// How many datagrams were dropped since the last time, by the ancillary data of a datagram.
    pub(super) fn since(&mut self, control: &[u8]) -> u64 {
        let Some(total) = total(control) else {
            return 0;
        };
        let new = total.wrapping_sub(self.last);
        self.last = total;
        u64::from(new)
    }
}

/// The running total, if it is there; we ask for no other message, so it comes first.
fn total(control: &[u8]) -> Option<u32> {
    if control.len() < HEADER_BYTES + size_of::<u32>() {
        return None;
    }
    // SAFETY: the slice is long enough, and any bytes are a valid header.
    let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
    let ours = header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SO_RXQ_OVFL;
    let value = control[HEADER_BYTES..].first_chunk::<4>()?;
    ours.then(|| u32::from_ne_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(kind: i32, total: u32) -> Vec<u8> {
        let mut bytes = (HEADER_BYTES + 4).to_ne_bytes().to_vec();
        bytes.extend(libc::SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(total.to_ne_bytes());
        bytes
    }

    #[test]
    fn totals_become_differences_across_the_wrap() {
        let mut drops = Drops::default();
        let mut told = |total| drops.since(&control(libc::SO_RXQ_OVFL, total));
        assert_eq!([told(5), told(5), told(u32::MAX), told(1)], [5, 0, u64::from(u32::MAX) - 5, 2]);
    }

    #[test]
    fn other_or_missing_messages_say_nothing() {
        let mut drops = Drops::default();
        assert_eq!(drops.since(&[]), 0);
        assert_eq!(drops.since(&control(libc::SO_TIMESTAMP, 9)), 0);
    }
}
