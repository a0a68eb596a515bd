//! The control socket: one for each network namespace, for root only, a line of JSON each way, and perhaps a capture.
//!
//! Invariant: whoever holds the lock beside it is the one warren of the namespace; so what a dead one left is replaced. A
//! request is bounded in length and time, and one is answered at a time. Nothing listens on the network.

use super::capture;
use super::show::Topic;
use super::table::Table;
use crate::port::watch::Capture;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where sockets lie, by the number of their namespace.
const FOLDER: &str = "/run/warren/control";
/// Longest request, in bytes.
const REQUEST_MAX: u64 = 4096;
/// How long a client may take for its request, and the server for its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long looking whether a lock is held may take.
const SWEEP: Duration = Duration::from_millis(50);

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// A page of a table.
    Show {
        /// Which table.
        topic: Topic,
        /// Rows to leave out.
        #[serde(default)]
        from: usize,
    },
    /// What passes through an interface, as pcapng behind the answer until the client shuts down its side.
    Capture {
        /// Its name.
        interface: String,
    },
    /// Let the kernel forward again, and end. Answered when it does.
    Stop,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// A page.
    Table(Table),
    /// A capture follows.
    Capturing,
    /// The kernel forwards.
    Stopped,
    /// One line.
    Error(String),
}

/// What the server makes of a request.
#[derive(Debug)]
pub enum Reply {
    /// One line.
    Line(Answer),
    /// A line, then this capture of the interface with this name.
    Capture(Capture, String),
}

/// Why the socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is one already.
    #[error(
        "another warren routes in this network namespace; `warren show workers` asks it, `--replace` takes over from it"
    )]
    Taken,
    /// There is none.
    #[error("no warren runs in this network namespace; start one with `warren run`")]
    Nobody,
    /// It answered with an error, or not as agreed.
    #[error("the running warren answers: {0}")]
    Answer(String),
    /// A system call failed.
    #[error("control socket {path}: cannot {doing}: {source}{}", cure(source), path = .path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The reason.
        source: io::Error,
    },
}

fn cure(source: &io::Error) -> &'static str {
    if source.kind() == ErrorKind::PermissionDenied { " (run as root)" } else { "" }
}

/// The right to be the one warren of this thread's namespace. Removed with the value.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the place, at once or as soon as `patience` allows.
    pub fn take(patience: Duration) -> Result<Place, SocketError> {
        // One that sweeps holds any lock for a moment.
        let patience = patience.max(SWEEP);
        let path = path()?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(FOLDER);
        made.map_err(failed(&path, "make its folder"))?;
        sweep(Path::new(FOLDER), &path);
        let begin = Instant::now();
        loop {
            match lock(&path.with_extension("lock")) {
                Ok(Some(lock)) => return Ok(Place { path, _lock: lock }),
                Ok(None) if begin.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(SocketError::Taken),
                Err(error) => return Err(failed(&path, "lock it")(error)),
            }
        }
    }

    /// Answers requests by `answer` until the process ends.
    pub fn serve(&self, answer: impl Fn(Request) -> Reply + Send + 'static) -> Result<(), SocketError> {
        let path = &self.path;
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed(path, "remove an old one")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed(path, "make it"))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed(path, "keep others out"))?;
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away or sends nonsense is its own affair.
                let _ = one(stream, &answer);
            }
        };
        let spawned = std::thread::Builder::new().name("warren-socket".into()).spawn(serve);
        spawned.map(|_| ()).map_err(failed(path, "start its thread"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a socket and its lock, which the caller holds.
fn remove(socket: &Path) {
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(socket.with_extension("lock"));
}

/// Takes a lock file; `None` if somebody else has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Its last owner may have removed it between our opening and locking: then it locks nothing.
    let same =
        fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
    Ok(same.then_some(file))
}

/// Removes what warrens left that were killed, of namespaces that may be gone; all but `own`.
fn sweep(folder: &Path, own: &Path) {
    let sockets = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in sockets.map(|path| path.with_extension("sock")).filter(|path| path != own) {
        if let Ok(Some(_held)) = lock(&path.with_extension("lock")) {
            remove(&path);
        }
    }
}

/// Reads one request and answers it. A capture goes on on a thread of its own.
fn one(stream: UnixStream, answer: impl Fn(Request) -> Reply) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(REQUEST_MAX)).read_line(&mut line)?;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => answer(request),
        Err(error) => Reply::Line(Answer::Error(format!("not a request: {error}"))),
    };
    match reply {
        Reply::Line(answer) => send(&stream, &answer),
        Reply::Capture(capture, name) => {
            send(&stream, &Answer::Capturing)?;
            // A client that goes away ends its capture, and that is all.
            let serve = move || drop(capture::serve(&capture, &name, &stream));
            std::thread::Builder::new().name("warren-capture".into()).spawn(serve).map(drop)
        }
    }
}

