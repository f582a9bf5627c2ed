//! Memory that rings lie in: sealed and shared between two processes, or this process's own.
//!
//! A shared region has no name that could be left behind or guessed: it is an anonymous file whose descriptor is handed
//! to one peer, and the kernel takes it back when both ends are gone. It is sealed before anybody else sees it, so that
//! no peer can shrink it and turn a load into a fatal signal; it starts as zeros, so that nothing leaks into it.
//!
//! What must never happen here: a reference to plain bytes of a region (the other end may write them at any time).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt::{Debug, Formatter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// The seals that a shared region bears: its size is fixed for ever, and so are the seals.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Alignment of a heap region; a mapping is aligned to a page.
const HEAP_ALIGNMENT_BYTES: usize = 128;

/// Why a region could not be made or mapped.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The system refused.
    #[error("{call} of a shared-memory region of {length_bytes} bytes failed: {errno}; check the memory limits")]
    Host {
        /// The system call.
        call: &'static str,
        /// Size wanted, bytes.
        length_bytes: usize,
        /// What the system said.
        errno: std::io::Error,
    },
    /// The descriptor that the peer passed is no region: not sealed against resizing, or of another size.
    #[error("the descriptor passed is no sealed region of {length_bytes} bytes; is the peer what it should be?")]
    NotSealed {
        /// Size expected, bytes.
        length_bytes: usize,
    },
}

/// One piece of zeroed memory, unmapped or freed when dropped.
pub struct Region {
    base: NonNull<u8>,
    length_bytes: usize,
    kind: Kind,
}

enum Kind {
    Mapped,
    Heap(Layout),
}

// SAFETY: a region is an address range; what is done with its bytes, and by whom, is settled by those who take `base`.
unsafe impl Send for Region {}
// SAFETY: as above; the methods themselves only hand out addresses and atomics.
unsafe impl Sync for Region {}

impl Region {
    /// Memory of this process alone.
    ///
    /// # Panics
    ///
    /// When `length_bytes` is zero or beyond the address space.
    pub fn heap(length_bytes: usize) -> Region {
        assert!(length_bytes > 0, "a region has at least one byte");
        let layout =
            Layout::from_size_align(length_bytes, HEAP_ALIGNMENT_BYTES).expect("a region fits the address space");
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Region { base, length_bytes, kind: Kind::Heap(layout) }
    }

    /// Makes a sealed shared region and maps it. The descriptor is for the peer; this side needs it no more.
    ///
    /// Its pages are reserved now, so that a lack of memory shows here and not as a signal at some later access.
    ///
    /// # Errors
    ///
    /// [`RegionError::Host`].
    pub fn shared(name: &str, length_bytes: usize) -> Result<(Region, OwnedFd), RegionError> {
        let host = |call, errno: Errno| RegionError::Host { call, length_bytes, errno: errno.into() };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Kernels before 6.3 do not know this seal.
            Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
            outcome => outcome,
        }
        .map_err(|errno| host("memfd_create", errno))?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length_bytes as u64)
            .map_err(|errno| host("fallocate", errno))?;
        rustix::fs::fcntl_add_seals(&file, SEALS).map_err(|errno| host("fcntl(F_ADD_SEALS)", errno))?;
        let region = Region::map(file.as_fd(), length_bytes)?;
        Ok((region, file))
    }

    /// Maps the shared region behind a descriptor that a peer passed, once it is known to be sealed and long enough.
    ///
    /// # Errors
    ///
    /// [`RegionError`].
    pub fn open(file: BorrowedFd<'_>, length_bytes: usize) -> Result<Region, RegionError> {
        let host = |call, errno: Errno| RegionError::Host { call, length_bytes, errno: errno.into() };
        let seals = match rustix::fs::fcntl_get_seals(file) {
            // Not a kind of file that can bear seals.
            Err(Errno::INVAL) => SealFlags::empty(),
            outcome => outcome.map_err(|errno| host("fcntl(F_GET_SEALS)", errno))?,
        };
        let size = rustix::fs::fstat(file).map_err(|errno| host("fstat", errno))?.st_size;
        if !seals.contains(SEALS) || size != length_bytes as i64 {
            return Err(RegionError::NotSealed { length_bytes });
        }
        Region::map(file, length_bytes)
    }

    fn map(file: BorrowedFd<'_>, length_bytes: usize) -> Result<Region, RegionError> {
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing of this process.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                file,
                0,
            )
        }
        .map_err(|errno| RegionError::Host { call: "mmap", length_bytes, errno: errno.into() })?;
        let base = NonNull::new(base.cast()).expect("the kernel maps nothing at address zero");
        Ok(Region { base, length_bytes, kind: Kind::Mapped })
    }

    /// Size, bytes.
    pub fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// The word at `offset_bytes`, for atomic access.
    ///
    /// # Panics
    ///
    /// When the word is not within the region, or not aligned.
    pub fn atomic_u64(&self, offset_bytes: usize) -> &AtomicU64 {
        assert!(offset_bytes.is_multiple_of(8) && self.length_bytes >= 8 && offset_bytes <= self.length_bytes - 8);
        // SAFETY: in bounds and aligned (the base is aligned to 128 bytes at least), alive as long as `self`; an atomic
        // may be written by anybody, in this process or another.
        unsafe { &*self.base.as_ptr().add(offset_bytes).cast::<AtomicU64>() }
    }

    /// Where the region starts.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.kind {
            // SAFETY: mapped in `map` with this length; who took addresses holds the region alive, so nobody is left.
            Kind::Mapped => unsafe {
                let _ = rustix::mm::munmap(self.base.as_ptr().cast(), self.length_bytes);
            },
            // SAFETY: allocated in `heap` with this layout; nobody is left, as above.
            Kind::Heap(layout) => unsafe { dealloc(self.base.as_ptr(), layout) },
        }
    }
}

impl Debug for Region {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Region").field("length_bytes", &self.length_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn both_mappings_are_the_same_zeroed_memory() {
        let (ours, file) = Region::shared("test", 8192).unwrap();
        let theirs = Region::open(file.as_fd(), 8192).unwrap();
        assert_eq!(theirs.atomic_u64(8184).load(Ordering::Relaxed), 0);
        ours.atomic_u64(8184).store(7, Ordering::Relaxed);
        assert_eq!(theirs.atomic_u64(8184).load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_peer_can_neither_resize_nor_unseal_it() {
        let (_region, file) = Region::shared("test", 4096).unwrap();
        assert_eq!(rustix::fs::ftruncate(&file, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 8192), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE), Err(Errno::PERM));
    }

    #[test]
    fn what_is_not_sealed_or_of_another_size_is_refused() {
        let bare = rustix::fs::memfd_create("bare", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&bare, 4096).unwrap();
        assert!(matches!(Region::open(bare.as_fd(), 4096), Err(RegionError::NotSealed { length_bytes: 4096 })));

        let (_region, file) = Region::shared("test", 4096).unwrap();
        assert!(matches!(Region::open(file.as_fd(), 8192), Err(RegionError::NotSealed { .. })));

        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(Region::open(socket.as_fd(), 4096), Err(RegionError::NotSealed { .. })));
    }

    #[test]
    #[should_panic(expected = "offset_bytes")]
    fn a_word_beyond_the_end_is_a_bug_of_ours() {
        Region::heap(64).atomic_u64(64);
    }
}
