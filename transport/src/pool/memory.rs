//! Anonymous memory with every page present.

use std::io;
use std::ptr::{self, NonNull};

/// Explicit and transparent huge pages on x86_64, and on aarch64 with 4 KiB base pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// The smallest page of any host.
const PAGE_BYTES: usize = 4096;

/// What kind of pages back a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved huge pages (`vm.nr_hugepages`).
    Huge,
    /// Ordinary memory that the kernel was asked to back by huge pages where it can.
    Transparent,
    /// Ordinary pages: the mapping is smaller than a huge page or the kernel has none.
    Ordinary,
}

/// A mapping of zeroed, page-aligned memory, unmapped when dropped.
pub(crate) struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    pages: Pages,
    locked: bool,
}

// SAFETY: plain memory without thread affinity; who reaches it through the pointer answers for how.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps at least `bytes`, makes every page present and, where the limit allows, locks them. Fails with an error
    /// number.
    pub(crate) fn map(bytes: usize) -> Result<Memory, i32> {
        let mut memory = if bytes < HUGE_PAGE_BYTES {
            Memory::anonymous(bytes, libc::MAP_POPULATE)?
        } else {
            let bytes = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(libc::ENOMEM)?;
            match Memory::anonymous(bytes, libc::MAP_HUGETLB | libc::MAP_POPULATE) {
                Ok(memory) => Memory { pages: Pages::Huge, ..memory },
                Err(_) => Memory::transparent(bytes)?,
            }
        };
        // SAFETY: the range is this value's own. A refusal (the limit is 8 MiB by default) costs nothing but a page
        // fault should the host ever swap, so it is reported and not an error.
        memory.locked = unsafe { libc::mlock(memory.start.as_ptr().cast(), memory.bytes) } == 0;
        Ok(memory)
    }

    /// Maps `bytes` of ordinary pages, none of which is present before it is written to. Fails with an error number.
    pub(crate) fn reserve(bytes: usize) -> Result<Memory, i32> {
        let memory = Memory::anonymous(bytes, libc::MAP_NORESERVE)?;
        // SAFETY: the range is this value's own; the call only changes how it will be backed. Where there are no huge pages it is refused, and
        // nothing is lost.
        unsafe { libc::madvise(memory.start.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE) };
        Ok(memory)
    }

    /// First byte of the mapping.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }

    pub(crate) fn locked(&self) -> bool {
        self.locked
    }

    fn transparent(bytes: usize) -> Result<Memory, i32> {
        let mut memory = Memory::anonymous(bytes, 0)?;
        let start = memory.start.as_ptr();
        // SAFETY: the range is this value's own; the call only changes how it will be backed.
        if unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) } == 0 {
            memory.pages = Pages::Transparent;
        }
        // After the advice and not by MAP_POPULATE, which would make ordinary pages present before it.
        for offset in (0..bytes).step_by(PAGE_BYTES) {
            // SAFETY: inside the mapping, which nobody else knows yet.
            unsafe { start.add(offset).write_volatile(0) };
        }
        Ok(memory)
    }

    fn anonymous(bytes: usize, flags: libc::c_int) -> Result<Memory, i32> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => {
                Ok(Memory { start, bytes, pages: Pages::Ordinary, locked: false })
            }
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::ENOMEM)),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and whoever keeps pointers into it keeps this value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
