//! The sysctls that forwarding reads, with the running kernel's defaults, and the rules by which `all` and a
//! device's own value combine. Filled by `state::Writer`, read by `forward/`. Names are those of /proc/sys/net.

/// A sysctl that cannot be set as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    /// No such name among those that forwarding reads.
    #[error("sysctl {0}: not one that forwarding reads")]
    Unknown(String),
    /// The device in the name does not exist.
    #[error("sysctl {0}: no such interface")]
    NoInterface(String),
}

macro_rules! sysctls {
    ($(#[$meta:meta])* $name:ident { $($(#[$fm:meta])* $field:ident = $default:literal)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs, reason = "fields are the kernel's own names")]
        pub struct $name { $($(#[$fm])* pub $field: i64),* }

        impl Default for $name {
            fn default() -> Self { $name { $($field: $default),* } }
        }

        impl $name {
            /// Every name with the kernel's default.
            pub const NAMES: &'static [(&'static str, i64)] = &[$((stringify!($field), $default)),*];

            /// Sets by name; `None` if there is no such name.
            pub fn set(&mut self, name: &str, value: i64) -> Option<()> {
                match name { $(stringify!($field) => self.$field = value,)* _ => return None }
                Some(())
            }

            /// The value by name.
            pub fn get(&self, name: &str) -> Option<i64> {
                match name { $(stringify!($field) => Some(self.$field),)* _ => None }
            }
        }
    };
}

sysctls! {
    /// `net.ipv4.conf.DEV.*`
    Conf4 {
        forwarding = 0 mc_forwarding = 0 bc_forwarding = 0 accept_source_route = 1 rp_filter = 0
        accept_local = 0 route_localnet = 0 log_martians = 0 accept_redirects = 1 send_redirects = 1
        shared_media = 1 secure_redirects = 1 proxy_arp = 0 src_valid_mark = 0
        ignore_routes_with_linkdown = 0 drop_unicast_in_l2_multicast = 0 promote_secondaries = 0
        disable_policy = 0 disable_xfrm = 0
    }
}

sysctls! {
    /// `net.ipv6.conf.DEV.*`
    Conf6 {
        forwarding = 0 force_forwarding = 0 mc_forwarding = 0 proxy_ndp = 0 ignore_routes_with_linkdown = 0
        disable_ipv6 = 0 mtu = 1500 hop_limit = 64 accept_source_route = 0 seg6_enabled = 0
        seg6_require_hmac = 0 rpl_seg_enabled = 0 ioam6_enabled = 0 ioam6_id = 65535
        drop_unicast_in_l2_multicast = 0 disable_policy = 0 accept_redirects = 1 ndisc_tclass = 0
        router_probe_interval = 60 use_oif_addrs_only = 0 use_tempaddr = 0 use_optimistic = 0
        keep_addr_on_down = 0 accept_dad = 1 accept_ra = 1 router_solicitations = -1 addr_gen_mode = 0
    }
}

sysctls! {
    /// `net.ipv4.*` that is not per device. The global credit and the redirect timers exist once per machine.
    Global4 {
        ip_forward = 0 ip_default_ttl = 64 ip_forward_use_pmtu = 0 ip_no_pmtu_disc = 0
        ip_forward_update_priority = 1
        icmp_ratelimit = 1000 icmp_ratemask = 0x1818 icmp_msgs_per_sec = 1000 icmp_msgs_burst = 50
        icmp_errors_use_inbound_ifaddr = 0 icmp_echo_ignore_all = 0 icmp_echo_ignore_broadcasts = 1
        fib_multipath_hash_policy = 0 fib_multipath_hash_fields = 7 fib_multipath_hash_seed = 0
        fib_multipath_use_neigh = 0 fwmark_reflect = 0
    }
}

sysctls! {
    /// `net.ipv6.*` that is not per device; `icmp.ratemask` is the bitmap `ratemask` below.
    Global6 {
        max_hbh_opts_number = 8 max_hbh_length = 2147483647 max_dst_opts_number = 8
        max_dst_opts_length = 2147483647 fib_multipath_hash_policy = 0 fib_multipath_hash_fields = 7
        auto_flowlabels = 1 flowlabel_state_ranges = 0 flowlabel_reflect = 0 fwmark_reflect = 0
        anycast_src_echo_reply = 0 icmp_ratelimit = 100 icmp_echo_ignore_all = 0
        icmp_echo_ignore_multicast = 0 icmp_echo_ignore_anycast = 0 icmp_error_anycast_as_unicast = 0
    }
}

sysctls! {
    /// `net.ipv4.neigh.DEV.*` and `net.ipv6.neigh.DEV.*`, times in milliseconds.
    NeighConf { mcast_solicit = 3 retrans_time_ms = 1000 unres_qlen_bytes = 212992 delay_first_probe_time = 5 }
}

/// A set of ICMPv6 types, one bit each (`net.ipv6.icmp.ratemask`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateMask6(pub [u64; 4]);

impl Default for RateMask6 {
    /// The kernel's default "0-1,3-127": all errors but Packet Too Big.
    fn default() -> Self {
        RateMask6([!(1 << 2), u64::MAX, 0, 0])
    }
}

impl RateMask6 {
    /// Whether errors of this type are limited.
    pub fn contains(&self, kind: u8) -> bool {
        self.0.get(usize::from(kind / 64)).is_some_and(|w| w & (1 << (kind % 64)) != 0)
    }

    /// Parses the kernel's list form, such as `0-1,3-127`; empty means no type.
    pub fn parse(list: &str) -> Option<RateMask6> {
        let mut mask = RateMask6([0; 4]);
        for part in list.trim().split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            for bit in first.trim().parse::<u8>().ok()?..=last.trim().parse::<u8>().ok()? {
                if let Some(w) = mask.0.get_mut(usize::from(bit / 64)) {
                    *w |= 1 << (bit % 64);
                }
            }
        }
        Some(mask)
    }
}

/// All sysctls that are not one device's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctl {
    /// `net.ipv4.*`
    pub ip4: Global4,
    /// `net.ipv6.*`
    pub ip6: Global6,
    /// `net.ipv6.icmp.ratemask`
    pub ratemask6: RateMask6,
    /// `net.ipv4.conf.all.*`
    pub all4: Conf4,
    /// `net.ipv6.conf.all.*`
    pub all6: Conf6,
    /// `net.ipv4.conf.default.*`, the start values of new devices.
    pub default4: Conf4,
    /// `net.ipv6.conf.default.*`
    pub default6: Conf6,
}

