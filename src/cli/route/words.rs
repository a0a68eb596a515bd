//! The words of `route get`: `DST [from SRC] [iif IF] [oif IF] [tos T] [ipproto P] [sport X] [dport Y]`.

use crate::cli::Usage;
use crate::scenario::{Value, protocol};
use std::net::IpAddr;
use std::str::FromStr;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Destination.
    pub dst: IpAddr,
    /// Source; unspecified if not given.
    pub src: Option<IpAddr>,
    /// The link by which it comes in; none: this box sends it.
    pub iif: Option<String>,
    /// The link that it is bound to.
    pub oif: Option<String>,
    /// DSCP byte.
    pub tos: u8,
    /// IP protocol.
    pub ipproto: u8,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

fn parse<T: FromStr>(key: &str, word: &str) -> Result<T, Usage> {
    word.parse().map_err(|_| Usage(format!("route get: {word:?} cannot be {key}")))
}

impl Question {
    /// Reads the words in the order of iproute2: the destination, then pairs.
    pub fn read(words: &[String]) -> Result<Question, Usage> {
        let Some((dst, pairs)) = words.split_first() else {
            return Err(Usage("route get: for which destination?".into()));
        };
        let dst = parse("an address", dst)?;
        let mut q = Question { dst, src: None, iif: None, oif: None, tos: 0, ipproto: 0, sport: 0, dport: 0 };
        for pair in pairs.chunks(2) {
            let [key, word] = pair else {
                return Err(Usage(format!("route get: {:?} wants a value", pair.concat())));
            };
            match key.as_str() {
                "from" => q.src = Some(parse("an address", word)?),
                "iif" => q.iif = Some(word.clone()),
                "oif" => q.oif = Some(word.clone()),
                "tos" => q.tos = parse("a number from 0 to 255", word)?,
                "sport" => q.sport = parse("a port", word)?,
                "dport" => q.dport = parse("a port", word)?,
                "ipproto" => {
                    let known = protocol(&Value::Text(word.clone()));
                    q.ipproto = known.map_err(|why| Usage(format!("route get: {why}")))?;
                }
                other => {
                    let keys = "from, iif, oif, tos, ipproto, sport, dport";
                    return Err(Usage(format!("route get: unknown word {other:?}; there are {keys}")));
                }
            }
        }
        match q.src {
            Some(src) if src.is_ipv4() != dst.is_ipv4() => {
                Err(Usage(format!("route get: {src} and {dst} are of different families")))
            }
            _ => Ok(q),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Question, String> {
        let words: Vec<String> = text.split_whitespace().map(String::from).collect();
        Question::read(&words).map_err(|e| e.to_string())
    }

    #[test]
    fn words_in_any_order() {
        let q = read("10.0.0.1 iif p0 from 10.9.9.9 dport 80 ipproto tcp").unwrap();
        assert_eq!(
            (q.dst.to_string(), q.iif.as_deref(), q.ipproto, q.dport),
            ("10.0.0.1".into(), Some("p0"), 6, 80)
        );
    }

    #[test]
    fn what_cannot_be_understood() {
        for (text, part) in [
            ("", "which destination"),
            ("nowhere", "\"nowhere\" cannot be an address"),
            ("10.0.0.1 from", "wants a value"),
            ("10.0.0.1 from ::1", "different families"),
            ("10.0.0.1 via 10.0.0.2", "unknown word \"via\""),
            ("10.0.0.1 sport 70000", "cannot be a port"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
