//! A running warren between two hosts, in network namespaces: `lab` builds them, each other file asks one question.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // what cannot be set up must fail the test

mod capture;
mod ends;
mod flow;
mod forwards;
mod lab;
#[path = "../process/mod.rs"]
mod process;
mod refuses;
mod told;
mod words;
