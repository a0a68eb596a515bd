//! The answer: each rule that was asked, each table, each prefix that matched, the choice among next hops.
//!
//! The answer itself is the forwarding path's own lookup; what is shown beside it is read from the same tables.

use super::words::Question;
use crate::cli::offline::Router;
use crate::cli::{print, print_json};
use crate::forward::ctx::Env;
use crate::forward::l3::multipath;
use crate::forward::{ip4, ip6};
use crate::iface::LinkKind;
use crate::scenario::Scenario;
use crate::state::State;
use crate::wire::ip4::Ip4Hdr;
use crate::wire::ip6::Ip6Hdr;
use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use warren_fib::{Group, Ip, Member, Path, Rule, RuleAction, RuleKey, TABLE_LOCAL, TABLE_MAIN};
use zerocopy::IntoBytes;

const EXAMPLES: &str = "\
Examples:
  warren route get 10.9.0.1 -s box.toml
  warren route get 2001:db8:9::1 from 2001:db8:1::5 iif p0 ipproto 17 sport 1000 dport 53 -s box.toml";

/// Where a packet would go, and why
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// DST [from SRC] [iif IF] [oif IF] [tos T] [ipproto P] [sport X] [dport Y]
    #[arg(value_name = "WORDS", required = true)]
    words: Vec<String>,
    /// The box, as a scenario file
    #[arg(short, long, value_name = "FILE")]
    scenario: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A prefix that matched in a table that was asked.
struct Found {
    prefix: String,
    paths: Vec<String>,
}

/// A rule that was asked.
struct Asked {
    rule: String,
    action: String,
    table: Option<u32>,
    found: Vec<Found>,
}

/// The answer.
struct Answer {
    /// Type of the route, or why there is none.
    kind: String,
    prefix_len: u8,
    table: u32,
    metric: u32,
    member: Option<Member>,
    prefsrc: Option<IpAddr>,
    mtu: u32,
    /// Hash, policy, number of the chosen member from 1, members.
    hash: Option<(u32, i64, usize, usize)>,
}

/// Looks up and prints.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let question = Question::read(&args.words)?;
    let scenario = Scenario::read(&args.scenario)?;
    let router = Router::load(&args.scenario, &scenario, 1, 0)?;
    let state = router.shared.state.load_full();
    let mut reader = router.shared.fib.reader()?;
    let view = reader.pin();
    let now = crate::scenario::player::clock(0);
    let env = Env { view: &view, state: &state, now, wall: 0 };
    let index = |name: &Option<String>| -> anyhow::Result<u32> {
        let Some(name) = name else { return Ok(0) };
        let link = state.ifaces.by_name(name).map(|i| i.index);
        link.with_context(|| format!("{}: no link named {name:?}", args.scenario.display()))
    };
    let (iif, oif) = (index(&question.iif)?, index(&question.oif)?);
    let (mut asked, answer) = match (question.dst, question.src) {
        (IpAddr::V4(dst), src) => {
            let src = src.and_then(v4).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let key = key(&question, src, dst, iif, oif, &state);
            (trace(env, state.rules4.iter(), &key), answer4(env, &key, &question))
        }
        (IpAddr::V6(dst), src) => {
            let src = src.and_then(v6).unwrap_or(Ipv6Addr::UNSPECIFIED);
            let key = key(&question, src, dst, iif, oif, &state);
            (trace(env, state.rules6.iter(), &key), answer6(env, &key, &question))
        }
    };
    // The rules behind the one that decided were not asked.
    let decided = |a: &Asked| match a.table {
        Some(id) => id == answer.table && !a.found.is_empty(),
        None => !a.action.starts_with("goto") && a.action != "nop",
    };
    if let Some(last) = asked.iter().position(decided) {
        asked.truncate(last + 1);
    }
    let name = |index: u32| state.ifaces.get(index).map_or("?", |i| &i.name).to_owned();
    if args.json {
        return print_json(&object(&question, &asked, &answer, &name));
    }
    print(&text(&question, &asked, &answer, &name)?)?;
    match answer.kind.as_str() {
        "unicast" | "local" | "broadcast" | "anycast" | "multicast" => Ok(()),
        other => Err(anyhow!("{}: {other}", question.dst)),
    }
}

fn v4(addr: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(a) = addr { Some(a) } else { None }
}

fn v6(addr: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(a) = addr { Some(a) } else { None }
}

fn key<A: Ip>(q: &Question, src: A, dst: A, iif: u32, oif: u32, state: &State) -> RuleKey<A> {
    let lo = state.ifaces.iter().find(|i| i.kind == LinkKind::Loopback).map_or(1, |i| i.index);
    RuleKey {
        src,
        dst,
        iif: if iif == 0 { lo } else { iif },
        oif,
        tos: q.tos & 0xfc,
        mark: 0,
        ipproto: q.ipproto,
        sport: q.sport,
        dport: q.dport,
    }
}

