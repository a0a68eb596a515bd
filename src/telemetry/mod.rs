//! What a running warren tells about itself: tables over the control socket. Floor 5, reads snapshots only.

pub mod capture;
pub mod show;
pub mod socket;
pub mod table;
mod words;
