//! `warren run --standalone --io tap -s S`: a router of its own, with no kernel behind it. Each link of the scenario becomes
//! a TAP device of this namespace, which can be moved into a container or given to a virtual machine.
//!
//! The scenario says all there is to know; only neighbours are learned. The devices vanish with the process.

use super::{forwarding, on_signals};
use crate::control::netlink::{LinkChange, Socket};
use crate::host::standalone::{Now, Port, Router};
use crate::port::wait::Waker;
use crate::port::{Rx, Tx, tap};
use crate::scenario::{Loaded, Scenario};
use crate::state::State;
use crate::telemetry::show::Source;
use crate::telemetry::socket::{Answer, Place, Reply, Request};
use anyhow::Context;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Routes between the links of the scenario at `path` until SIGINT or SIGTERM.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let scenario = Scenario::read(path)?;
    let Loaded { writer, shared } = scenario.load(path, 1, Now::read().mono)?;
    anyhow::ensure!(!scenario.link.is_empty(), "{}: no [[link]]: there is nothing to route", path.display());
    let names: Vec<&str> = scenario.link.iter().map(|link| link.name.as_str()).collect();
    // Two of them would share the devices, each with half of the flows.
    let place = Place::take(Duration::ZERO)?;
    let ports = open(&names, &shared.state.load())?;
    let seed = RandomState::new().hash_one(0);
    let mut router = Router::new(writer, Arc::clone(&shared), ports, seed, crate::cli::complain)?;
    let source = Source { shared, workers: vec![Arc::clone(router.stats())], control: None };
    let (stop, waker) = (Arc::new(AtomicBool::new(false)), Waker::new()?);
    let (stopping, wake) = (Arc::clone(&stop), waker.try_clone()?);
    on_signals(move || {
        stopping.store(true, Ordering::Relaxed);
        let _ = wake.wake();
    })?;
    place.serve(move |request| Reply::Line(answer(&source, &request)))?;
    forwarding(&names);
    Ok(router.run(&stop, waker)?)
}

fn answer(source: &Source, request: &Request) -> Answer {
    let done = match request {
        Request::Show { topic, from } => source.table(*topic, *from).map(Answer::Table),
        Request::Stop => Err("a standalone router ends at Ctrl-C".to_owned()),
        Request::Capture { .. } => {
            Err("a standalone router's devices are captured from by tcpdump".to_owned())
        }
    };
    done.unwrap_or_else(Answer::Error)
}

/// Makes a TAP device for each link, with the link's MTU. Its hardware address is for the other side to choose: the
/// link's own is the router's.
fn open(names: &[&str], state: &State) -> anyhow::Result<Vec<Port>> {
    let mut netlink = Socket::open()?;
    let one = |name: &&str| {
        let link = state.ifaces.by_name(name).with_context(|| format!("{name}: not in the state"))?;
        let (rx, tx) = tap::open(name, link.mac)?;
        netlink.set_link(rx.index(), &LinkChange { mtu: Some(link.mtu), ..LinkChange::default() })?;
        Ok(Port { index: link.index, rx: Rx::Tap(rx), tx: Tx::Tap(tx) })
    };
    names.iter().map(one).collect()
}
