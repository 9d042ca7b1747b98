//! The manifests in `worlds/`, and the resulting tables of node n1.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod support;

use std::fs;

use dryrun_netpol::{Table, Turn, render};
use insta::{assert_snapshot, glob};

#[test]
fn tables() {
    glob!("worlds/*.yaml", |path| {
        let world = support::parse(&fs::read_to_string(path).unwrap());
        let ruleset = render(&Table::compile(&support::node("n1"), &world), Turn::A);
        assert_snapshot!(ruleset);
        support::load(&ruleset);
    });
}

/// Tables alternate, loading one again is safe, and removal succeeds even if a table does not
/// exist.
#[test]
fn tables_alternate() {
    let world = support::parse(include_str!("worlds/shared-peers.yaml"));
    let ruleset = render(&Table::compile(&support::node("n1"), &world), Turn::A);
    let next = ruleset.replace(&Turn::A.to_string(), &Turn::B.to_string());
    let removal = Turn::ALL.map(Turn::removal).concat();
    support::load(&format!("{removal}{ruleset}{next}{next}{removal}{removal}"));
}

#[test]
fn order_of_objects_does_not_matter() {
    let text = include_str!("worlds/peers.yaml");
    let reversed: Vec<_> = text
        .split("\n---\n")
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let [there, back] = [text, &reversed.join("\n---\n")]
        .map(|text| Table::compile(&support::node("n1"), &support::parse(text)));
    assert_eq!(there, back);
}
