//! The built program offline: replay, explain, route get and what they say of bad input; and the player beneath them.
#![allow(clippy::unwrap_used, clippy::panic)] // what a test needs and does not get fails it

mod bad_input;
mod explain;
mod lab;
mod player;
mod replay;
mod route;
