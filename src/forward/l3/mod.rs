//! Steps that are equal in both families.

pub mod gso;
pub mod kinds;
pub mod limit;
pub mod multipath;
pub mod named;
