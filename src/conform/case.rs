//! A recorded case: a folder of `pcaps/` with a scenario, frames that go in, frames that came out of a kernel, and the
//! counters that moved there. Invariant: what is written reads back equal.

use super::{ConformError, Counters, Result, system};
use crate::port::capture::{Direction, Packet, Reader, Writer};
use crate::scenario::Scenario;
use std::fs;
use std::path::{Path, PathBuf};

/// A frame with the link that it enters or leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The link's name.
    pub link: String,
    /// Nanoseconds since 1970. Of a frame that left: when the frame before it entered.
    pub time: u64,
    /// From the link-layer header on.
    pub bytes: Vec<u8>,
}

/// What a router made of the frames that it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What it sent, in order.
    pub frames: Vec<Frame>,
    /// What it counted.
    pub counters: Counters,
}

/// The inputs of a case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its folder.
    pub folder: PathBuf,
    /// The router.
    pub scenario: Scenario,
    /// What enters it, in order of time.
    pub frames: Vec<Frame>,
}

impl Case {
    /// Reads the inputs in `folder`.
    ///
    /// # Errors
    /// Names the file.
    pub fn read(folder: &Path) -> Result<Case> {
        let scenario = Scenario::read(&folder.join("scenario.toml"))?;
        let frames = read_frames(&folder.join("in.pcapng"))?;
        Ok(Case { folder: folder.to_owned(), scenario, frames })
    }

    /// Writes the inputs into the folder, which is made.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&self) -> Result<()> {
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder).map_err(system(format!("make {folder}")))?;
        let path = self.folder.join("scenario.toml");
        let text = toml::to_string(&self.scenario);
        let text = text.map_err(|e| ConformError::Meaning(format!("{}: {e}", path.display())))?;
        fs::write(&path, text).map_err(system(format!("write {}", path.display())))?;
        let links = self.scenario.link.iter().map(|l| l.name.as_str());
        write_frames(&self.folder.join("in.pcapng"), links, &self.frames, None)
    }

    /// The folder's name.
    pub fn name(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// All case folders of `folder`, by name.
    ///
    /// # Errors
    /// Names the folder.
    pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
        let doing = || format!("list {}", folder.display());
        let entries = fs::read_dir(folder).map_err(|e| system(doing())(e))?;
        let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        found.retain(|path| path.join("scenario.toml").exists());
        found.sort();
        Ok(found)
    }
}

impl Outcome {
    /// Reads what was recorded in `folder`.
    ///
    /// # Errors
    /// Names the file.
    pub fn read(folder: &Path) -> Result<Outcome> {
        let frames = read_frames(&folder.join("out.pcapng"))?;
        let path = folder.join("counters.toml");
        let text = fs::read_to_string(&path).map_err(system(format!("read {}", path.display())))?;
        let counters =
            toml::from_str(&text).map_err(|e| ConformError::Meaning(format!("{}: {e}", path.display())))?;
        Ok(Outcome { frames, counters })
    }

    /// Writes `out.pcapng` and `counters.toml` into `folder`; `links` are the names of all links, in order.
    ///
    /// # Errors
    /// Names the file.
    pub fn write<'n>(&self, folder: &Path, links: impl Iterator<Item = &'n str>) -> Result<()> {
        write_frames(&folder.join("out.pcapng"), links, &self.frames, Some(Direction::Out))?;
        let path = folder.join("counters.toml");
        let text = toml::to_string(&self.counters).map_err(|e| ConformError::Meaning(e.to_string()))?;
        fs::write(&path, text).map_err(system(format!("write {}", path.display())))
    }
}

/// Writes frames to a capture; `links` are the names of all links, in order.
///
/// # Errors
/// Names the file.
pub fn write_frames<'n>(
    path: &Path,
    links: impl Iterator<Item = &'n str>,
    frames: &[Frame],
    direction: Option<Direction>,
) -> Result<()> {
    let mut writer = Writer::create(path)?;
    let names: Vec<&str> = links.collect();
    for name in &names {
        writer.add_interface(name)?;
    }
    for frame in frames {
        writer.write(&Packet {
            interface: names.iter().position(|name| *name == frame.link).unwrap_or(usize::MAX),
            time: frame.time,
            wire_len: frame.bytes.len() as u32,
            bytes: &frame.bytes,
            direction,
            comment: "",
        })?;
    }
    writer.finish()?;
    Ok(())
}

/// The frames of a capture, each with its interface's name.
///
/// # Errors
/// Names the file, and an interface that has no name.
pub fn read_frames(path: &Path) -> Result<Vec<Frame>> {
    let mut reader = Reader::open(path)?;
    let mut found = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        found.push((packet.interface, packet.time, packet.bytes.to_vec()));
    }
    let names = reader.interfaces();
    let frame = |(interface, time, bytes): (usize, u64, Vec<u8>)| {
        let link = names.get(interface).and_then(|i| i.name.clone());
        let unnamed = || format!("{}: interface {interface} has no name", path.display());
        Ok(Frame { link: link.ok_or_else(|| ConformError::Meaning(unnamed()))?, time, bytes })
    };
    found.into_iter().map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn inputs_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let text = "link = [{ name = \"p0\" }]\n";
        let scenario = Scenario::parse(text, Path::new("s")).unwrap();
        let frames = vec![Frame { link: "p0".into(), time: 5, bytes: vec![7; 60] }];
        let case = Case { folder: folder.path().join("one"), scenario, frames };
        case.write().unwrap();
        let read = Case::read(&case.folder).unwrap();
        assert_eq!((&read.scenario, &read.frames), (&case.scenario, &case.frames));
    }

    #[test]
    fn an_outcome_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let frame = |link: &str, time| Frame { link: link.into(), time, bytes: vec![7; 60] };
        let dev = BTreeMap::from([("p1".to_owned(), BTreeMap::from([("Ip6InReceives".to_owned(), 2)]))]);
        let netns = BTreeMap::from([("IpForwDatagrams".to_owned(), 1)]);
        let outcome =
            Outcome { frames: vec![frame("p1", 5), frame("p0", 6)], counters: Counters { netns, dev } };
        outcome.write(folder.path(), ["p0", "p1"].into_iter()).unwrap();
        assert_eq!(Outcome::read(folder.path()).unwrap(), outcome);
        let none = Outcome::default();
        none.write(folder.path(), ["p0"].into_iter()).unwrap();
        assert_eq!(Outcome::read(folder.path()).unwrap(), none);
        assert!(Outcome::read(Path::new("/nonexistent")).unwrap_err().to_string().contains("/nonexistent"));
    }
}
