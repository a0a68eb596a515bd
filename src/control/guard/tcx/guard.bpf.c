// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The ingress guard: drops in the kernel exactly the frames that warren forwards itself.
//
// Runs as a tcx ingress program: after the packet taps (so warren's AF_PACKET sockets have seen the frame), before
// netfilter and ip_rcv. The rule it evaluates is the one in the doc comment of `guard/mod.rs`; a test compares the two on
// generated frames. Frames are read with bpf_skb_load_bytes only, so that paged frames (GRO super-frames, jumbo
// frames) are judged as linear ones are.
//
// `words.rs` holds this file compiled; the test `the_words_are_this_source` rebuilds and rewrites it.
// An XDP build of the same rule would change three things: how a frame is read (bpf_xdp_load_bytes), what "addressed to
// this host" means (compare the MAC; there is no pkt_type and no VLAN metadata), and what is returned (redirect, PASS).
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to, __u32 len) =
	(void *)BPF_FUNC_skb_load_bytes;
static __u64 (*const monotonic_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;

// A map is named by a 64-bit constant, which the loader replaces by a descriptor: no ELF relocations to read.
#define MAP(slot)                                                                     \
	({                                                                            \
		void *map;                                                            \
		asm volatile("%0 = %1 ll" : "=r"(map) : "i"(0x77617272656e0000 + slot)); \
		map;                                                                  \
	})
#define LEFT4 MAP(0)   // LPM trie: IPv4 prefixes that stay with the kernel
#define LEFT6 MAP(1)   // LPM trie: the same for IPv6
#define RENEWED MAP(2) // array of one: CLOCK_MONOTONIC ns of the last renewal

#define TO_KERNEL -1 // TCX_NEXT, not yet in the headers of older distributions
#define DROP 2       // TCX_DROP

#define LEASE_NS 1000000000ull
#define ETHERNET 14
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define OPTIONS_MAX 64

struct start {
	struct ethhdr ethernet;
	__u8 ip[IPV4_HEADER];
} __attribute__((packed));

// Copies the `len` (1..64) bytes at `begin`, or as many as the frame has, into `options`, which holds zeros.
static __attribute__((always_inline)) void read_options(const struct __sk_buff *skb, __u64 begin, __u64 len,
							__u8 options[OPTIONS_MAX])
{
	if (skb->len <= begin)
		return;
	if (len > skb->len - begin)
		len = skb->len - begin;
	// The verifier has to see that len is in 1..64; the empty statement keeps the compiler from knowing it already.
	asm volatile("" : "+r"(len));
	len = ((len - 1) & (OPTIONS_MAX - 1)) + 1;
	load_bytes(skb, begin, options, len);
}

// RFC 2113: does the byte 148 stand anywhere in the option area?
static __attribute__((always_inline)) int may_alert4(const struct __sk_buff *skb, __u64 header_len)
{
	__u8 options[OPTIONS_MAX] = {};

	if (header_len <= IPV4_HEADER)
		return 0;
	read_options(skb, ETHERNET + IPV4_HEADER, header_len - IPV4_HEADER, options);
	for (int i = 0; i < OPTIONS_MAX; i++)
		if (options[i] == 148)
			return 1;
	return 0;
}

// RFC 2711: do the bytes 5, 2 stand anywhere behind the first two bytes of the hop-by-hop header?
static __attribute__((always_inline)) int may_alert6(const struct __sk_buff *skb)
{
	__u8 options[OPTIONS_MAX] = {};
	__u8 units; // of 8 bytes, the first not counted

	if (load_bytes(skb, ETHERNET + IPV6_HEADER + 1, &units, 1))
		return 0;
	if (units > 7)
		return 1;
	read_options(skb, ETHERNET + IPV6_HEADER + 2, 8 * units + 6, options);
	for (int i = 0; i + 1 < OPTIONS_MAX; i++)
		if (options[i] == 5 && options[i + 1] == 2)
			return 1;
	return 0;
}

static __attribute__((always_inline)) int claims4(const struct __sk_buff *skb, const struct start *start)
{
	struct {
		__u32 bits;
		__u8 address[4];
	} key = { .bits = 32 };

	__builtin_memcpy(key.address, start->ip + 16, sizeof(key.address));
	return !map_lookup(LEFT4, &key) && !may_alert4(skb, 4 * (start->ip[0] & 15));
}

static __attribute__((always_inline)) int claims6(const struct __sk_buff *skb, const struct start *start)
{
	struct {
		__u32 bits;
		__u8 address[16];
	} key = { .bits = 128 };

	if (load_bytes(skb, ETHERNET + 24, key.address, sizeof(key.address)))
		return 0;
	return !map_lookup(LEFT6, &key) && !(start->ip[6] == 0 && may_alert6(skb));
}

// Warren renews five times a second while all its workers run. Later than LEASE_NS the kernel forwards again.
static __attribute__((always_inline)) int renewed(void)
{
	__u32 first = 0;
	__u64 *at = map_lookup(RENEWED, &first);

	return at && monotonic_ns() <= *at + LEASE_NS;
}

int guard(struct __sk_buff *skb)
{
	struct start start;
	int claimed = 0;

	// The kernel moves a frame's outer VLAN tag to metadata before this point; further tags show as ethertype.
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TO_KERNEL;
	if (load_bytes(skb, 0, &start, sizeof(start)))
		return TO_KERNEL;
	if (start.ethernet.h_proto == __builtin_bswap16(ETH_P_IP))
		claimed = claims4(skb, &start);
	else if (start.ethernet.h_proto == __builtin_bswap16(ETH_P_IPV6))
		claimed = claims6(skb, &start);
	return claimed && renewed() ? DROP : TO_KERNEL;
}
