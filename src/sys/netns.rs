//! Network namespaces for the demo, the kernel differential and the tests.
//!
//! A [`Namespace`] made here is bind-mounted at `/run/netns/NAME`, so `ip netns exec NAME` works on it, and goes away
//! with the value. Invariant: the calling thread never leaves its own namespace; what must run inside runs on a fresh
//! thread. One that a dead process left behind is known by its unlocked owner file and is replaced.
#![allow(unsafe_code)] // unshare(2), in one place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rustix::fs::FlockOperation;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Where iproute2 keeps named namespaces.
const NAMED: &str = "/run/netns";
/// Owner files: locked as long as the owner lives. Not in `/run/netns`, where `ip netns list` would show them.
const OWNERS: &str = "/run/warren/netns";
/// The namespace of the calling thread (`/proc/self` would be that of the main thread).
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a namespace could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name would not be a plain file name.
    #[error("namespace name {0:?} is not a plain file name of 1 to 200 bytes")]
    Name(String),
    /// Somebody else's namespace has the name.
    #[error("namespace {0} exists and is not ours; remove it with: ip netns del {0}")]
    Taken(String),
    /// A running process of ours has the name.
    #[error("namespace {0} belongs to a running process; wait for it to end or use another name")]
    InUse(String),
    /// A sysctl name that would leave `/proc/sys`.
    #[error("{0:?} is not a sysctl name; write it like net.ipv4.ip_forward or net/ipv4/ip_forward")]
    Sysctl(String),
    /// What ran inside panicked.
    #[error("the function that ran inside namespace {0} panicked")]
    Panicked(String),
    /// A system call failed.
    #[error("namespace {name}: cannot {doing}: {source}{}", cure(source))]
    System {
        /// The namespace's name.
        name: String,
        /// What was tried.
        doing: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// A network namespace, held open. Removed on drop if this process made it; processes still in it keep it alive unnamed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    net: File,
    /// Locked while we live; `None` for a namespace that we only hold open.
    owner: Option<File>,
}

impl Namespace {
    /// Makes a fresh namespace called `name`, with only a loopback link, which is down.
    ///
    /// # Errors
    /// [`Error::Taken`] or [`Error::InUse`] if the name is in use; one that a dead owner left is replaced.
    pub fn create(name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || name.contains('/') {
            return Err(Error::Name(name.to_owned()));
        }
        let owner = own(name)?;
        // From here on dropping the value undoes what was done, also when a later step fails.
        let net = File::open(OWN).map_err(|e| failed(name, "open our own namespace", e))?;
        let mut made = Self { name: name.to_owned(), net, owner: Some(owner) };
        share_directory().map_err(|e| failed(name, "prepare /run/netns", e))?;
        let path = made.path();
        File::create(&path).map_err(|e| failed(name, "create its file in /run/netns", e))?;
        made.net = on_thread(name, || unshare_and_mount(&path))?
            .map_err(|e| failed(name, "make and mount it", e))?;
        Ok(made)
    }

    /// The calling thread's namespace, held open; dropping the value removes nothing.
    ///
    /// # Errors
    /// [`Error::System`] if `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        let net = File::open(OWN).map_err(|e| failed("current", "open", e))?;
        Ok(Self { name: "current".to_owned(), net, owner: None })
    }

    /// The name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `run` on a fresh thread inside and returns its value. Sockets opened there stay in the namespace for good.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses, [`Error::Panicked`] if `run` panics.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(&self.name, || {
            move_into_link_name_space(self.net.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(run())
        })?
        .map_err(|e| failed(&self.name, "enter", e))
    }

    /// Starts `command` inside. (A child inherits the namespace of the thread that starts it; `/sys` stays the outer one.)
    ///
    /// # Errors
    /// [`Error::System`] naming the program if it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.enter(|| command.spawn())?.map_err(|e| failed(&self.name, &format!("run {program}"), e))
    }

    /// Runs `command` inside to its end and returns what it printed.
    ///
    /// # Errors
    /// [`Error::System`] naming the program if it cannot be started; its exit status is in the value.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.enter(|| command.output())?.map_err(|e| failed(&self.name, &format!("run {program}"), e))
    }

    /// Reads a sysctl inside, without the newline at its end. `sysctl` is written with dots or with slashes; an interface name that
    /// holds a dot needs slashes.
    ///
    /// # Errors
    /// [`Error::System`] naming the sysctl.
    pub fn sysctl_read(&self, sysctl: &str) -> Result<String> {
        let path = sysctl_path(sysctl)?;
        let value = self
            .enter(|| fs::read_to_string(path))?
            .map_err(|e| failed(&self.name, &format!("read sysctl {sysctl}"), e))?;
        Ok(value.trim_end().to_owned())
    }

    /// Writes a sysctl inside; the names are as for [`Namespace::sysctl_read`].
    ///
    /// # Errors
    /// [`Error::System`] naming the sysctl and the value.
    pub fn sysctl_write(&self, sysctl: &str, value: &str) -> Result<()> {
        let path = sysctl_path(sysctl)?;
        // Not fs::write: it would ask to create the file, which /proc refuses with a misleading error.
        self.enter(|| {
            io::Write::write_all(&mut OpenOptions::new().write(true).open(path)?, value.as_bytes())
        })?
        .map_err(|e| failed(&self.name, &format!("write {value} to sysctl {sysctl}"), e))
    }

    fn path(&self) -> PathBuf {
        Path::new(NAMED).join(&self.name)
    }
}

