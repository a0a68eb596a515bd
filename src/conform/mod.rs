//! The differential against the running kernel: the same frames through a kernel router in a network namespace and
//! through warren, every byte out and every counter compared.
//!
//! Invariant: what is expected always comes from a kernel, never from warren. `run` draws boxes (`draw`), plays each on
//! both sides (`kernel`, `userspace`), compares, and shrinks what differs (`shrink`). Called by `warren conform`,
//! `tests/record`, and the tests of the recorded cases.

mod apply;
mod case;
mod compare;
mod decode;
mod draw;
mod ends;
mod harm;
mod kernel;
mod links;
mod masked;
mod mib;
pub mod run;
mod shrink;
mod trace;
mod unprompted;
pub mod userspace;

pub use case::{Case, Frame, Outcome, read_frames, write_frames};
pub use compare::{Differences, compare};
pub use decode::hex;
pub use draw::{Boxes, Several, flows};
pub use harm::harm;
pub use kernel::KernelBox;
pub use masked::{Hidden, MASKS, Masked};
pub use mib::Counters;

use crate::control::netlink;
use crate::port::capture::CaptureError;
use crate::scenario::{Scenario, ScenarioError, Value};
use crate::sys::netns;
use std::io;

/// Why frames could not be played, or a case not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The kernel refused an object of the scenario.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A capture file.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A scenario file.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An entry of the scenario that no kernel can be given.
    #[error("{0}")]
    Meaning(String),
    /// The system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// The reason.
        source: io::Error,
    },
    /// More came out than there was room for.
    #[error("{0} frames from {1} found no room in the socket: raise net.core.rmem_max, or run as root")]
    Lost(u32, String),
    /// Somebody asked for it.
    #[error("a signal came")]
    Stopped,
    /// The router never fell silent.
    #[error("the kernel's router was still busy after {0} seconds: {1}")]
    Busy(u64, String),
}

/// What the names of a run's namespaces begin with.
pub const NAMES: &str = "warren-conform-";

type Result<T> = std::result::Result<T, ConformError>;

/// Sets what a kernel would draw for itself and tell nobody, unless the scenario does: flow labels, and the seed by which it
/// chooses among next hops. Says what that was.
pub fn foretell(scenario: &mut Scenario) -> Vec<String> {
    let secrets = [("net.ipv6.auto_flowlabels", 0), ("net.ipv4.fib_multipath_hash_seed", 1)];
    let open: Vec<_> = secrets.into_iter().filter(|(name, _)| !scenario.sysctl.contains_key(*name)).collect();
    scenario.sysctl.extend(open.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value))));
    open.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Lifts the limit on all ICMP messages together, unless the scenario sets it: the kernel draws by lot how much of it
/// each message uses up, so no two runs would be equal.
pub fn lift_global_limit(scenario: &mut Scenario) {
    const PLENTY: i64 = 1_000_000;
    for name in ["net.ipv4.icmp_msgs_per_sec", "net.ipv4.icmp_msgs_burst"] {
        scenario.sysctl.entry(name.to_owned()).or_insert(Value::Number(PLENTY));
    }
}

/// Wraps the system's answer with what was tried.
fn system<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> ConformError {
    let doing = doing.into();
    move |source| ConformError::System { doing, source: source.into() }
}