fn send(mut stream: &UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Asks the warren of this thread's namespace.
pub fn ask(request: &Request) -> Result<Answer, SocketError> {
    open(request).map(|(answer, _)| answer)
}

/// Asks, and keeps the line open for what follows the answer.
pub fn open(request: &Request) -> Result<(Answer, BufReader<UnixStream>), SocketError> {
    let path = path()?;
    let stream = match UnixStream::connect(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Err(SocketError::Nobody);
        }
        result => result.map_err(failed(&path, "connect"))?,
    };
    stream.set_read_timeout(Some(2 * PATIENCE)).map_err(failed(&path, "set a timeout"))?;
    send(&stream, request).map_err(failed(&path, "send a request"))?;
    let (mut line, mut stream) = (String::new(), BufReader::new(stream));
    stream.read_line(&mut line).map_err(failed(&path, "read the answer"))?;
    match serde_json::from_str(&line) {
        Ok(Answer::Error(error)) => Err(SocketError::Answer(error)),
        Ok(answer) => Ok((answer, stream)),
        Err(error) => Err(SocketError::Answer(format!("{error} (is it of another version?)"))),
    }
}

/// The socket of the calling thread's namespace, by the namespace's inode number.
fn path() -> Result<PathBuf, SocketError> {
    let own = Path::new("/proc/thread-self/ns/net");
    let inode = fs::metadata(own).map_err(failed(own, "find the network namespace"))?.ino();
    Ok(Path::new(FOLDER).join(format!("{inode}.sock")))
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |source| SocketError::System { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(sent: &[u8]) -> String {
        let (server, mut client) = UnixStream::pair().unwrap();
        std::thread::scope(|s| {
            s.spawn(move || {
                let _ = one(server, |request| Reply::Line(Answer::Error(format!("{request:?}"))));
            });
            let _ = client.write_all(sent);
            let mut line = String::new();
            BufReader::new(&client).read_line(&mut line).unwrap();
            line
        })
    }

    #[test]
    fn what_the_dead_left_is_swept_and_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["1.sock", "1.lock", "2.lock", "3.sock", "4.sock", "4.lock"] {
            File::create(at(name)).unwrap();
        }
        let living = lock(&at("2.lock")).unwrap().unwrap();
        assert!(lock(&at("2.lock")).unwrap().is_none());
        sweep(folder.path(), &at("4.sock"));
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["2.lock", "4.lock", "4.sock"]);
        // A lock that was removed after somebody opened it is none.
        remove(&at("2.sock"));
        let next = lock(&at("2.lock")).unwrap();
        assert!(
            next.is_some() && living.metadata().unwrap().ino() != next.unwrap().metadata().unwrap().ino()
        );
    }

    #[test]
    fn requests_are_one_bounded_line() {
        let sent = serde_json::to_vec(&Request::Show { topic: Topic::Drops, from: 3 }).unwrap();
        assert_eq!(
            String::from_utf8(sent.clone()).unwrap(),
            r#"{"show":{"topic":"drops","from":3}}"#,
            "the protocol is stable"
        );
        assert!(exchange(&[&sent[..], b"\n"].concat()).contains("Show { topic: Drops, from: 3 }"));
        for nonsense in [&b"{}\n"[..], b"\n", b"{\"show\":{\"topic\":\"x\"}}\n", &[b'['; 9000]] {
            assert!(exchange(nonsense).contains("not a request"), "{nonsense:?}");
        }
    }
}
