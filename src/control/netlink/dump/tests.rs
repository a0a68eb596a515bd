//! Dumps that are disturbed. They need root, and say so by failing.

use super::*;
use crate::control::netlink::{Mode, NewLink};
use crate::sys::netns::Namespace;

/// A namespace whose addresses fill several datagrams of a dump, a socket to dump with and one to disturb with.
fn crowded(test: &str) -> (Namespace, Socket, Socket, AddressMsg) {
    let ns = Namespace::create(&format!("warren-t-dump-{test}-{}", std::process::id())).unwrap();
    let [mut socket, other] = [(); 2].map(|()| ns.enter(Socket::open).unwrap().unwrap());
    socket.add_link(&NewLink::veth("p0", "p1")).unwrap();
    let index = socket.link("p0").unwrap().index;
    let address = |n: u16| {
        let [high, low] = n.to_be_bytes();
        AddressMsg::new(index, ipnet::IpNet::new([10, high, low, 1].into(), 24).unwrap())
    };
    for n in 0..1000 {
        socket.add_address(&address(n), Mode::Add).unwrap();
    }
    (ns, socket, other, address(2000))
}

/// Adds or removes an address, each time the other way.
fn disturb(socket: &mut Socket, address: &AddressMsg, there: &mut bool) {
    let done = if *there { socket.delete_address(address) } else { socket.add_address(address, Mode::Add) };
    done.unwrap();
    *there = !*there;
}

fn addresses(socket: &mut Socket, mut meanwhile: impl FnMut(usize)) -> (Result<Vec<AddressMsg>>, usize) {
    let mut count = 0;
    let result = socket.collect("dump addresses", libc::RTM_GETADDR, &of_both::<8>()[..1], |event| {
        meanwhile(count);
        count += 1;
        match event {
            Event::Address(address) => Some(address),
            _ => None,
        }
    });
    (result, count)
}

#[test]
fn an_interrupted_dump_starts_again() {
    let (_ns, mut socket, mut other, address) = crowded("once");
    let mut there = false;
    let (result, seen) = addresses(&mut socket, |count| {
        if count == 0 {
            disturb(&mut other, &address, &mut there);
        }
    });
    let result = result.unwrap();
    assert_eq!(result.len(), 1001, "each address once, the new one too");
    assert!(result.iter().any(|a| a.prefix == address.prefix));
    assert!(seen > 1500, "the first attempt was thrown away: {seen}");
}

#[test]
fn a_dump_that_is_always_interrupted_gives_up_and_leaves_the_socket_usable() {
    let (_ns, mut socket, mut other, address) = crowded("ever");
    let mut there = false;
    let (result, _) = addresses(&mut socket, |count| {
        if count % 50 == 0 {
            disturb(&mut other, &address, &mut there);
        }
    });
    assert!(matches!(result, Err(Error::Interrupted { attempts: ATTEMPTS, .. })), "{result:?}");
    let quiet = socket.addresses().unwrap().into_iter().filter(|a| a.prefix.addr().is_ipv4()).count();
    assert_eq!(quiet, 1000 + usize::from(there));
}
