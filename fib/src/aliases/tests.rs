//! Each row of the kernel's behaviour on add, append, prepend, replace and delete, both families.

use super::*;
use crate::path::RouteType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn via<A: Ip>(number: u8) -> Hop {
    let mut six = [0; 16];
    six[15] = number;
    let addr = if A::V6 { IpAddr::from(six) } else { IpAddr::from([10, 0, 0, number]) };
    Hop::new(u32::from(number), Some(addr))
}

fn dev(number: u8) -> Hop {
    Hop::new(u32::from(number), None)
}

fn route<A: Ip>(metric: u32, hops: &[Hop]) -> Route<A> {
    Route { metric, ..Route::new(Prefix::ANY, Hops::List(hops.to_vec())) }
}

/// Metric and interfaces of each entry.
fn shape<A: Ip>(list: &[Alias<A>]) -> Vec<(u32, Vec<u32>)> {
    let oifs = |hops: &Hops| match hops {
        Hops::List(hops) => hops.iter().map(|hop| hop.oif).collect(),
        _ => vec![],
    };
    list.iter().map(|alias| (alias.body.metric, oifs(&alias.body.hops))).collect()
}

fn build<A: Ip>(steps: &[(Place, Route<A>)]) -> Vec<Alias<A>> {
    let mut list = Vec::new();
    for (place, route) in steps {
        insert(&mut list, route.clone(), *place);
    }
    list
}

type Four = Ipv4Addr;
type Six = Ipv6Addr;

#[test]
fn ipv4_places() {
    let one = |place, number| (place, route::<Four>(0, &[via::<Four>(number)]));
    let list = build(&[one(Place::New, 1), one(Place::Append, 2), one(Place::Prepend, 3)]);
    assert_eq!(shape(&list), [(0, vec![3]), (0, vec![1]), (0, vec![2])]);
    let mut list = list;
    assert_eq!(insert(&mut list, one(Place::Replace, 4).1, Place::Replace), Change::Resolve(0));
    assert_eq!(shape(&list), [(0, vec![4]), (0, vec![1]), (0, vec![2])], "only the first is replaced");
    assert_eq!(insert(&mut list, one(Place::Append, 2).1, Place::Append), Change::Nothing);
}

#[test]
fn ipv4_order_is_tos_down_then_metric_up() {
    let with_tos = |tos, metric| Route { tos, ..route::<Four>(metric, &[dev(tos)]) };
    let list = build(&[
        (Place::New, with_tos(0, 10)),
        (Place::New, with_tos(16, 20)),
        (Place::New, with_tos(0, 5)),
        (Place::New, with_tos(32, 7)),
        (Place::New, with_tos(16, 1)),
    ]);
    assert_eq!(shape(&list), [(7, vec![32]), (1, vec![16]), (20, vec![16]), (5, vec![0]), (10, vec![0])]);
}

#[test]
fn ipv4_delete_takes_the_first_that_matches() {
    let base = [
        (Place::New, route::<Four>(10, &[via::<Four>(1)])),
        (Place::New, route(20, &[via::<Four>(2), via::<Four>(3)])),
        (Place::New, Route { tos: 16, ..route(5, &[dev(4)]) }),
    ];
    let after = |deleted: Route<Four>| {
        let mut list = build(&base);
        let change = remove(&mut list, &deleted);
        (change != Change::Nothing, shape(&list).into_iter().map(|(metric, _)| metric).collect::<Vec<_>>())
    };
    let any = Route { protocol: 0, scope: 255, hops: Hops::None, ..route(0, &[]) };
    assert_eq!(after(any.clone()), (true, vec![5, 20]), "lowest metric of tos 0");
    assert_eq!(after(Route { tos: 16, ..any.clone() }), (true, vec![10, 20]));
    assert_eq!(after(Route { metric: 20, ..any.clone() }), (true, vec![5, 10]));
    assert_eq!(after(Route { metric: 21, ..any.clone() }), (false, vec![5, 10, 20]));
    assert_eq!(after(Route { protocol: 9, ..any.clone() }), (false, vec![5, 10, 20]));
    assert_eq!(after(Route { kind: RouteType::Blackhole, ..any.clone() }), (false, vec![5, 10, 20]));
    let leg = |number| Route { hops: Hops::List(vec![via::<Four>(number)]), ..any.clone() };
    assert_eq!(after(leg(1)), (true, vec![5, 20]));
    assert_eq!(after(leg(2)), (false, vec![5, 10, 20]), "no leg of a multipath route can be deleted");
    let both = Route { hops: Hops::List(vec![via::<Four>(2), via::<Four>(3)]), ..any };
    assert_eq!(after(both), (true, vec![5, 10]));
}

