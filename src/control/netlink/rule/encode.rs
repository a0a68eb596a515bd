//! Puts a rule into the library's form, for requests.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::route::RouteRealm;
use netlink_packet_route::rule::{
    RuleAttribute, RuleFlags, RuleHeader, RuleMessage, RulePortRange, RuleUidRange,
};

use super::{
    DSCP_ALL, FRA_DPORT_MASK, FRA_DSCP, FRA_DSCP_MASK, FRA_FLOWLABEL, FRA_FLOWLABEL_MASK, FRA_SPORT_MASK,
    PORT_ALL, PortMatch, RuleAction, RuleMsg, rule_flag,
};

impl RuleMsg {
    pub(in super::super) fn encode(&self) -> RuleMessage {
        let (action, target) = match self.action {
            RuleAction::Table => (1, None),
            RuleAction::Goto(target) => (2, Some(target)),
            RuleAction::Nop => (3, None),
            RuleAction::Blackhole => (6, None),
            RuleAction::Unreachable => (7, None),
            RuleAction::Prohibit => (8, None),
            RuleAction::Other(number) => (number, None),
        };
        let mut message = RuleMessage::default();
        message.header = RuleHeader {
            family: self.family.number().into(),
            dst_len: self.dst.map_or(0, |net| net.prefix_len()),
            src_len: self.src.map_or(0, |net| net.prefix_len()),
            tos: self.tos,
            // The whole number goes into FRA_TABLE, which wins.
            table: u8::try_from(self.table).unwrap_or(0),
            action: u8::into(action),
            flags: RuleFlags::from_bits_retain(self.flags & rule_flag::INVERT),
        };
        let realm = RouteRealm { source: (self.realm >> 16) as u16, destination: self.realm as u16 };
        let attributes = [
            Some(RuleAttribute::Priority(self.priority)),
            (self.table != 0).then_some(RuleAttribute::Table(self.table)),
            target.map(RuleAttribute::Goto),
            self.dst.map(|net| RuleAttribute::Destination(net.network())),
            self.src.map(|net| RuleAttribute::Source(net.network())),
            self.iif.clone().map(RuleAttribute::Iifname),
            self.oif.clone().map(RuleAttribute::Oifname),
            (self.fwmark != 0).then_some(RuleAttribute::FwMark(self.fwmark)),
            (self.fwmask != 0).then_some(RuleAttribute::FwMask(self.fwmask)),
            (self.realm != 0).then_some(RuleAttribute::Realm(realm)),
            (self.tun_id != 0).then_some(RuleAttribute::TunId(self.tun_id)),
            self.suppress_ifgroup.map(RuleAttribute::SuppressIfGroup),
            self.suppress_prefixlen.map(RuleAttribute::SuppressPrefixLen),
            self.l3mdev.then_some(RuleAttribute::L3MDev(true)),
            self.uids.map(|(start, end)| RuleAttribute::UidRange(RuleUidRange { start, end })),
            (self.protocol != 0).then(|| RuleAttribute::Protocol(self.protocol.into())),
            (self.ip_proto != 0).then(|| RuleAttribute::IpProtocol(i32::from(self.ip_proto).into())),
            self.sport.map(|port| RuleAttribute::SourcePortRange(port.encode())),
            self.dport.map(|port| RuleAttribute::DestinationPortRange(port.encode())),
        ];
        message.attributes.extend(attributes.into_iter().flatten());
        message.attributes.extend(self.newer().map(RuleAttribute::Other));
        message
    }

    /// Matchers that the library does not know. A mask of all bits is left out, for kernels that lack masks; only the flow label's is
    /// demanded (Linux fib6_nl2rule_flowlabel).
    fn newer(&self) -> impl Iterator<Item = DefaultNla> {
        let port_mask = |kind, port: Option<PortMatch>| {
            port.filter(|p| p.mask != PORT_ALL).map(|p| DefaultNla::new(kind, p.mask.to_ne_bytes().to_vec()))
        };
        let byte = |kind, value: u8| DefaultNla::new(kind, vec![value]);
        let label = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
        [
            self.dscp.map(|(value, _)| byte(FRA_DSCP, value)),
            self.dscp.filter(|(_, mask)| *mask != DSCP_ALL).map(|(_, mask)| byte(FRA_DSCP_MASK, mask)),
            self.flow_label.map(|(value, _)| label(FRA_FLOWLABEL, value)),
            self.flow_label.map(|(_, mask)| label(FRA_FLOWLABEL_MASK, mask)),
            port_mask(FRA_SPORT_MASK, self.sport),
            port_mask(FRA_DPORT_MASK, self.dport),
        ]
        .into_iter()
        .flatten()
    }
}

impl PortMatch {
    fn encode(self) -> RulePortRange {
        RulePortRange { start: self.start, end: self.end }
    }
}
