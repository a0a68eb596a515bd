//! The writer as a whole: what links, nexthop objects, neighbours and limits do to lookups.

use super::*;
use crate::adjacency::Nud;
use crate::group::{Group, GroupKind};
use crate::path::{Path, PathSetId, RouteType};
use crate::route::{Hop, Hops, NexthopBody};
use crate::view::Reader;

fn net<A: Ip>(text: &str) -> Prefix<A> {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn via4(number: u8) -> Hop {
    Hop::new(u32::from(number), Some(Ipv4Addr::new(10, 0, number, 1).into()))
}

fn via6(number: u8) -> Hop {
    Hop::new(u32::from(number), Some(Ipv6Addr::from(u128::from(number)).into()))
}

fn list<A: Ip>(prefix: &str, hops: &[Hop]) -> Route<A> {
    Route::new(net(prefix), Hops::List(hops.to_vec()))
}

fn link(index: u32, up: bool, carrier: bool) -> LinkState {
    LinkState { index, up, carrier, ignore_linkdown4: false, ignore_linkdown6: true }
}

const DST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Length, first path and its group of each match in a table.
fn found<A: Ip>(reader: &mut Reader, table: u32, addr: A) -> Vec<(u8, Path<A>, Option<Group>)> {
    let view = reader.pin();
    let table = view.table::<A>(table);
    let matches = table.iter().flat_map(|table| table.lookup(addr));
    matches
        .map(|(len, set)| {
            let path = set.paths[0].clone();
            (
                len,
                path.clone(),
                path.group.map(|id| view.group(id).expect("a group that a path names").clone()),
            )
        })
        .collect()
}

fn group<A: Ip>(reader: &mut Reader, addr: A) -> Group {
    found(reader, 254, addr).swap_remove(0).2.expect("a group")
}

fn bounds(group: &Group) -> Vec<i32> {
    group.members.iter().map(|member| member.upper).collect()
}

/// Nothing may be left over: what readers could still name waits, and then all of it goes.
fn assert_empties(mut writer: Writer, mut reader: Reader) {
    while writer.withdraw(1) {}
    let (four, six): (Vec<_>, Vec<_>) =
        (writer.routes::<Ipv4Addr>().collect(), writer.routes::<Ipv6Addr>().collect());
    for route in &four {
        assert!(writer.remove(route).unwrap(), "{route:?}");
    }
    for route in &six {
        assert!(writer.remove(route).unwrap(), "{route:?}");
    }
    for id in 0..200 {
        writer.remove_nexthop(id);
    }
    reader.sleep();
    writer.publish();
    // Dropping a batch of values may retire more (a table's trie); a second round ends it.
    writer.publish();
    assert_eq!(writer.limbo_len(), 0);
    assert!(reader.pin().table::<Ipv4Addr>(254).is_none());
    assert_eq!(writer.nexthops.users(), (0, 0), "groups and adjacencies still in use");
}

#[test]
fn a_leg_down_moves_its_share_and_comes_back() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1), via4(2)]), Place::New).unwrap();
    assert_eq!(bounds(&group(&mut reader, DST4)), [0x3fff_ffff, i32::MAX]);
    writer.set_link(link(1, false, false));
    let one = group(&mut reader, DST4);
    assert_eq!((bounds(&one), one.dead, one.members[0].dead), (vec![-1, i32::MAX], false, true));
    assert!(!writer.withdraw(10));
    writer.set_link(link(1, true, true));
    assert_eq!(bounds(&group(&mut reader, DST4)), [0x3fff_ffff, i32::MAX]);
    assert_empties(writer, reader);
}

#[test]
fn the_last_leg_takes_the_route_with_it_for_good() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let route = list::<Ipv4Addr>("192.0.2.0/24", &[via4(1), via4(2)]);
    let local =
        Route { kind: RouteType::Local, scope: 254, table: 255, ..list("10.0.1.2/32", &[Hop::new(1, None)]) };
    let hole = Route { kind: RouteType::Blackhole, ..list("192.0.0.0/16", &[Hop::new(1, None)]) };
    for route in [route.clone(), local.clone(), hole.clone()] {
        writer.insert(route, Place::New).unwrap();
    }
    writer.set_link(link(1, false, false));
    writer.set_link(link(2, false, false));
    assert!(group(&mut reader, DST4).dead);
    writer.set_link(link(1, true, true));
    assert!(group(&mut reader, DST4).dead, "the kernel has deleted the route by now");
    assert_eq!(writer.routes::<Ipv4Addr>().collect::<Vec<_>>(), [hole, local]);
    // The same route anew is alive, before the sweep as after it.
    writer.insert(route, Place::New).unwrap();
    assert!(!group(&mut reader, DST4).dead);
    while writer.withdraw(1) {}
    assert!(!group(&mut reader, DST4).dead);
    assert_empties(writer, reader);
}

