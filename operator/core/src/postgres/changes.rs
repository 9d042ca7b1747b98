//! Changes of the catalog and of privileges by the scenarios, compared with those that are
//! declared.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::matrix;
use super::row_set::{Rows, unescape};
use crate::api::{CatalogChange, CatalogChanges};
use crate::digest;
use crate::run::facts::{ChangeFacts, PrivilegeRow};

/// Name of the file in the evidence that lists all changes.
pub const DIFF: &str = "catalog.diff";
/// Maximum number of objects that may change in a run.
pub const MAX_OBJECTS: u64 = 10_000;
/// Kind of what changed in privileges.
const PRIVILEGE: &str = "privilege";
/// Grantee in place of a role of the run itself, whose name is another in every run.
const OPERATOR: &str = "(operator)";
/// Maximum number of undeclared objects in the facts.
const UNDECLARED_SHOWN: usize = 100;
/// Maximum number of unused declarations in the facts.
const MISSING_SHOWN: usize = 20;
/// Characters of an object in the facts: signatures have no bound.
const LENGTH: usize = 256;

/// Every object that changed, with its definitions before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<Object, Change>);

/// A kind and an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    identity: String,
}

/// Definitions: none where the object is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Change {
    before: Vec<String>,
    after: Vec<String>,
}

/// Changes judged by what is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those of the catalog.
    pub catalog: ChangeFacts,
    /// Those of privileges.
    pub privileges: ChangeFacts,
    accepted: BTreeSet<Object>,
}

impl Changes {
    /// Compares two readings of the catalog.
    pub fn of_catalog(before: &Rows, after: &Rows) -> Self {
        let plain = |text: &str| unescape(text).unwrap_or_else(|| text.to_owned());
        let (old, new) = (before.by_identity(), after.by_identity());
        let mut changes = Self::default();
        for row in before.differing(after, None) {
            let (kind, identity) = row.split_once('\t').unwrap_or(("", row));
            let definitions = |of: &BTreeMap<&str, Vec<&str>>| {
                let found = of.get(row).into_iter().flatten();
                found.map(|definition| plain(definition)).collect()
            };
            let object = Object {
                kind: plain(kind),
                identity: plain(identity),
            };
            let change = Change {
                before: definitions(&old),
                after: definitions(&new),
            };
            changes.0.insert(object, change);
        }
        changes
    }

    /// Adds what differs between two readings of the privileges; `own` are the roles of the run.
    /// What the catalog shows, too, is left to it.
    #[must_use]
    pub fn and_privileges(
        mut self,
        before: &BTreeSet<PrivilegeRow>,
        after: &BTreeSet<PrivilegeRow>,
        own: &BTreeSet<String>,
    ) -> Self {
        for row in before.symmetric_difference(after) {
            if matrix::is_definition(row) {
                continue;
            }
            let change = self.0.entry(object(row, own)).or_default();
            let definitions = if before.contains(row) {
                &mut change.before
            } else {
                &mut change.after
            };
            let option = if row.grantable { "grantable" } else { "" };
            definitions.push(option.to_owned());
        }
        self
    }

    /// All changes in a form to be read: sorted, the same for the same changes, and so what a
    /// digest of it pins.
    ///
    /// A line per object, with `+`, `-` or `~` for one that was made, dropped or changed; below it
    /// the lines of its definition that differ.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (Object { kind, identity }, Change { before, after }) in &self.0 {
            let sign = match (before.is_empty(), after.is_empty()) {
                (true, _) => '+',
                (_, true) => '-',
                (false, false) => '~',
            };
            // Identities may hold line breaks, and no line may look like another object's.
            let identity = identity.replace('\n', "\\n");
            let _ = writeln!(text, "{sign} {kind} {identity}");
            let (old, new) = (lines(before), lines(after));
            for (sign, line) in differing(&old, &new) {
                let _ = writeln!(text, "    {sign} {line}");
            }
        }
        text
    }

    /// sha256 of the text, in hex.
    pub fn digest(&self) -> String {
        digest::hex(&Sha256::digest(self.to_text()))
    }

    /// Judges the changes. Where all of them are to be recorded, or are pinned by their digest,
    /// every change is accepted.
    pub fn judge(&self, declared: &CatalogChanges) -> Judged {
        let pinned = declared
            .sha256
            .as_ref()
            .map(|sha256| *sha256 == self.digest());
        let whole = declared.record || pinned == Some(true);
        let mut patterns = Patterns::of(&declared.objects);
        let mut judged = Judged::default();
        let mut undeclared: [Vec<String>; 2] = Default::default();
        for object in self.0.keys() {
            let of_privilege = object.kind == PRIVILEGE;
            judged.facts(of_privilege).changed += 1;
            if patterns.allow(object) || whole {
                judged.accepted.insert(object.clone());
            } else {
                undeclared[usize::from(of_privilege)].push(object.shown());
            }
        }
        for (of_privilege, names) in [false, true].into_iter().zip(undeclared) {
            let facts = judged.facts(of_privilege);
            facts.undeclared_count = names.len() as u64;
            facts.undeclared = names.into_iter().take(UNDECLARED_SHOWN).collect();
        }
        for (of_privilege, complaint) in patterns.complaints() {
            let facts = judged.facts(of_privilege);
            facts.missing_count += 1;
            if facts.missing.len() < MISSING_SHOWN {
                facts.missing.push(complaint);
            }
        }
        judged
    }
}

