//! Framing and error answers, on bytes as the kernel sends them. What needs a kernel is in `tests/netlink_*.rs`.

use super::*;

fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut head = NetlinkHeader::default();
    (head.length, head.message_type, head.flags) = (16 + payload.len() as u32, kind, flags);
    let mut bytes = vec![0; 16];
    head.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// The error of one answer in words, or `None` for success.
fn words(kind: u16, flags: u16, payload: &[u8]) -> Option<String> {
    let bytes = message(kind, flags, payload);
    let read = messages(&bytes).next().unwrap();
    verdict(&|| "add route 10.0.0.0/8".to_owned(), &read).err().map(|error| error.to_string())
}

fn explanation() -> Vec<u8> {
    let mut tlv = vec![24, 0, 1, 0];
    tlv.extend(b"No such nexthop\0");
    tlv.extend([0; 4]);
    tlv
}

#[test]
fn success_is_no_error() {
    assert_eq!(words(NLMSG_ERROR, 0, &[0; 20]), None);
    assert_eq!(words(NLMSG_DONE, 0, &[0; 4]), None);
}

#[test]
fn the_kernels_explanation_is_found_behind_a_capped_and_a_full_echo() {
    let expected =
        Some("add route 10.0.0.0/8: No such nexthop (Network is unreachable (os error 101))".to_owned());
    let code = (-101i32).to_ne_bytes();
    let echo = message(24, 0, &[9; 9]); // 25 bytes, so three bytes of padding
    let capped = [&code[..], &echo[..16], &explanation()].concat();
    assert_eq!(words(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, &capped), expected);
    let full = [&code[..], &echo, &[0; 3], &explanation()].concat();
    assert_eq!(words(NLMSG_ERROR, NLM_F_ACK_TLVS, &full), expected);
    let done = [&code[..], &explanation()].concat();
    assert_eq!(words(NLMSG_DONE, NLM_F_ACK_TLVS, &done), expected);
    let bare = Some("add route 10.0.0.0/8: Network is unreachable (os error 101)".to_owned());
    assert_eq!(words(NLMSG_ERROR, NLM_F_CAPPED, &capped), bare, "without the flag there is nothing to read");
}

#[test]
fn framing_stops_at_lengths_that_lie() {
    let mut two = message(24, 0, &[1; 5]);
    two.extend([0; 3]);
    two.extend(message(25, 0, &[2; 4]));
    assert_eq!(messages(&two).map(|m| m.message_type()).collect::<Vec<_>>(), [24, 25]);
    for lie in [0u32, 15, 1000, u32::MAX] {
        let mut bytes = message(24, 0, &[1; 8]);
        bytes[..4].copy_from_slice(&lie.to_ne_bytes());
        assert_eq!(messages(&bytes).count(), 0, "{lie}");
    }
}

#[test]
fn reading_answers_is_total() {
    bolero::check!().with_type::<(bool, u16, Vec<u8>)>().for_each(|(done, flags, bytes)| {
        for read in messages(bytes) {
            let _ = verdict(&String::new, &read);
        }
        let _ = words(if *done { NLMSG_DONE } else { NLMSG_ERROR }, *flags, bytes);
    });
}
