//! Every world in `worlds/`, as manifests, and the table that the node n1 gets for it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod support;

use std::fs;

use dryrun_netpol::{REMOVAL, Table, render};
use insta::{assert_snapshot, glob};

#[test]
fn tables() {
    glob!("worlds/*.yaml", |path| {
        let world = support::parse(&fs::read_to_string(path).unwrap());
        let ruleset = render(&Table::compile(&support::node("n1"), &world));
        assert_snapshot!(ruleset);
        support::load(&ruleset);
    });
}

/// The agent replaces a table with another, and takes it away at the end, whether there is one or not.
#[test]
fn tables_replace_each_other() {
    let world = support::parse(include_str!("worlds/shared-peers.yaml"));
    let ruleset = render(&Table::compile(&support::node("n1"), &world));
    support::load(&format!("{REMOVAL}{ruleset}{ruleset}{REMOVAL}{REMOVAL}"));
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
        .map(|text| render(&Table::compile(&support::node("n1"), &support::parse(text))));
    assert_eq!(there, back);
}