impl Judged {
    fn facts(&mut self, of_privilege: bool) -> &mut ChangeFacts {
        if of_privilege {
            &mut self.privileges
        } else {
            &mut self.catalog
        }
    }

    /// The privileges as they were found, less the changes that are accepted or that the catalog
    /// shows: what the matrix must still be.
    pub fn undone(
        &self,
        before: &BTreeSet<PrivilegeRow>,
        after: &BTreeSet<PrivilegeRow>,
        own: &BTreeSet<String>,
    ) -> BTreeSet<PrivilegeRow> {
        let accepted = |row: &&PrivilegeRow| {
            matrix::is_definition(row) || self.accepted.contains(&object(row, own))
        };
        let kept = after
            .iter()
            .filter(|row| before.contains(row) || !accepted(row));
        let back = before.difference(after).filter(accepted);
        kept.chain(back).cloned().collect()
    }
}

impl Object {
    fn shown(&self) -> String {
        let name = format!("{} {}", self.kind, self.identity);
        name.chars().take(LENGTH).collect()
    }
}

/// The declarations, with how many changes each has matched. Those without `*` are found by their
/// name.
struct Patterns<'a> {
    literal: BTreeMap<(&'a str, &'a str), Vec<usize>>,
    wild: Vec<(usize, Pieces<'a>, Pieces<'a>)>,
    matched: Vec<(&'a CatalogChange, u64)>,
}

/// Pieces of a text around each `*`.
type Pieces<'a> = Vec<&'a str>;

impl<'a> Patterns<'a> {
    fn of(declared: &'a [CatalogChange]) -> Self {
        let mut patterns = Self {
            literal: BTreeMap::new(),
            wild: Vec::new(),
            matched: declared.iter().map(|change| (change, 0)).collect(),
        };
        for (i, change) in declared.iter().enumerate() {
            let (kind, identity) = (change.kind.as_str(), change.identity.as_str());
            // An operator's name may hold a `*`, too.
            patterns
                .literal
                .entry((kind, identity))
                .or_default()
                .push(i);
            if kind.contains('*') || identity.contains('*') {
                let pieces = |text: &'a str| text.split('*').collect();
                patterns.wild.push((i, pieces(kind), pieces(identity)));
            }
        }
        patterns
    }

    /// Counts the object for each declaration that names it. Returns true if one does.
    fn allow(&mut self, object: &Object) -> bool {
        let name = (object.kind.as_str(), object.identity.as_str());
        let literal = self.literal.get(&name).into_iter().flatten().copied();
        let wild = self.wild.iter().filter(|(_, kind, identity)| {
            is_like(kind, &object.kind) && is_like(identity, &object.identity)
        });
        let matching: BTreeSet<usize> = literal.chain(wild.map(|(i, ..)| *i)).collect();
        for i in &matching {
            self.matched[*i].1 += 1;
        }
        !matching.is_empty()
    }

    /// The declarations that match nothing, or another number than they must, and whether they are
    /// about privileges.
    fn complaints(&self) -> impl Iterator<Item = (bool, String)> {
        self.matched.iter().filter_map(|(change, matched)| {
            let name = format!("{} {}", change.kind, change.identity);
            let complaint = match change.expect_objects {
                Some(expected) if u64::from(expected) != *matched => {
                    format!("{name} matches {matched}, expectObjects is {expected}")
                }
                None if *matched == 0 => name,
                Some(_) | None => return None,
            };
            Some((change.kind == PRIVILEGE, complaint))
        })
    }
}

