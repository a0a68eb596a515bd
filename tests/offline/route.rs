//! `warren route get`: the answer and how it came about, as recorded in `snapshots/`.

use crate::lab::Lab;

fn get(words: &str) -> String {
    Lab::new(&[]).prints(&format!("route get {words} -s s.toml"))
}

#[test]
fn a_gateway_of_ipv6() {
    insta::assert_snapshot!(get("2001:db8:9::1 from 2001:db8:1::9 iif p0"));
}

#[test]
fn one_of_two_gateways() {
    insta::assert_snapshot!(get("10.7.0.5 from 10.0.1.9 iif p0"));
}

#[test]
fn an_address_of_the_box() {
    insta::assert_snapshot!(get("10.0.2.1"));
}

#[test]
fn a_rule_that_prohibits() {
    let lab = Lab::new(&[]);
    let out = lab.run("route get 10.9.0.1 from 10.66.1.1 iif p0 -s s.toml");
    assert_eq!(out.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(out.stdout).unwrap());
    assert_eq!(String::from_utf8(out.stderr).unwrap(), "warren: 10.9.0.1: prohibited\n");
}

#[test]
fn the_object_names_the_way() {
    let object = Lab::new(&[]).json("route get 10.9.3.4 -s s.toml");
    assert_eq!((&object["dev"], &object["gateway"]), (&"p1".into(), &"10.0.2.9".into()));
    assert_eq!((&object["prefix_len"], &object["table"]), (&16.into(), &254.into()));
}
