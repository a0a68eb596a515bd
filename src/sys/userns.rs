//! A user namespace in which the caller is root: how a user without privilege gets network namespaces to play with.
//! Called by `conform`.
#![allow(unsafe_code)] // unshare(2), in one place.

use rustix::mount::{MountFlags, mount};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::io;

/// Sysctls by which a machine forbids this, each with the value that does and the one that allows it.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "10000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Why there is no such namespace.
#[derive(Debug, thiserror::Error)]
#[error("needs root, to build routers in network namespaces: use sudo{} ({doing}: {source})", cure())]
pub struct Error {
    doing: &'static str,
    source: io::Error,
}

/// What would let a user do it without root.
fn cure() -> String {
    let forbids = |(name, off, _): &&(&str, &str, &str)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|value| value.trim() == *off)
    };
    let allow =
        |(name, _, on): &(&str, &str, &str)| format!(", or allow user namespaces: sysctl -w {name}={on}");
    SWITCHES.iter().find(forbids).map_or_else(String::new, allow)
}

/// Makes the process root of a user namespace and a mount namespace of its own, with an empty `/run`. Its files stay
/// those of the user. Only for a process of one thread; it cannot be undone.
///
/// # Errors
/// What the machine refused, with the sysctl that forbids it. The process may be in the namespace already: end it.
pub fn enter() -> Result<(), Error> {
    let failed = |doing| move |source| Error { doing, source };
    // The names from outside, before they mean nobody.
    let (user, group) = (geteuid(), getegid());
    // SAFETY: no descriptor changes its meaning (that is what FILES would do), and no other thread shares the file
    // system's root and directory, which NEWNS parts.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }
        .map_err(|e| failed("make a user namespace")(e.into()))?;
    for (name, text) in [
        ("/proc/self/setgroups", "deny".to_owned()), // else gid_map is refused. user_namespaces(7)
        ("/proc/self/uid_map", format!("0 {} 1", user.as_raw())),
        ("/proc/self/gid_map", format!("0 {} 1", group.as_raw())),
    ] {
        fs::write(name, text).map_err(failed("become its root"))?;
    }
    // Named namespaces are files in /run, which belongs to the machine's root.
    mount("warren", "/run", "tmpfs", MountFlags::empty(), None)
        .map_err(|e| failed("mount its /run")(e.into()))
}