/// Returns true for a text of these pieces, with anything in between.
fn is_like(pieces: &[&str], text: &str) -> bool {
    match pieces {
        [whole] => *whole == text,
        _ => matrix::matches(pieces, text),
    }
}

/// A privilege as an object that changes.
fn object(row: &PrivilegeRow, own: &BTreeSet<String>) -> Object {
    let identity = if own.contains(&row.grantee) {
        let grantee = OPERATOR.to_owned();
        matrix::described(&PrivilegeRow {
            grantee,
            ..row.clone()
        })
    } else {
        matrix::described(row)
    };
    Object {
        kind: PRIVILEGE.to_owned(),
        identity,
    }
}

fn lines(definitions: &[String]) -> Vec<&str> {
    let lines = definitions.iter().flat_map(|text| text.lines());
    lines.filter(|line| !line.is_empty()).collect()
}

/// The lines that only one of two texts has, old ones first; all of them when they differ in their
/// order alone.
fn differing<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let only = |sign: char, of: &[&'a str], other: &[&'a str]| -> Vec<(char, &'a str)> {
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for line in other {
            *left.entry(line).or_default() += 1;
        }
        let is_new = |line: &&&str| match left.get_mut(**line) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            Some(_) | None => true,
        };
        of.iter().filter(is_new).map(|line| (sign, *line)).collect()
    };
    let lines = [only('-', old, new), only('+', new, old)].concat();
    if !lines.is_empty() {
        return lines;
    }
    let all = |sign: char, of: &[&'a str]| of.iter().map(|line| (sign, *line)).collect::<Vec<_>>();
    [all('-', old), all('+', new)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(of: &[(&str, &str, &str)]) -> Rows {
        let mut rows = Rows::default();
        for (kind, identity, definition) in of {
            rows.insert(&[kind, identity], definition);
        }
        rows
    }

    fn privilege(class: &str, object: &str, grantee: &str, privilege: &str) -> PrivilegeRow {
        PrivilegeRow {
            class: class.into(),
            object: object.into(),
            grantee: grantee.into(),
            privilege: privilege.into(),
            grantable: false,
            sign: "+".into(),
        }
    }

    fn own() -> BTreeSet<String> {
        ["dryrun_1".to_owned()].into()
    }

    /// A migration that makes a table, adds a column and drops an index.
    fn migration() -> Changes {
        let before = rows(&[
            (
                "relation",
                "public.item",
                "table\nid integer\namount integer",
            ),
            (
                "index",
                "public.old",
                "CREATE INDEX old ON public.item USING btree (id)",
            ),
            ("schema", "public", ""),
        ]);
        let after = rows(&[
            (
                "relation",
                "public.item",
                "table\nid integer\namount bigint\nnote text",
            ),
            ("relation", "public.\"a\tb\"", "table"),
            ("schema", "public", ""),
        ]);
        let owner = privilege("owner_table", "public.\"a\tb\"", "app", "OWNER");
        let trusted = privilege("owner_function", "public.f()", "dryrun_1", "OWNER");
        let secdef = privilege("secdef", "public.f()", "dryrun_1", "SECURITY DEFINER");
        Changes::of_catalog(&before, &after).and_privileges(
            &BTreeSet::new(),
            &[owner, trusted, secdef].into(),
            &own(),
        )
    }

    fn declaring(objects: &[(&str, &str, Option<u32>)]) -> CatalogChanges {
        let change = |(kind, identity, expect_objects): &(&str, &str, _)| CatalogChange {
            kind: (*kind).into(),
            identity: (*identity).into(),
            expect_objects: *expect_objects,
        };
        CatalogChanges {
            objects: objects.iter().map(change).collect(),
            ..CatalogChanges::default()
        }
    }

    #[test]
    fn the_text_is_sorted_and_shows_what_differs() {
        let expected = "\
- index public.old
    - CREATE INDEX old ON public.item USING btree (id)
+ privilege OWNER on function:public.f() to (operator)
+ privilege OWNER on table:public.\"a\tb\" to app
+ relation public.\"a\tb\"
    + table
~ relation public.item
    - amount integer
    + amount bigint
    + note text
";
        assert_eq!(migration().to_text(), expected);
        assert_eq!(Changes::default().to_text(), "");
    }

    #[test]
    fn another_order_is_shown_whole() {
        let of = |definition| rows(&[("type", "public.e", definition)]);
        let text = Changes::of_catalog(&of("a\nb"), &of("b\na")).to_text();
        assert_eq!(
            text,
            "~ type public.e\n    - a\n    - b\n    + b\n    + a\n"
        );
    }

    #[test]
    fn a_change_is_declared_by_its_name_or_by_a_pattern_with_a_number() {
        let judged = migration().judge(&declaring(&[
            ("relation", "public.*", Some(2)),
            ("index", "public.old", None),
            ("privilege", "OWNER on * to *", Some(2)),
        ]));
        for facts in [&judged.catalog, &judged.privileges] {
            assert_eq!(
                (facts.undeclared_count, facts.missing_count),
                (0, 0),
                "{judged:?}"
            );
        }
        assert_eq!((judged.catalog.changed, judged.privileges.changed), (3, 2));

        let judged = migration().judge(&declaring(&[
            ("relation", "public.*", Some(3)),
            ("index", "public.older", None),
            ("privilege", "OWNER on table:public.\"a\tb\" to app", None),
        ]));
        assert_eq!(judged.catalog.undeclared, ["index public.old"]);
        assert_eq!(
            judged.catalog.missing,
            [
                "relation public.* matches 2, expectObjects is 3",
                "index public.older"
            ]
        );
        assert_eq!(
            judged.privileges.undeclared,
            ["privilege OWNER on function:public.f() to (operator)"]
        );
    }

    #[test]
    fn ten_thousand_changes_can_be_declared_one_by_one() {
        let names: Vec<String> = (0..10_000).map(|n| format!("public.i{n}")).collect();
        let (mut after, mut declared) = (Rows::default(), CatalogChanges::default());
        for name in &names {
            after.insert(&["index", name], "CREATE INDEX");
            declared
                .objects
                .extend(declaring(&[("index", name, None)]).objects);
        }
        let changes = Changes::of_catalog(&Rows::default(), &after);
        let judged = changes.judge(&declared);
        assert_eq!(
            (judged.catalog.changed, judged.catalog.undeclared_count),
            (10_000, 0)
        );
        let judged = changes.judge(&CatalogChanges::default());
        assert_eq!(judged.catalog.undeclared_count, 10_000);
        assert_eq!(judged.catalog.undeclared.len(), UNDECLARED_SHOWN);
    }

    #[test]
    fn a_digest_pins_every_definition() {
        let changes = migration();
        let pinned = CatalogChanges {
            sha256: Some(changes.digest()),
            ..CatalogChanges::default()
        };
        assert_eq!(changes.judge(&pinned).catalog.undeclared_count, 0);
        let mut others = changes;
        for change in others.0.values_mut() {
            change.after.push("more".into());
        }
        let judged = others.judge(&pinned);
        assert_eq!(
            (
                judged.catalog.undeclared_count,
                judged.privileges.undeclared_count
            ),
            (3, 2)
        );
    }

    #[test]
    fn accepted_changes_of_privileges_are_undone_before_the_matrix_is_judged() {
        let select = privilege("table", "public.item", "app", "SELECT");
        let owner = privilege("owner_table", "public.new", "app", "OWNER");
        let update = privilege("table", "public.item", "app", "UPDATE");
        let policy = privilege("policy", "public.item.own", "app", "PERMISSIVE r");
        let before: BTreeSet<_> = [select.clone()].into();
        let after: BTreeSet<_> = [owner, update.clone(), policy].into();
        let changes = Changes::default().and_privileges(&before, &after, &own());
        let judged = changes.judge(&declaring(&[
            ("privilege", "OWNER on table:public.new to app", None),
            ("privilege", "SELECT on table:public.item to app", None),
        ]));
        assert_eq!(
            judged.undone(&before, &after, &own()),
            [select, update].into()
        );
    }

    proptest! {
        #[test]
        fn the_text_does_not_depend_on_the_order_of_reading(mut list in prop::collection::vec(("[ab]{1,2}", "[ab\n]{0,4}"), 0..8)) {
            let build = |list: &[(String, String)]| {
                let mut rows = Rows::default();
                list.iter().for_each(|(identity, value)| rows.insert(&["kind", identity], value));
                Changes::of_catalog(&Rows::default(), &rows).to_text()
            };
            let text = build(&list);
            list.reverse();
            prop_assert_eq!(build(&list), text);
        }
    }
}
