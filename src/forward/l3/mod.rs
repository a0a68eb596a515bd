//! Steps that are equal in both families.

pub mod gso;
pub mod limit;
pub mod multipath;
