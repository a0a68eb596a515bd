//! Tests of network namespaces. They need root, and say so by failing.

use super::*;

fn named(suffix: &str) -> String {
    format!("warren-t-ns-{suffix}-{}", std::process::id())
}

fn inode(path: &str) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn created_namespace_is_another_one_and_ip_netns_knows_it() {
    let name = named("fresh");
    let ns = Namespace::create(&name).unwrap();
    let inside = ns.enter(|| inode(OWN)).unwrap();
    assert_ne!(inside, inode(OWN), "enter must not stay outside");
    assert_eq!(inside, inode(&format!("{NAMED}/{name}")));

    let links = Command::new("ip").args(["netns", "exec", &name, "ip", "-o", "link"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    assert_eq!(links.lines().count(), 1, "a fresh namespace has only lo: {links}");
    let same = ns.output(Command::new("ip").args(["-o", "link"])).unwrap();
    assert_eq!(String::from_utf8(same.stdout).unwrap(), links);
    let mut child = ns.spawn(Command::new("true").arg("")).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn dropping_removes_it_also_in_a_panic() {
    let name = named("panic");
    let result = std::panic::catch_unwind(|| {
        let _ns = Namespace::create(&name).unwrap();
        assert!(Path::new(NAMED).join(&name).exists());
        panic!("on purpose");
    });
    assert!(result.is_err());
    assert!(!Path::new(NAMED).join(&name).exists());
    assert!(!Path::new(OWNERS).join(&name).exists());
}

#[test]
fn a_dead_owners_namespace_is_replaced_and_a_living_ones_is_not() {
    let name = named("stale");
    let first = Namespace::create(&name).unwrap();
    assert!(matches!(Namespace::create(&name), Err(Error::InUse(n)) if n == name));
    let before = inode(&format!("{NAMED}/{name}"));
    // As after kill -9: the lock goes, the files and the mount stay. `first.net` keeps the old inode number from reuse.
    let Namespace { net, owner, .. } = &first;
    rustix::fs::flock(owner.as_ref().unwrap(), FlockOperation::Unlock).unwrap();
    let second = Namespace::create(&name).unwrap();
    assert_ne!(inode(&format!("{NAMED}/{name}")), before);
    assert_eq!(net.metadata().unwrap().ino(), before);
    std::mem::forget(first); // its drop would remove the successor's files, which a dead process does not
    drop(second);
    assert!(!Path::new(NAMED).join(&name).exists());
}

#[test]
fn a_strangers_namespace_is_left_alone() {
    let name = named("strange");
    assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
    let result = Namespace::create(&name);
    let still_there = Path::new(NAMED).join(&name).exists();
    assert!(Command::new("ip").args(["netns", "del", &name]).status().unwrap().success());
    assert!(matches!(result, Err(Error::Taken(n)) if n == name));
    assert!(still_there);
}

#[test]
fn sysctls_are_those_of_the_namespace() {
    let ns = Namespace::create(&named("sysctl")).unwrap();
    let outside = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    ns.sysctl_write("net.ipv4.ip_default_ttl", "77").unwrap();
    assert_eq!(ns.sysctl_read("net/ipv4/ip_default_ttl").unwrap(), "77");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), outside);
    let missing = ns.sysctl_write("net.ipv4.no_such_thing", "1").unwrap_err();
    assert!(missing.to_string().contains("net.ipv4.no_such_thing"), "{missing}");
}

#[test]
fn current_is_where_we_are_and_a_panic_inside_is_an_error() {
    let here = Namespace::current().unwrap();
    assert_eq!(here.enter(|| inode(OWN)).unwrap(), inode(OWN));
    assert!(matches!(here.enter(|| panic!("on purpose")), Err::<(), _>(Error::Panicked(_))));
}

#[test]
fn bad_names_are_refused() {
    for name in ["", ".", "..", "a/b", ".hidden", &"x".repeat(201)] {
        assert!(matches!(Namespace::create(name), Err(Error::Name(_))), "{name:?}");
    }
    for sysctl in ["", "net/../kernel/panic", "/etc/passwd", "net..ipv4"] {
        assert!(matches!(sysctl_path(sysctl), Err(Error::Sysctl(_))), "{sysctl:?}");
    }
    let dotted = sysctl_path("net.ipv4.conf.eth0/100.forwarding").unwrap();
    assert_eq!(dotted, Path::new("/proc/sys/net/ipv4/conf/eth0.100/forwarding"));
    assert_eq!(sysctl_path("net/ipv4/conf/eth0.100/forwarding").unwrap(), dotted);
}

#[test]
fn what_dead_owners_left_is_swept_away_and_what_others_have_is_not() {
    let (dead, alive) = (named("sweep-dead"), named("sweep-alive"));
    let killed = Namespace::create(&dead).unwrap();
    let living = Namespace::create(&alive).unwrap();
    rustix::fs::flock(killed.owner.as_ref().unwrap(), FlockOperation::Unlock).unwrap(); // as after kill -9
    sweep("warren-t-ns-sweep-");
    let there = |name: &str| (Path::new(NAMED).join(name).exists(), Path::new(OWNERS).join(name).exists());
    assert_eq!((there(&dead), there(&alive)), ((false, false), (true, true)));
    drop((killed, living));
}