#[test]
fn a_deletion_prefers_the_entry_it_describes() {
    let gateway = route::<Four>(0, &[via::<Four>(1)]);
    let device = route::<Four>(0, &[dev(1)]);
    let mut list = build(&[(Place::New, gateway.clone()), (Place::Append, device.clone())]);
    remove(&mut list, &Route { expires: 7, ..device });
    assert_eq!(*list[0].body, gateway);
}

#[test]
fn ipv6_gateways_of_one_metric_are_one_route() {
    let mut list = build(&[
        (Place::New, route::<Six>(1024, &[via::<Six>(1)])),
        (Place::New, route(1024, &[dev(9)])),
        // The kernel's notification: the complete set, the new leg first.
        (Place::Append, route(1024, &[via::<Six>(2), via::<Six>(1)])),
        // A request: the new leg alone.
        (Place::Append, route(1024, &[via::<Six>(3)])),
        (Place::New, route(256, &[via::<Six>(4)])),
    ]);
    assert_eq!(shape(&list), [(256, vec![4]), (1024, vec![1, 2, 3]), (1024, vec![9])]);
    let twice = route(1024, &[via::<Six>(2)]);
    assert_eq!(insert(&mut list, twice, Place::Append), Change::Nothing);
    let mut legs = |hops: &[Hop]| {
        let change = remove(&mut list, &route(1024, hops));
        (change, shape(&list))
    };
    assert_eq!(legs(&[via::<Six>(2)]).1, [(256, vec![4]), (1024, vec![1, 3]), (1024, vec![9])]);
    assert_eq!(legs(&[via::<Six>(2)]).0, Change::Nothing);
    assert_eq!(legs(&[dev(9)]).1, [(256, vec![4]), (1024, vec![1, 3])]);
    assert_eq!(legs(&[via::<Six>(3), via::<Six>(1)]).1, [(256, vec![4])], "all legs at once");
}

#[test]
fn ipv6_deletion_without_a_gateway_takes_the_whole_route() {
    let base = [(Place::New, route::<Six>(1024, &[via::<Six>(1), via::<Six>(2)]))];
    for hops in [Hops::None, Hops::List(vec![dev(2)])] {
        let mut list = build(&base);
        assert_eq!(remove(&mut list, &Route { metric: 0, hops, ..route(0, &[]) }), Change::Removed);
    }
}

#[test]
fn ipv6_replace_prefers_its_own_kind() {
    let base = [
        (Place::New, route::<Six>(1024, &[dev(9)])),
        (Place::New, route(1024, &[via::<Six>(1), via::<Six>(2)])),
    ];
    let replaced = |hops: &[Hop]| {
        let mut list = build(&base);
        insert(&mut list, route(1024, hops), Place::Replace);
        shape(&list)
    };
    assert_eq!(replaced(&[via::<Six>(3)]), [(1024, vec![9]), (1024, vec![3])]);
    assert_eq!(replaced(&[dev(8)]), [(1024, vec![8]), (1024, vec![1, 2])]);
    let mut list = build(&base[..1]);
    insert(&mut list, route(1024, &[via::<Six>(3)]), Place::Replace);
    assert_eq!(shape(&list), [(1024, vec![3])], "with none of its kind, the first");
}

#[test]
fn ipv6_router_advertisements_stay_apart_and_are_refreshed() {
    let ra = |number, expires| Route { protocol: 9, expires, ..route::<Six>(1024, &[via::<Six>(number)]) };
    let mut list = build(&[(Place::New, ra(1, 10)), (Place::New, ra(2, 10)), (Place::New, ra(1, 20))]);
    assert_eq!(shape(&list), [(1024, vec![1]), (1024, vec![2])]);
    assert_eq!(list[0].body.expires, 20);
    assert_eq!(remove(&mut list, &ra(2, 3)), Change::Removed, "the time left does not matter");
}

#[test]
fn ipv6_sources_are_keys_of_their_own() {
    let from = |text: &str, number| Route {
        src: text.parse().unwrap(),
        ..route::<Six>(1024, &[via::<Six>(number)])
    };
    let mut list = build(&[
        (Place::New, from("::/0", 1)),
        (Place::New, from("2001:db8::/32", 2)),
        (Place::New, from("2001:db8:1::/48", 3)),
        (Place::New, from("2001:db8::/32", 4)),
    ]);
    assert_eq!(shape(&list), [(1024, vec![3]), (1024, vec![2, 4]), (1024, vec![1])], "longest source first");
    assert_eq!(remove(&mut list, &from("2001:db8:2::/48", 2)), Change::Nothing);
    assert_eq!(remove(&mut list, &from("2001:db8::/32", 4)), Change::Resolve(1));
}