impl AsFd for Namespace {
    /// The descriptor that netlink takes to move links here.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.owner.is_some() {
            remove(&self.name);
            // Last, while it is still locked: nobody can take the name before its mount is gone.
            let _ = fs::remove_file(Path::new(OWNERS).join(&self.name));
        }
    }
}

/// Takes the owner file of `name` and clears away what a dead owner left.
fn own(name: &str) -> Result<File> {
    let path = Path::new(OWNERS).join(name);
    loop {
        let ours = path.exists();
        if !ours && Path::new(NAMED).join(name).exists() {
            return Err(Error::Taken(name.to_owned()));
        }
        fs::create_dir_all(OWNERS).map_err(|e| failed(name, "create /run/warren/netns", e))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| failed(name, "create its owner file", e))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::InUse(name.to_owned())),
            Err(e) => return Err(failed(name, "lock its owner file", e.into())),
        }
        // The last owner may have removed the file between our open and our lock.
        let links = file.metadata().map_err(|e| failed(name, "look at its owner file", e))?.nlink();
        if links > 0 {
            remove(name);
            return Ok(file);
        }
    }
}

/// Removes all namespaces whose names begin so and whose owners are dead: killed, so that they could not clear up.
pub fn sweep(prefix: &str) {
    for entry in fs::read_dir(OWNERS).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // One that is not there yet is just being made, and not locked so far.
        let is_there = name.starts_with(prefix) && Path::new(NAMED).join(&name).exists();
        if let (true, Ok(_locked)) = (is_there, own(&name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Unmounts and removes `/run/netns/NAME`; what is not there is no error.
fn remove(name: &str) {
    let path = Path::new(NAMED).join(name);
    let _ = unmount(&path, UnmountFlags::DETACH);
    let _ = fs::remove_file(&path);
}

/// Makes `/run/netns` a shared mount, as iproute2 does, so that unmounting a namespace reaches every mount namespace.
fn share_directory() -> io::Result<()> {
    fs::create_dir_all(NAMED)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(NAMED, shared) {
        Err(rustix::io::Errno::INVAL) => {
            mount_bind_recursive(NAMED, NAMED)?;
            Ok(mount_change(NAMED, shared)?)
        }
        done => Ok(done?),
    }
}

/// Gives the calling thread a network namespace of its own, mounts that at `path` and opens it.
fn unshare_and_mount(path: &Path) -> io::Result<File> {
    // SAFETY: only NEWNET is unshared. No descriptor changes its meaning (that is what FILES would do), and this thread
    // ends right after, so nobody else sees its namespace.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    mount_bind(OWN, path)?;
    File::open(path)
}

/// Runs `run` on a thread that ends with it, so that changing the thread's namespace touches nobody.
fn on_thread<T: Send>(name: &str, run: impl FnOnce() -> io::Result<T> + Send) -> Result<io::Result<T>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("netns {name}"))
            .spawn_scoped(scope, run)
            .map_err(|e| failed(name, "start a thread", e))?;
        thread.join().map_err(|_| Error::Panicked(name.to_owned()))
    })
}

/// `net.ipv4.ip_forward` or `net/ipv4/ip_forward` as a path. As in sysctl(8), the first separator decides; with dots, a
/// slash stands for a dot.
fn sysctl_path(sysctl: &str) -> Result<PathBuf> {
    let dotted =
        sysctl.find(['.', '/']).is_some_and(|at| sysctl.get(at..).is_some_and(|s| s.starts_with('.')));
    let swap = |c: char| match c {
        '.' if dotted => '/',
        '/' if dotted => '.',
        other => other,
    };
    let path: String = sysctl.chars().map(swap).collect();
    if path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(Error::Sysctl(sysctl.to_owned()));
    }
    Ok(Path::new("/proc/sys").join(path))
}

fn failed(name: &str, doing: &str, source: io::Error) -> Error {
    Error::System { name: name.to_owned(), doing: doing.to_owned(), source }
}

fn cure(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied if rustix::process::geteuid().is_root() => {
            "; root needs CAP_SYS_ADMIN and CAP_NET_ADMIN for it, which a container has with --privileged"
        }
        ErrorKind::PermissionDenied => "; run it as root",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
