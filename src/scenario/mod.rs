//! A box's state as a file: read, loaded into the published state, written from a live box. Floor 5.

mod file;

pub use file::{
    Address, GroupMember, Hop, Link, Neighbour, Nexthop, Route, RouteList, Rule, Scenario, ScenarioError,
    Value,
};
