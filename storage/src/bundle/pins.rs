//! Bundles that somebody is at work with: nobody takes them away meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hash::BundleHash;

/// How often each bundle is pinned.
#[derive(Clone, Default)]
pub(super) struct Pins(Arc<Mutex<HashMap<BundleHash, usize>>>);

impl Pins {
    pub(super) fn pin(&self, hash: BundleHash) -> Pinned {
        *self.lock().entry(hash).or_default() += 1;
        Pinned { pins: self.clone(), hash }
    }

    pub(super) fn is_pinned(&self, hash: BundleHash) -> bool {
        self.lock().contains_key(&hash)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BundleHash, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a bundle in the folder until it is dropped.
#[must_use = "the bundle may be taken away once this is dropped"]
pub struct Pinned {
    pins: Pins,
    hash: BundleHash,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        if let Some(count) = pins.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.hash);
            }
        }
    }
}