/// The rules that match, with what their tables hold for the destination.
fn trace<'r, A: Ip>(env: Env<'_>, rules: impl Iterator<Item = &'r Rule<A>>, key: &RuleKey<A>) -> Vec<Asked> {
    let mut all = Vec::new();
    for rule in rules.filter(|rule| rule.matches(key)) {
        let found = match rule.action {
            RuleAction::Table(id) => held(env, id, key.dst),
            _ => Vec::new(),
        };
        let table = if let RuleAction::Table(id) = rule.action { Some(id) } else { None };
        let action = match rule.action {
            RuleAction::Table(id) => format!("lookup {}", self::table(id)),
            RuleAction::Goto(pref) => format!("goto {pref}"),
            other => format!("{other:?}").to_lowercase(),
        };
        let from = if rule.from.is_default() { "all".to_owned() } else { rule.from.to_string() };
        all.push(Asked { rule: format!("{}: from {from}", rule.pref), action, table, found });
    }
    all
}

/// Every prefix of a table that holds the destination, the longest first. Tables that answer as one are told apart.
fn held<A: Ip>(env: Env<'_>, id: u32, dst: A) -> Vec<Found> {
    let Some(table) = env.view.table::<A>(id) else { return Vec::new() };
    let merged = [TABLE_LOCAL, TABLE_MAIN].contains(&id);
    let own = |path: &&Path<A>| !merged || path.table == id;
    let found = table.lookup(dst).map(|(len, set)| {
        let prefix = warren_fib::Prefix::new(dst, len).map_or_else(|e| e.to_string(), |p| p.to_string());
        Found { prefix, paths: set.paths.iter().filter(own).map(|path| shown(env, path)).collect() }
    });
    found.filter(|f| !f.paths.is_empty()).collect()
}

fn shown<A: Ip>(env: Env<'_>, path: &Path<A>) -> String {
    let mut text = format!("{:?} metric {}", path.kind, path.metric).to_lowercase();
    if path.tos != 0 {
        text += &format!(" tos {:#x}", path.tos);
    }
    if !path.src.is_default() {
        text += &format!(" from {}", path.src);
    }
    for member in path.group.and_then(|id| env.view.group(id)).map_or(&[][..], |g| &g.members) {
        let name = env.state.ifaces.get(member.oif).map_or("?", |i| &i.name);
        text += &format!(", {}dev {name}", member.via.map(|via| format!("via {via} ")).unwrap_or_default());
        if member.dead {
            text += " (dead)";
        }
    }
    text
}

fn table(id: u32) -> String {
    match id {
        253 => "default".into(),
        254 => "main".into(),
        255 => "local".into(),
        other => other.to_string(),
    }
}

fn answer4(env: Env<'_>, key: &RuleKey<Ipv4Addr>, q: &Question) -> Answer {
    let packet = packet4(key);
    let mut route = match ip4::route::lookup(env, key) {
        Ok(route) => route,
        Err(errno) => {
            return none(match errno {
                ip4::route::Errno::NetUnreachable => "network unreachable",
                ip4::route::Errno::HostUnreachable => "host unreachable",
                ip4::route::Errno::Prohibited => "prohibited",
                ip4::route::Errno::Blackhole => "blackhole",
            });
        }
    };
    let mut hash = None;
    if let Some(group) = route.group.filter(|g| g.members.len() > 1) {
        let value = multipath::hash4(env.state, &packet, key.dst);
        hash = chosen(env, group, value, env.state.sysctl.ip4.fib_multipath_hash_policy);
        route.member = hash.and_then(|(_, _, at, _)| group.members.get(at - 1)).or(route.member);
    }
    let path = route.path;
    Answer {
        kind: format!("{:?}", route.found).to_lowercase(),
        prefix_len: route.prefix_len,
        table: path.map_or(0, |p| p.table),
        metric: path.map_or(0, |p| p.metric),
        member: route.member.cloned(),
        prefsrc: path.and_then(|p| p.prefsrc).map(IpAddr::V4).filter(|_| q.iif.is_none()),
        mtu: path.map_or(0, |p| p.mtu),
        hash,
    }
}

fn answer6(env: Env<'_>, key: &RuleKey<Ipv6Addr>, q: &Question) -> Answer {
    let packet = packet6(key);
    let prefer = if q.iif.is_some() { key.iif } else { key.oif };
    let scoped = key.dst.is_multicast() || key.dst.is_unicast_link_local();
    let request =
        ip6::route::Request { key: *key, prefer, strict: scoped && prefer != 0, packet: &packet, flow: None };
    let route = ip6::route::lookup(env, &request);
    use ip6::route::Kind;
    let Some(path) = route.path else {
        return none(match route.kind {
            Kind::Prohibit => "prohibited",
            Kind::Blackhole => "blackhole",
            _ => "network unreachable",
        });
    };
    let group = path.group.and_then(|id| env.view.group(id)).filter(|g| g.members.len() > 1);
    let policy = env.state.sysctl.ip6.fib_multipath_hash_policy;
    let hash = group.and_then(|g| chosen(env, g, multipath::hash6(env.state, &packet), policy));
    let out = route.oif(env).filter(|_| q.iif.is_none());
    let src = path.prefsrc.or_else(|| ip6::addr::select(env, key.dst, Some(out?)));
    Answer {
        kind: format!("{:?}", path.kind).to_lowercase(),
        prefix_len: route.prefix_len,
        table: path.table,
        metric: path.metric,
        member: route.member.cloned(),
        prefsrc: src.map(IpAddr::V6).filter(|_| q.iif.is_none()),
        mtu: path.mtu,
        hash,
    }
}

