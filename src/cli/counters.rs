//! Counters by name, without those that are zero: what `counters.toml`, `explain` and `--json` show.

use crate::drop::DropReason;
use crate::state::State;
use crate::stats::{Counts, Mib};
use serde::Serialize;
use std::collections::BTreeMap;

/// Values by name, sorted.
pub type Values = BTreeMap<String, u64>;

/// What moved: for the whole namespace and by interface under the names of `nstat`, and drops by reason.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Of the whole namespace.
    pub netns: Values,
    /// By interface, those that the kernel keeps so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dev: BTreeMap<String, Values>,
    /// Packets dropped, by warren's name of the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drops: Values,
}

fn moved(names: impl Iterator<Item = (&'static str, u64)>) -> Values {
    names.filter(|(_, value)| *value != 0).map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Counters {
    /// Names the counts of a box.
    pub fn new(counts: &Counts, state: &State) -> Counters {
        let on = |slot| moved(Mib::ALL.iter().map(|&m| (m.name(), counts.mib_on(slot, m))));
        let dev = state.ifaces.iter().map(|i| (i.name.clone(), on(i.slot)));
        Counters {
            netns: moved(Mib::ALL.iter().map(|&m| (m.name(), counts.mib(m)))),
            dev: dev.filter(|(_, values)| !values.is_empty()).collect(),
            drops: moved(DropReason::ALL.iter().map(|&r| (r.info().name, counts.drops(r as usize)))),
        }
    }
}
