//! A box's state as a file: read, loaded into the published state, played, written from a live box. Floor 5.

pub mod derive;
mod file;
pub mod frames;
pub mod limits;
mod links;
mod load;
pub mod player;
mod routes;
mod rules;
pub mod snapshot;
pub mod sysctl;
mod value;

pub use file::{
    Address, GroupMember, Hop, Link, Neighbour, Nexthop, Route, RouteList, Rule, Scenario, ScenarioError,
};
pub use links::default_mac;
pub use load::Loaded;
pub use routes::resilient_buckets;
pub use rules::protocol;
pub use value::Value;
