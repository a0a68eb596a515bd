//! The words of iproute2 for numbers of routes, by the column they stand in. Used where a table becomes text.
//!
//! They are those that iproute2 is built with or ships; names that an administrator adds in /etc/iproute2 are not read.

/// What the numbers of a column are called; `None` where they are just numbers.
pub(super) fn of(column: &str) -> Option<&'static [(u64, &'static str)]> {
    match column {
        "table" => Some(&TABLES),
        "proto" => Some(&PROTOCOLS),
        "scope" => Some(&SCOPES),
        _ => None,
    }
}

const TABLES: [(u64, &str); 4] = [(0, "unspec"), (253, "default"), (254, "main"), (255, "local")];

const SCOPES: [(u64, &str); 5] =
    [(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")];

/// Who made a route. Linux: RTPROT_*
const PROTOCOLS: [(u64, &str); 22] = [
    (0, "unspec"),
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
    (18, "keepalived"),
    (42, "babel"),
    (99, "openr"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
];
