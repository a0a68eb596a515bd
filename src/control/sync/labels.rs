//! What rides in IP options and is the kernel's alone: traces of IOAM namespaces, security labels of known domains.
//!
//! warren passes traces on unchanged and refuses all labels, as a kernel does that knows none. One that knows some writes
//! into the traces, and takes the labels: there the family stays with it. Nothing of it is announced. RFC 9486, RFC 5570.

use super::{Mirror, SyncError};
use crate::control::netlink::{Error, Family, generic};

impl Mirror {
    /// Looks whether the kernel does more with options than warren. To be called now and then.
    pub(super) fn check_labels(&mut self) -> Result<(), SyncError> {
        let traces = self.writer.draft().ifaces.iter().any(|iface| iface.conf6.ioam6_enabled != 0);
        let v4 = has(generic::CIPSO_DOMAINS)?.then(|| domains("CIPSO"));
        let v6 = if traces && has(generic::IOAM_NAMESPACES)? {
            Some(TRACES.to_owned())
        } else {
            has(generic::CALIPSO_DOMAINS)?.then(|| domains("CALIPSO"))
        };
        for (family, reason) in [(Family::V4, v4), (Family::V6, v6)] {
            if let Some(place) = self.reasons.labels.get_mut(family as usize) {
                *place = reason;
            }
        }
        Ok(())
    }
}

const TRACES: &str = "the kernel has IOAM namespaces, into whose traces warren does not write; remove them: ip ioam namespace show";

fn domains(protocol: &str) -> String {
    format!(
        "the kernel has {protocol} domains, whose labels warren would refuse; remove them with netlabelctl"
    )
}

/// A kernel that cannot say has none.
fn has(objects: generic::Objects) -> Result<bool, SyncError> {
    match generic::any(objects) {
        Err(Error::System { source, .. }) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            Ok(false)
        }
        Err(Error::Refused { .. } | Error::Malformed { .. } | Error::Interrupted { .. }) => Ok(false),
        done => Ok(done?),
    }
}
