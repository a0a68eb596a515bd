//! Values of a scenario file, read and checked where they stand: so an error has the line, and it repeats what is there.
//!
//! What passes here a kernel would take too. Each reader serves keys that must be there and keys that may. Called by the
//! derived code of `file`.

use super::limits;
use crate::wire::eth::{is_group, parse_mac};
use ipnet::IpNet;
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Bytes of an IP packet on an Ethernet link. Linux: ETH_MIN_MTU, ETH_MAX_MTU.
pub(super) const MTU: RangeInclusive<i64> = 68..=65535;
/// Longest name of a link: IFNAMSIZ with its final zero.
const NAME_MAX: usize = 15;

/// A number or a text: a sysctl's value, a protocol, ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A list, such as that of `net.ipv6.icmp.ratemask`, or a name.
    Text(String),
}

impl Value {
    fn new(value: toml::Value) -> Option<Value> {
        match value {
            toml::Value::Integer(number) => Some(Value::Number(number)),
            toml::Value::String(text) => Some(Value::Text(text)),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        let value = toml::Value::deserialize(from)?;
        let bad = || D::Error::custom(format!("{value} where a number or a text in quotes is wanted"));
        Value::new(value.clone()).ok_or_else(bad)
    }
}

/// Reads a text and makes something of it.
fn text<'de, D: Deserializer<'de>, V, T: From<V>>(
    from: D,
    read: impl Fn(String) -> Result<V, String>,
) -> Result<T, D::Error> {
    read(String::deserialize(from)?).map(T::from).map_err(D::Error::custom)
}

/// A link's name. Linux: dev_valid_name, dev_get_valid_name, sysctl_dev_name_is_allowed.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |name| {
        // The kernel's white space is that of Latin-1, byte by byte; with '%' it would choose a number.
        let strange = |b: u8| matches!(b, 0 | 9..=13 | b' ' | b'%' | b'/' | b':' | 0xa0);
        let taken = [".", "..", "all", "default"].contains(&name.as_str());
        if taken || name.is_empty() || name.len() > NAME_MAX || name.bytes().any(strange) {
            return Err(format!(
                "{name:?} cannot be a link's name: the kernel takes 1 to {NAME_MAX} bytes without white space, \
                 '/', ':' and '%', and neither \".\", \"..\", \"all\" nor \"default\""
            ));
        }
        Ok(name)
    })
}

/// A link's MTU.
pub(super) fn mtu<'de, D: Deserializer<'de>, T: From<u32>>(from: D) -> Result<T, D::Error> {
    let mtu = i64::deserialize(from)?;
    let fits = u32::try_from(mtu).ok().filter(|_| MTU.contains(&mtu));
    fits.map(T::from).ok_or_else(|| {
        let (least, most) = MTU.into_inner();
        D::Error::custom(format!(
            "{mtu} bytes cannot be a link's MTU: Ethernet takes {least} to {most}, IPv6 at least 1280"
        ))
    })
}

/// A link's own hardware address. Linux: is_valid_ether_addr.
pub(super) fn mac<'de, D: Deserializer<'de>, T: From<String>>(from: D) -> Result<T, D::Error> {
    text(from, |text| {
        let why = match parse_mac(&text).map_err(|e| e.to_string())? {
            mac if is_group(mac) => "that of a group, its first byte is odd",
            [0, 0, 0, 0, 0, 0] => "zero",
            _ => return Ok(text),
        };
        Err(format!("{text} cannot be a link's address: it is {why}; write one such as 02:00:00:00:00:01"))
    })
}

/// Any hardware address.
pub(super) fn lladdr<'de, D: Deserializer<'de>, T: From<String>>(from: D) -> Result<T, D::Error> {
    text(from, |text| parse_mac(&text).map(|_| text).map_err(|e| e.to_string()))
}

/// An address that stands alone.
pub(super) fn address<'de, D: Deserializer<'de>, T: From<IpAddr>>(from: D) -> Result<T, D::Error> {
    let bad = |text| format!("{text:?} is no IP address such as \"10.0.0.1\" or \"2001:db8::1\"");
    text(from, |text| text.parse::<IpAddr>().map_err(|_| bad(text)))
}

/// An address with the length of its subnet's prefix.
pub(super) fn subnet<'de, D: Deserializer<'de>, T: From<IpNet>>(from: D) -> Result<T, D::Error> {
    text(from, |text| {
        text.parse::<IpNet>().map_err(|_| match text.parse::<IpAddr>() {
            Ok(addr) => {
                let len = if addr.is_ipv4() { 24 } else { 64 };
                format!(
                    "{text:?} has no prefix length: write \"{text}/{len}\", with the length of its subnet"
                )
            }
            Err(_) => format!(
                "{text:?} is no address with a prefix length such as \"10.0.0.1/24\" or \"2001:db8::1/64\""
            ),
        })
    })
}

/// `[sysctl]`, whose names are known and whose values the kernel would take.
pub(super) fn sysctls<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    struct Table;

    impl<'de> Visitor<'de> for Table {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                let value = map.next_value_seed(Sysctl(&name))?;
                all.insert(name, value);
            }
            Ok(all)
        }
    }

    from.deserialize_map(Table)
}

/// The value of the sysctl of this name.
struct Sysctl<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Sysctl<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let Sysctl(name) = self;
        let value = toml::Value::deserialize(from)?;
        if let toml::Value::Table(inner) = &value {
            return Err(D::Error::custom(unquoted(name, inner)));
        }
        let bad = || D::Error::custom(format!("sysctl {name}: {value} where a number is wanted"));
        let value = Value::new(value.clone()).ok_or_else(bad)?;
        limits::check(name, &value).map_err(D::Error::custom)?;
        Ok(value)
    }
}

/// Without quotes the dots of a name make tables in tables. Says what was meant by the first of them.
fn unquoted(name: &str, inner: &toml::Table) -> String {
    let (mut name, mut inner) = (name.to_owned(), inner);
    while let Some((key, value)) = inner.iter().next() {
        name = format!("{name}.{key}");
        match value {
            toml::Value::Table(table) => inner = table,
            value => return format!("quote the name: {name:?} = {value}"),
        }
    }
    format!("sysctl {name}: a table where a number is wanted")
}

/// What serde says of a value of the wrong form, without the names of Rust's types.
pub(super) fn in_words(message: &str) -> String {
    if message == "u64 value was too large" {
        return format!("a number above {}, the largest that TOML knows", i64::MAX);
    }
    let form = ["invalid type: ", "invalid value: "].iter().find_map(|start| message.strip_prefix(start));
    let Some((found, wanted)) = form.and_then(|form| form.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let found = match found {
        "map" => "a table",
        "sequence" => "a list",
        other => other.trim_end_matches(" as i128").trim_end_matches(" as u128"),
    };
    let upto = |most: u32| format!("a number from 0 to {most}");
    let wanted = match wanted {
        "u8" => upto(u8::MAX.into()),
        "u16" => upto(u16::MAX.into()),
        "u32" => upto(u32::MAX),
        "i64" => "a number".to_owned(),
        "any valid TOML value" => "a number of at most 64 bits".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text in quotes".to_owned(),
        "a sequence" => return format!("{found} where a list is wanted: write [[...]] or [{{ ... }}]"),
        table if table == "a map" || table.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    };
    format!("{found} where {wanted} is wanted")
}
