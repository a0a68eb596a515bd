//! The one binary: hands the command line to `cli` and turns its result into an exit code.
fn main() {}
