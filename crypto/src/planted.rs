//! A bug on purpose, for the simulator to find: all session keys follow from one secret of the cluster. Without the feature `planted-bugs`
//! nothing of it is in the program; a release build refuses it.

#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn cluster_keys() -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use in_force::use_cluster_keys;

#[cfg(feature = "planted-bugs")]
pub(crate) use in_force::cluster_keys;

#[cfg(feature = "planted-bugs")]
mod in_force {
    use std::sync::atomic::{AtomicBool, Ordering};

    #[cfg(not(debug_assertions))]
    compile_error!("planted bugs are for the simulator's own check: no release has them");

    static CLUSTER_KEYS: AtomicBool = AtomicBool::new(false);

    /// Plants the bug, or takes it out.
    pub fn use_cluster_keys(on: bool) {
        CLUSTER_KEYS.store(on, Ordering::Relaxed);
    }

    pub(crate) fn cluster_keys() -> bool {
        CLUSTER_KEYS.load(Ordering::Relaxed)
    }
}