#[test]
fn carrier_counts_as_each_familys_sysctl_says() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1)]), Place::New).unwrap();
    writer.insert(list::<Ipv6Addr>("2001:db8::/32", &[via6(1)]), Place::New).unwrap();
    writer.set_link(link(1, true, false));
    let (four, six) = (group(&mut reader, DST4), group(&mut reader, DST6));
    assert!(four.members[0].linkdown && !four.dead && bounds(&four) == [i32::MAX]);
    assert!(six.members[0].linkdown && six.dead && bounds(&six) == [-1]);
    assert!(!writer.withdraw(10), "routes survive the loss of a carrier");
    writer.set_link(link(1, true, true));
    assert!(!group(&mut reader, DST6).dead);
    assert_empties(writer, reader);
}

#[test]
fn the_last_address_takes_ipv4_routes_along() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1), via4(2)]), Place::New).unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/25", &[via4(1)]), Place::New).unwrap();
    writer.insert(list::<Ipv6Addr>("2001:db8::/32", &[via6(1)]), Place::New).unwrap();
    let own = Route {
        scope: 254,
        kind: RouteType::Local,
        ..list::<Ipv4Addr>("192.0.2.9/32", &[Hop::new(1, None)])
    };
    writer.insert(own, Place::New).unwrap();
    writer.set_addressed4(1, false);
    assert_eq!((writer.routes::<Ipv4Addr>().count(), group(&mut reader, DST6).dead), (1, false));
    while writer.withdraw(1) {}
    assert_eq!(bounds(&group(&mut reader, DST4)), [-1, i32::MAX]);
    writer.insert(list::<Ipv4Addr>("192.0.2.0/25", &[via4(1)]), Place::New).unwrap();
    assert!(
        !found(&mut reader, 254, DST4)[0].2.as_ref().unwrap().dead,
        "a new route does not ask for an address"
    );
    writer.set_routes::<Ipv4Addr>(254, net("192.0.2.0/25"), &[]).unwrap();
    writer.set_addressed4(1, true);
    assert_eq!(bounds(&group(&mut reader, DST4)), [0x3fff_ffff, i32::MAX]);
    writer.set_addressed4(1, false);
    writer.set_link(link(1, false, false));
    writer.set_link(link(1, true, true));
    assert_eq!(bounds(&group(&mut reader, DST4)), [0x3fff_ffff, i32::MAX], "the link brings it back too");
    assert_empties(writer, reader);
}

#[test]
fn a_vanished_interface_takes_ipv4_multipath_whole() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let local =
        Route { kind: RouteType::Local, scope: 254, ..list::<Ipv4Addr>("10.0.1.2/32", &[Hop::new(1, None)]) };
    writer.insert(local, Place::New).unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1), via4(2)]), Place::New).unwrap();
    writer.insert(list::<Ipv6Addr>("2001:db8::/32", &[via6(1), via6(2)]), Place::New).unwrap();
    writer.remove_link(1);
    assert_eq!(writer.routes::<Ipv4Addr>().count(), 0);
    assert_eq!(bounds(&group(&mut reader, DST6)), [-1, i32::MAX]);
    while writer.withdraw(3) {}
    assert!(found(&mut reader, 254, DST4).is_empty());
    assert_empties(writer, reader);
}

#[test]
fn nexthop_groups_follow_their_members() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let single = |id, hop| NexthopObject { id, body: NexthopBody::Single(hop) };
    writer.set_nexthop(single(1, via4(1))).unwrap();
    writer.set_nexthop(single(2, via4(2))).unwrap();
    writer.set_nexthop(NexthopObject { id: 100, body: NexthopBody::Group(vec![(1, 1), (2, 3)]) }).unwrap();
    writer.insert(Route::new(net::<Ipv4Addr>("192.0.2.0/24"), Hops::Object(100)), Place::New).unwrap();
    writer.insert(Route::new(net::<Ipv4Addr>("192.0.0.0/16"), Hops::Object(2)), Place::New).unwrap();
    let both = group(&mut reader, DST4);
    assert_eq!(
        (both.kind.clone(), bounds(&both)),
        (GroupKind::Object { id: 100 }, vec![0x1fff_ffff, i32::MAX])
    );
    writer.set_nexthop(single(1, via4(7))).unwrap();
    assert_eq!(group(&mut reader, DST4).members[0].oif, 7);
    // Carrier loss deletes object 2 and shrinks the group; the route straight to object 2 goes.
    writer.set_link(link(2, true, false));
    assert_eq!(bounds(&group(&mut reader, DST4)), [i32::MAX]);
    assert_eq!(writer.routes::<Ipv4Addr>().count(), 1);
    assert!(!writer.remove_nexthop(2), "gone by itself");
    // The last member takes the group, and the group its routes.
    assert!(writer.remove_nexthop(1) && !writer.remove_nexthop(100));
    assert!(group(&mut reader, DST4).dead);
    while writer.withdraw(1) {}
    assert!(found(&mut reader, 254, DST4).is_empty());
    assert_empties(writer, reader);
}

