//! One door to the atomics: the standard library's, or loom's where a test explores every interleaving.
//!
//! Invariant: no other file of this crate names an atomic, so nothing escapes the model.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// Of the standard library in any case, for the large tables: what is published there are integers in memory that stays, and
/// the model, which looks at publication alone, has no room for them.
pub(crate) mod plain {
    pub(crate) use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
}
