//! Maps: the tables that a program in the kernel and this process share. Called by whoever loads a program.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{BpfError, bpf, bpf_fd, object_name};

const BPF_MAP_CREATE: u32 = 0;
const BPF_MAP_LOOKUP_ELEM: u32 = 1;
const BPF_MAP_UPDATE_ELEM: u32 = 2;
const BPF_MAP_DELETE_ELEM: u32 = 3;
const BPF_MAP_GET_NEXT_KEY: u32 = 4;
const BPF_F_NO_PREALLOC: u32 = 1;

/// The kinds of map in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_ARRAY`: all entries exist and begin as zero bytes.
    Array = 2,
    /// `BPF_MAP_TYPE_LPM_TRIE`: longest prefix match; a key is a prefix length (u32, host order) and the address bytes.
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_XSKMAP`: AF_XDP sockets by queue number.
    XskMap = 17,
}

/// A map. Values are read and written by system call only.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: String,
    key_bytes: usize,
    value_bytes: usize,
}

impl Map {
    /// Creates an empty map. `name` has at most 15 letters, digits or underscores.
    pub fn create(
        kind: MapKind,
        name: &str,
        key_bytes: u32,
        value_bytes: u32,
        entries_max: u32,
    ) -> Result<Self, BpfError> {
        #[repr(C)]
        #[derive(Default)]
        struct Attr {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            map_flags: u32,
            inner_map_fd: u32,
            numa_node: u32,
            map_name: [u8; 16],
        }
        let mut attr = Attr {
            map_type: kind as u32,
            key_size: key_bytes,
            value_size: value_bytes,
            max_entries: entries_max,
            map_flags: if kind == MapKind::LpmTrie { BPF_F_NO_PREALLOC } else { 0 },
            map_name: object_name(name),
            ..Attr::default()
        };
        // SAFETY: the attributes hold no pointer.
        let fd = unsafe { bpf_fd(BPF_MAP_CREATE, &mut attr) }
            .map_err(|e| BpfError::new(format!("create the map {name}"), e))?;
        Ok(Self {
            fd,
            name: name.to_owned(),
            key_bytes: key_bytes as usize,
            value_bytes: value_bytes as usize,
        })
    }

    /// Writes one entry, new or not.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), BpfError> {
        let attr = Element { key: self.key(key)?, value: self.value(value)?, ..self.element() };
        // SAFETY: the kernel reads key_bytes and value_bytes, and both slices have just been checked to be that long.
        unsafe { self.call(BPF_MAP_UPDATE_ELEM, attr, "write to") }
    }

    /// Removes one entry. An entry that is not there is the error ENOENT.
    pub fn delete(&self, key: &[u8]) -> Result<(), BpfError> {
        let attr = Element { key: self.key(key)?, ..self.element() };
        // SAFETY: the kernel reads key_bytes, and the slice has just been checked to be that long.
        unsafe { self.call(BPF_MAP_DELETE_ELEM, attr, "delete from") }
    }

    /// The value that `key` finds (in a trie: that of the longest prefix which holds it), if any.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BpfError> {
        let mut value = vec![0; self.value_bytes];
        let attr = Element { key: self.key(key)?, value: value.as_mut_ptr() as u64, ..self.element() };
        // SAFETY: the kernel reads key_bytes (checked) and writes value_bytes, which is the length of `value`.
        let found = unsafe { self.call(BPF_MAP_LOOKUP_ELEM, attr, "read") };
        Ok(absent_is_none(found)?.map(|()| value))
    }

    /// The key behind `key` in the map's own order; with `None` the first one.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, BpfError> {
        let mut next = vec![0; self.key_bytes];
        let key = key.map_or(Ok(0), |key| self.key(key))?;
        let attr = Element { key, value: next.as_mut_ptr() as u64, ..self.element() };
        // SAFETY: the kernel reads key_bytes (checked, or a null pointer) and writes key_bytes, the length of `next`.
        let found = unsafe { self.call(BPF_MAP_GET_NEXT_KEY, attr, "list") };
        Ok(absent_is_none(found)?.map(|()| next))
    }

    fn element(&self) -> Element {
        Element { map_fd: self.fd.as_raw_fd() as u32, ..Element::default() }
    }

    fn key(&self, key: &[u8]) -> Result<u64, BpfError> {
        self.sized(key, self.key_bytes, "key")
    }

    fn value(&self, value: &[u8]) -> Result<u64, BpfError> {
        self.sized(value, self.value_bytes, "value")
    }

    fn sized(&self, bytes: &[u8], want: usize, what: &str) -> Result<u64, BpfError> {
        if bytes.len() == want {
            return Ok(bytes.as_ptr() as u64);
        }
        let action =
            format!("use a {what} of {} bytes in the map {} (it has {want})", bytes.len(), self.name);
        Err(BpfError::new(action, io::ErrorKind::InvalidInput.into()))
    }

    /// # Safety
    /// `attr.key` and `attr.value` must point to as many bytes as the command reads or writes.
    unsafe fn call(&self, command: u32, mut attr: Element, verb: &str) -> Result<(), BpfError> {
        // SAFETY: the caller's promise.
        unsafe { bpf(command, &mut attr) }
            .map(drop)
            .map_err(|e| BpfError::new(format!("{verb} the map {}", self.name), e))
    }
}

impl AsRawFd for Map {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn absent_is_none(found: Result<(), BpfError>) -> Result<Option<()>, BpfError> {
    match found {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trie_finds_the_longest_prefix() {
        let map = Map::create(MapKind::LpmTrie, "t_trie", 8, 1, 8).unwrap();
        let key = |bits: u32, address: [u8; 4]| [bits.to_ne_bytes(), address].concat();
        map.update(&key(8, [10, 0, 0, 0]), &[1]).unwrap();
        map.update(&key(16, [10, 1, 0, 0]), &[2]).unwrap();
        assert_eq!(map.lookup(&key(32, [10, 1, 2, 3])).unwrap(), Some(vec![2]));
        assert_eq!(map.lookup(&key(32, [10, 2, 2, 3])).unwrap(), Some(vec![1]));
        assert_eq!(map.lookup(&key(32, [11, 0, 0, 1])).unwrap(), None);

        let mut seen = Vec::new();
        let mut at = map.next_key(None).unwrap();
        while let Some(found) = at {
            at = map.next_key(Some(&found)).unwrap();
            seen.push(found);
        }
        seen.sort();
        assert_eq!(seen, [key(8, [10, 0, 0, 0]), key(16, [10, 1, 0, 0])]);

        map.delete(&key(16, [10, 1, 0, 0])).unwrap();
        assert_eq!(map.lookup(&key(32, [10, 1, 2, 3])).unwrap(), Some(vec![1]));
        assert_eq!(map.delete(&key(16, [10, 1, 0, 0])).unwrap_err().errno(), Some(libc::ENOENT));
    }

    #[test]
    fn a_key_or_value_of_the_wrong_size_is_refused() {
        let map = Map::create(MapKind::Array, "t_array", 4, 8, 1).unwrap();
        map.update(&[0; 4], &[1; 8]).unwrap();
        assert!(map.update(&[0; 4], &[1; 7]).is_err());
        assert!(map.update(&[0; 3], &[1; 8]).is_err());
        assert!(map.lookup(&[]).is_err());
        assert!(map.next_key(Some(&[0; 5])).is_err());
        assert_eq!(map.lookup(&[0; 4]).unwrap(), Some(vec![1; 8]));
    }
}
