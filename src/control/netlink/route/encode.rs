//! Puts a route into the library's form, for requests.

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLA_F_NESTED};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteRealm, RouteVia,
};

use super::{Encap, Family, Leg, RTA_ENCAP, RTA_ENCAP_TYPE, RouteMsg, leg_flag, metric};

impl RouteMsg {
    pub(in super::super) fn encode(&self) -> RouteMessage {
        let family = self.family();
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: family.number().into(),
            destination_prefix_length: self.dst.prefix_len(),
            source_prefix_length: self.src.map_or(0, |src| src.prefix_len()),
            tos: self.tos,
            // The whole number goes into RTA_TABLE, which wins.
            table: u8::try_from(self.table).unwrap_or(0),
            protocol: self.protocol.into(),
            scope: self.scope.into(),
            kind: self.kind.number().into(),
            flags: RouteFlags::empty(),
        };
        let attributes = [
            Some(RouteAttribute::Destination(self.dst.network().into())),
            self.src.map(|src| RouteAttribute::Source(src.network().into())),
            Some(RouteAttribute::Table(self.table)),
            Some(self.priority).filter(|p| *p != 0).map(RouteAttribute::Priority),
            self.prefsrc.map(|ip| RouteAttribute::PrefSource(ip.into())),
            (family == Family::V6 && self.pref != 0).then(|| RouteAttribute::Preference(self.pref.into())),
            self.expires.map(|left| {
                RouteAttribute::Expires(u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
            }),
            self.nexthop.map(RouteAttribute::NhId),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
        let metrics: Vec<_> =
            self.metrics.iter().map(|(number, value)| encode_metric(number, value)).collect();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        match self.legs.as_slice() {
            _ if self.nexthop.is_some() => {}
            [] => {}
            [leg] => {
                message.header.flags = RouteFlags::from_bits_retain((leg.flags & leg_flag::ONLINK).into());
                message.attributes.extend(leg.link.map(RouteAttribute::Oif));
                message.attributes.extend(leg.encode(family));
            }
            legs => {
                let legs = legs.iter().map(|leg| leg.encode_in_set(family)).collect();
                message.attributes.push(RouteAttribute::MultiPath(legs));
            }
        }
        message
    }
}

impl Leg {
    /// Everything but the link, which stands in different places.
    fn encode(&self, family: Family) -> Vec<RouteAttribute> {
        let gateway = self.gateway.map(|gateway| match gateway {
            same if Family::of(same) == family => RouteAttribute::Gateway(same.into()),
            IpAddr::V4(other) => RouteAttribute::Via(RouteVia::Inet(other)),
            IpAddr::V6(other) => RouteAttribute::Via(RouteVia::Inet6(other)),
        });
        let [source, destination] = [self.realm >> 16, self.realm & 0xffff].map(|half| half as u16);
        let realm = (self.realm != 0).then_some(RouteAttribute::Realm(RouteRealm { source, destination }));
        let mut attributes: Vec<_> = gateway.into_iter().chain(realm).collect();
        if let Some(encap) = &self.encap {
            attributes.extend(encap.encode().map(RouteAttribute::Other));
        }
        attributes
    }

    fn encode_in_set(&self, family: Family) -> RouteNextHop {
        let mut hop = RouteNextHop::default();
        hop.flags = RouteNextHopFlags::from_bits_retain(self.flags & leg_flag::ONLINK);
        // rtnh_hops holds the weight less one.
        hop.hops = u8::try_from(self.weight.saturating_sub(1)).unwrap_or(u8::MAX);
        hop.interface_index = self.link.unwrap_or(0);
        hop.attributes = self.encode(family);
        hop
    }
}

impl Encap {
    fn encode(&self) -> [DefaultNla; 2] {
        [
            DefaultNla::new(RTA_ENCAP_TYPE, self.kind.to_ne_bytes().to_vec()),
            DefaultNla::new(RTA_ENCAP | NLA_F_NESTED, self.data.clone()),
        ]
    }
}

fn encode_metric(number: u16, value: u32) -> RouteMetric {
    match number {
        metric::LOCK => RouteMetric::Lock(value),
        metric::MTU => RouteMetric::Mtu(value),
        metric::ADVMSS => RouteMetric::Advmss(value),
        metric::HOPLIMIT => RouteMetric::Hoplimit(value),
        other => RouteMetric::Other(DefaultNla::new(other, value.to_ne_bytes().to_vec())),
    }
}