#[test]
fn resilient_buckets_move_to_those_below_their_share() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    for id in 1..=3 {
        writer.set_nexthop(NexthopObject { id: u32::from(id), body: NexthopBody::Single(via4(id)) }).unwrap();
    }
    let body = NexthopBody::Resilient {
        members: vec![(1, 1), (2, 1), (3, 2)],
        buckets: vec![1, 1, 2, 2, 3, 3, 3, 3],
    };
    writer.set_nexthop(NexthopObject { id: 9, body }).unwrap();
    writer.insert(Route::new(net::<Ipv4Addr>("192.0.2.0/24"), Hops::Object(9)), Place::New).unwrap();
    writer.remove_nexthop(3);
    let group = group(&mut reader, DST4);
    let GroupKind::Resilient { id: 9, buckets } = &group.kind else { panic!("{group:?}") };
    assert_eq!(**buckets, [0, 0, 1, 1, 0, 0, 1, 1]);
    assert_eq!((group.select(4, |_| false), group.select(6, |_| false)), (Some(0), Some(1)));
    assert_empties(writer, reader);
}

#[test]
fn blackhole_objects_and_refused_ones() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let route = Route::new(net::<Ipv4Addr>("192.0.2.0/24"), Hops::Object(5));
    let error = writer.insert(route.clone(), Place::New).unwrap_err();
    assert_eq!(error, FibError::UnknownNexthop { user: "192.0.2.0/24".into(), id: 5 });
    assert!(found(&mut reader, 254, DST4).is_empty());
    writer.set_nexthop(NexthopObject { id: 5, body: NexthopBody::Blackhole }).unwrap();
    writer.insert(route, Place::New).unwrap();
    let hole = group(&mut reader, DST4);
    assert_eq!((hole.kind, hole.dead), (GroupKind::Blackhole, false));
    let mut set = |body| writer.set_nexthop(NexthopObject { id: 6, body });
    assert!(matches!(set(NexthopBody::Group(vec![(7, 1)])), Err(FibError::UnknownNexthop { id: 7, .. })));
    set(NexthopBody::Group(vec![(5, 1)])).unwrap();
    let nested = NexthopBody::Group(vec![(6, 1)]);
    let error = writer.set_nexthop(NexthopObject { id: 7, body: nested }).unwrap_err();
    assert_eq!(error, FibError::NotAMember { group: 7, id: 6 });
    assert_empties(writer, reader);
}

#[test]
fn a_neighbour_reaches_its_adjacency_whichever_comes_first() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let hop = via4(1);
    let gateway = hop.via.unwrap();
    let known = Neighbour { lladdr: [2, 0, 0, 0, 0, 1], state: Nud::REACHABLE };
    writer.set_neighbour(1, gateway, Some(known));
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[hop]), Place::New).unwrap();
    let id = group(&mut reader, DST4).members[0].adjacency;
    assert_eq!(reader.pin().adjacency(id).unwrap().neighbour, Some(known));
    writer.set_neighbour(1, gateway, None);
    assert_eq!(reader.pin().adjacency(id).unwrap().neighbour, None);
    // The slot is used again, for the same gateway, after a change that reached no one.
    writer.remove(&list::<Ipv4Addr>("192.0.2.0/24", &[via4(1)])).unwrap();
    reader.sleep();
    writer.publish();
    writer.set_neighbour(1, gateway, Some(known));
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1)]), Place::New).unwrap();
    assert_eq!(group(&mut reader, DST4).members[0].adjacency, id);
    assert_eq!(reader.pin().adjacency(id).unwrap().neighbour, Some(known));
    assert_empties(writer, reader);
}

