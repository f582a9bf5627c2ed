//! Which slots of a pool are free: a stack of indices that any thread may take from and give back to (Treiber, 1986, with a count of changes
//! against the same top seen twice), and the state of each slot that is taken.

use super::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// End of the list.
const NONE: u32 = u32::MAX;
/// State of a taken slot: a `Frame` owns it.
const HELD: u32 = u32::MAX - 1;
/// State of a taken slot: a descriptor from `Frame::into_raw` owns it.
const PARKED: u32 = u32::MAX - 2;
/// More slots than any host's memory holds at a useful size; keeps indices clear of the states above.
pub(super) const SLOTS_MAX: usize = 1 << 30;

/// The free slots, all of them at first.
pub(super) struct FreeList {
    /// Top of the list in the lower half; in the upper half a count of changes, so that a top that was taken and
    /// given back in between is not mistaken for an untouched one.
    top: AtomicU64,
    /// A slot's successor in the list; while the slot is taken, [`HELD`] or [`PARKED`].
    next: Box<[AtomicU32]>,
}

impl FreeList {
    pub(super) fn new(slots: usize) -> FreeList {
        assert!((1..=SLOTS_MAX).contains(&slots));
        let next = (0..slots).map(|slot| AtomicU32::new(if slot + 1 < slots { slot as u32 + 1 } else { NONE }));
        FreeList { top: AtomicU64::new(0), next: next.collect() }
    }

    /// How many slots there are, free or not.
    pub(super) fn slots(&self) -> usize {
        self.next.len()
    }

    /// The slot given back last.
    #[inline]
    pub(super) fn take(&self) -> Option<u32> {
        // SYNC: pairs with the release in `give_back`: the slot's last holder is done with its bytes.
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let index = top as u32;
            if index == NONE {
                return None;
            }
            // The slot may be taken by another thread right now and this value stale; then the exchange below fails.
            let next = self.next[index as usize].load(Ordering::Relaxed);
            match self.top.compare_exchange_weak(top, successor(top, next), Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.next[index as usize].store(HELD, Ordering::Relaxed);
                    return Some(index);
                }
                Err(current) => top = current,
            }
        }
    }

    #[inline]
    pub(super) fn give_back(&self, index: u32) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            self.next[index as usize].store(top as u32, Ordering::Relaxed);
            // SYNC: pairs with the acquire in `take`; also publishes the link stored above.
            match self.top.compare_exchange_weak(top, successor(top, index), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => top = current,
            }
        }
    }

    /// A held slot goes into a descriptor.
    #[inline]
    pub(super) fn park(&self, index: u32) {
        self.next[index as usize].store(PARKED, Ordering::Relaxed);
    }

    /// A descriptor's slot is held again; false when no descriptor owns it.
    #[inline]
    pub(super) fn unpark(&self, index: u32) -> bool {
        self.next[index as usize].swap(HELD, Ordering::Relaxed) == PARKED
    }
}

/// The next value of the top: a new index, one change more.
#[inline]
fn successor(top: u64, index: u32) -> u64 {
    ((top >> 32).wrapping_add(1) << 32) | u64::from(index)
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::FreeList;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// The list, and the bytes of the slots: loom stops the test where two holders touch the same.
    struct Slots {
        list: FreeList,
        bytes: [UnsafeCell<u64>; 2],
    }

    // SAFETY: the cells are guarded by the list, which is what loom is here to check.
    unsafe impl Sync for Slots {}

    impl Slots {
        fn new() -> Arc<Slots> {
            Arc::new(Slots { list: FreeList::new(2), bytes: [UnsafeCell::new(0), UnsafeCell::new(0)] })
        }

        fn write(&self, index: u32, mark: u64) {
            self.bytes[index as usize].with_mut(|bytes| {
                // SAFETY: whoever took the slot owns it; loom reports anybody else.
                unsafe { *bytes = mark }
            });
        }
    }

    /// Two threads that take and give back, each twice: no slot has two holders, and none is lost.
    #[test]
    fn the_free_list_gives_no_slot_twice() {
        loom::model(|| {
            let slots = Slots::new();
            let other = Arc::clone(&slots);
            let worker = thread::spawn(move || {
                for mark in [1, 2] {
                    if let Some(index) = other.list.take() {
                        other.write(index, mark);
                        other.list.give_back(index);
                    }
                }
            });
            let first = slots.list.take();
            let second = slots.list.take();
            assert!(first.is_some() && first != second);
            for index in [first, second].into_iter().flatten() {
                slots.write(index, 3);
                slots.list.give_back(index);
            }
            worker.join().unwrap();
            let left = [slots.list.take(), slots.list.take(), slots.list.take()];
            assert!(left[0].is_some() && left[1].is_some() && left[0] != left[1], "a slot is lost");
            assert_eq!(left[2], None, "a slot is there twice");
        });
    }

    /// A slot that is given back on another thread, as the network's thread does with the orderer's frames.
    #[test]
    fn the_free_list_takes_back_from_another_thread() {
        loom::model(|| {
            let slots = Slots::new();
            let index = slots.list.take().unwrap();
            slots.write(index, 1);
            slots.list.park(index);
            let other = Arc::clone(&slots);
            let worker = thread::spawn(move || {
                assert!(other.list.unpark(index) && !other.list.unpark(index));
                other.write(index, 2);
                other.list.give_back(index);
            });
            if let Some(taken) = slots.list.take() {
                slots.write(taken, 3);
                slots.list.give_back(taken);
            }
            worker.join().unwrap();
            assert!(slots.list.take().is_some() && slots.list.take().is_some() && slots.list.take().is_none());
        });
    }

    /// A frame goes to another thread as a descriptor in a ring, and comes back as a free one, as between the threads of a
    /// replica: each holder sees what the one before wrote.
    #[test]
    fn a_ring_hands_a_frame_on_with_its_bytes() {
        loom::model(|| {
            let slots = Slots::new();
            let (mut arrivals, mut arriving) = crate::ring::pair(32);
            let other = Arc::clone(&slots);
            let orderer = thread::spawn(move || {
                let mut taken = 0;
                while taken == 0 {
                    taken = arriving
                        .poll(1, |descriptor| {
                            let index = u32::from_ne_bytes(descriptor.try_into().unwrap());
                            assert!(other.list.unpark(index));
                            other.bytes[index as usize].with(|bytes| {
                                // SAFETY: as in `write`.
                                assert_eq!(unsafe { *bytes }, 7);
                            });
                            other.list.give_back(index);
                        })
                        .unwrap();
                    thread::yield_now();
                }
            });
            let index = slots.list.take().unwrap();
            slots.write(index, 7);
            slots.list.park(index);
            arrivals.try_push(&index.to_ne_bytes()).unwrap();
            arrivals.publish();
            // The next frame, which may be the same.
            let next = slots.list.take().unwrap();
            slots.write(next, 8);
            slots.list.give_back(next);
            orderer.join().unwrap();
            assert!(slots.list.take().is_some() && slots.list.take().is_some() && slots.list.take().is_none());
        });
    }
}