impl Conf4 {
    /// The values of `conf/all` at the start: unlike devices, it refuses source routes.
    pub fn all_default() -> Conf4 {
        Conf4 { accept_source_route: 0, ..Conf4::default() }
    }
}

/// How `all` and the device's value combine (`IN_DEV_ANDCONF`, `IN_DEV_ORCONF`, `IN_DEV_MAXCONF`).
pub mod combine {
    /// Both must be set: bc_forwarding, accept_source_route, mc_forwarding.
    pub fn and(all: i64, dev: i64) -> bool {
        all != 0 && dev != 0
    }
    /// Either suffices: accept_local, route_localnet, send_redirects, shared_media, log_martians.
    pub fn or(all: i64, dev: i64) -> bool {
        all != 0 || dev != 0
    }
    /// The stricter counts: rp_filter.
    pub fn max(all: i64, dev: i64) -> i64 {
        all.max(dev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_and_reads_itself() {
        let mut c = Conf6::default();
        for (i, (name, default)) in Conf6::NAMES.iter().enumerate() {
            assert_eq!(c.get(name), Some(*default));
            assert_eq!(c.set(name, 1000 + i as i64), Some(()));
        }
        for (i, (name, _)) in Conf6::NAMES.iter().enumerate() {
            assert_eq!(c.get(name), Some(1000 + i as i64));
        }
        assert_eq!((c.set("no_such", 1), c.get("no_such")), (None, None));
    }

    #[test]
    fn default_ratemask_is_the_kernels_list() {
        assert_eq!(RateMask6::parse("0-1,3-127"), Some(RateMask6::default()));
        assert_eq!(RateMask6::parse(""), Some(RateMask6([0; 4])));
        assert_eq!(RateMask6::parse("300"), None);
        let d = RateMask6::default();
        assert!(d.contains(1) && d.contains(127) && !d.contains(2) && !d.contains(128) && !d.contains(255));
    }
}