#[test]
fn local_and_main_answer_as_one_until_they_do_not() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let local = |prefix| Route {
        table: 255,
        kind: RouteType::Local,
        ..list::<Ipv4Addr>(prefix, &[Hop::new(1, None)])
    };
    let tables = |reader: &mut Reader, table| -> Vec<(u8, u32)> {
        found(reader, table, DST4).iter().map(|(len, path, _)| (*len, path.table)).collect()
    };
    writer.insert(local("192.0.2.0/24"), Place::New).unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/24", &[via4(1)]), Place::New).unwrap();
    writer.insert(list::<Ipv4Addr>("192.0.2.0/25", &[via4(1)]), Place::New).unwrap();
    let apart = (vec![(24, 255)], vec![(25, 254), (24, 254)]);
    assert_eq!((tables(&mut reader, 255), tables(&mut reader, 254)), apart);
    writer.merge_local_main(true).unwrap();
    let as_one = vec![(25, 254), (24, 255)];
    assert_eq!((tables(&mut reader, 255), tables(&mut reader, 254)), (as_one.clone(), as_one));
    let view = reader.pin();
    let (_, set) = view.table::<Ipv4Addr>(254).unwrap().lookup(DST4).nth(1).unwrap();
    assert_eq!(set.paths.iter().map(|path| path.table).collect::<Vec<_>>(), [255, 254]);
    // Changes while they are one reach both.
    writer.insert(local("192.0.2.1/32"), Place::New).unwrap();
    assert!(writer.remove(&list::<Ipv4Addr>("192.0.2.0/25", &[via4(1)])).unwrap());
    assert_eq!(tables(&mut reader, 254), [(32, 255), (24, 255)]);
    writer.merge_local_main(false).unwrap();
    assert_eq!(
        (tables(&mut reader, 255), tables(&mut reader, 254)),
        (vec![(32, 255), (24, 255)], vec![(24, 254)])
    );
    assert_empties(writer, reader);
}

#[test]
fn running_out_of_path_sets_changes_nothing_and_recovers() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let route = |metric: u32| {
        let dst = Prefix::new(Ipv4Addr::from(metric << 8), 24).unwrap();
        Route::<Ipv4Addr> { metric, ..Route::new(dst, Hops::one(1, None)) }
    };
    let limit = usize::from(PathSetId::MAX);
    let beyond = u32::from(PathSetId::MAX);
    for metric in 0..beyond {
        writer.insert(route(metric), Place::New).unwrap();
    }
    let error = writer.insert(route(beyond), Place::New).unwrap_err();
    assert_eq!(error, FibError::PathSets { prefix: "0.127.254.0/24".into(), limit });
    assert_eq!(writer.routes::<Ipv4Addr>().count(), limit);
    assert!(found(&mut reader, 254, Ipv4Addr::new(0, 127, 254, 1)).is_empty());
    assert!(writer.remove(&route(7)).unwrap());
    assert!(writer.insert(route(beyond), Place::New).is_err(), "a reader may still hold the id");
    reader.sleep();
    writer.publish();
    writer.insert(route(beyond), Place::New).unwrap();
    assert_empties(writer, reader);
}

#[test]
fn a_prefix_is_set_as_a_whole() {
    let (mut writer, fib) = new(1);
    let mut reader = fib.reader().unwrap();
    let route = |number, metric| Route { metric, ..list::<Ipv4Addr>("192.0.2.0/24", &[via4(number)]) };
    let dst = route(1, 0).dst;
    writer.insert(route(1, 7), Place::New).unwrap();
    writer.insert(route(1, 9), Place::New).unwrap();
    writer.set_routes(254, dst, &[route(3, 5), route(2, 5), route(1, 0)]).unwrap();
    let want = [route(1, 0), route(3, 5), route(2, 5)];
    assert_eq!(writer.routes_at(254, dst), want, "by metric, equals in the order given");
    assert_eq!(writer.prefixes::<Ipv4Addr>().collect::<Vec<_>>(), [(254, dst)]);
    assert_eq!(writer.count::<Ipv4Addr>(), 3);
    assert_eq!(found(&mut reader, 254, DST4)[0].1.metric, 0);
    let unknown = Route { hops: Hops::Object(9), ..route(1, 0) };
    writer.set_routes(254, dst, &[route(4, 0), unknown]).unwrap_err();
    assert_eq!(writer.routes_at(254, dst), want, "an error changes nothing");
    writer.set_link(link(3, false, false));
    assert_eq!(writer.routes_at(254, dst), [route(1, 0), route(2, 5)]);
    writer.set_routes::<Ipv4Addr>(254, dst, &[]).unwrap();
    assert_eq!(writer.count::<Ipv4Addr>(), 0);
    assert_empties(writer, reader);
}