/// The member that a hash chooses, as the forwarding path chooses it while all neighbours may be used.
fn chosen(env: Env<'_>, group: &Group, hash: u32, policy: i64) -> Option<(u32, i64, usize, usize)> {
    let good = |m: &Member| {
        let known = m.via.and_then(|via| env.view.neighbour(m.oif, via));
        group.kind == warren_fib::GroupKind::Plain || known.is_none_or(|n| n.neighbour.state.is_valid())
    };
    group.select(hash, good).map(|at| (hash, policy, at + 1, group.members.len()))
}

fn none(why: &str) -> Answer {
    let kind = why.to_owned();
    Answer { kind, prefix_len: 0, table: 0, metric: 0, member: None, prefsrc: None, mtu: 0, hash: None }
}

/// A packet with the fields that were asked for: what the multipath hash is computed of.
fn packet4(key: &RuleKey<Ipv4Addr>) -> Vec<u8> {
    let header = Ip4Hdr::new(28, 64, key.ipproto, key.src, key.dst);
    [header.as_bytes(), &key.sport.to_be_bytes(), &key.dport.to_be_bytes(), &[0; 4]].concat()
}

fn packet6(key: &RuleKey<Ipv6Addr>) -> Vec<u8> {
    let header = Ip6Hdr::new(8, key.ipproto, 64, key.src, key.dst);
    [header.as_bytes(), &key.sport.to_be_bytes(), &key.dport.to_be_bytes(), &[0; 4]].concat()
}

/// The first line, in the words of iproute2.
fn line(q: &Question, a: &Answer, name: &impl Fn(u32) -> String) -> String {
    let mut text = if a.kind == "unicast" { String::new() } else { format!("{} ", a.kind) };
    text += &q.dst.to_string();
    if let Some(src) = q.src {
        text += &format!(" from {src}");
    }
    if let Some(member) = &a.member {
        if let Some(via) = member.via {
            text += &format!(" via {via}");
        }
        text += &format!(" dev {}", name(member.oif));
        text += &format!(" table {}", table(a.table));
    }
    if let Some(src) = a.prefsrc {
        text += &format!(" src {src}");
    }
    if a.metric != 0 {
        text += &format!(" metric {}", a.metric);
    }
    if a.mtu != 0 {
        text += &format!(" mtu {}", a.mtu);
    }
    if let Some(iif) = &q.iif {
        text += &format!(" iif {iif}");
    }
    text
}

fn text(
    q: &Question,
    asked: &[Asked],
    a: &Answer,
    name: &impl Fn(u32) -> String,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{}", line(q, a, name))?;
    for rule in asked {
        writeln!(text, "  rule {:<24} {}", rule.rule, rule.action)?;
        for found in &rule.found {
            for path in &found.paths {
                writeln!(text, "    {:<40} {path}", found.prefix)?;
            }
        }
        if rule.found.is_empty() && rule.action.starts_with("lookup") {
            writeln!(text, "    nothing")?;
        }
    }
    if let Some((hash, policy, at, of)) = a.hash {
        writeln!(text, "  hash {hash:#010x} (policy {policy}): next hop {at} of {of}")?;
    }
    Ok(text)
}

fn object(q: &Question, asked: &[Asked], a: &Answer, name: &impl Fn(u32) -> String) -> Value {
    let found = |f: &Found| json!({ "prefix": f.prefix, "paths": f.paths });
    let rules = asked.iter().map(|r| {
        json!({ "rule": r.rule, "action": r.action, "found": r.found.iter().map(found).collect::<Vec<_>>() })
    });
    json!({
        "dst": q.dst,
        "type": a.kind,
        "prefix_len": a.prefix_len,
        "table": a.table,
        "metric": a.metric,
        "gateway": a.member.as_ref().and_then(|m| m.via),
        "dev": a.member.as_ref().map(|m| name(m.oif)),
        "prefsrc": a.prefsrc,
        "mtu": a.mtu,
        "hash": a.hash.map(|(hash, policy, at, of)| json!({ "value": hash, "policy": policy, "hop": at, "of": of })),
        "rules": rules.collect::<Vec<_>>(),
    })
}
