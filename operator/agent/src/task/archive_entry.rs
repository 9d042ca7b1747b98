//! Entries of an archive's table of contents, and the catalog rows that are theirs.

/// Words of `pg_restore` before the number of an entry whose restore failed.
const FAILED: &str = "pg_restore: from TOC entry ";
/// Kinds of entries whose tag names a table and something on it.
const ON_TABLES: [&str; 7] = [
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "POLICY",
    "RULE",
    "TRIGGER",
];
/// Kinds of entries that say something of another object, which they name with its kind, and the
/// kinds of its catalog rows.
const REMARKS: [(&str, &str); 2] = [("COMMENT", "comment"), ("SECURITY LABEL", "security label")];

/// An entry, such as `INDEX public c_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its kind, in capitals.
    kind: String,
    /// Its schema; `-` if it is in none.
    schema: String,
    /// Its name, and for what is on a table that of the table before it.
    tag: String,
}

impl Entry {
    /// The entry of a line of the table of contents, behind the numbers: kind, schema, tag and
    /// owner.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let is_word =
            |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        let kind: Vec<&str> = line.split(' ').take_while(is_word).collect();
        let kind = kind.join(" ");
        let (schema, rest) = line.get(kind.len() + 1..)?.split_once(' ')?;
        let (tag, _owner) = rest.rsplit_once(' ')?;
        Some(Self {
            kind,
            schema: schema.to_owned(),
            tag: tag.to_owned(),
        })
    }

    pub(super) fn to_text(&self) -> String {
        format!("{} {} {}", self.kind, self.schema, self.tag)
    }

    /// Returns true for a row of the catalog, given by the fields of its identity, that is about an
    /// object of the entry.
    pub(super) fn covers(&self, row: &str) -> bool {
        let Some((kind, identity)) = row.split_once('\t') else {
            return false;
        };
        let plain = |text: &str| text.replace('"', "").replace(", ", ",");
        let identity = plain(identity);
        if self.kind.starts_with("DATABASE") {
            return kind == "setting" || identity == "database";
        }
        let in_schema = |name: &str| match self.schema.as_str() {
            "-" => plain(name),
            schema => plain(&format!("{schema}.{name}")),
        };
        let is_named = |name: &str| identity == name || identity.ends_with(&format!(" {name}"));
        if let Some((_, remark)) = REMARKS.iter().find(|(entry, _)| *entry == self.kind) {
            let is_word = |word: &&str| word.bytes().all(|b| b.is_ascii_uppercase());
            let name = self.tag.split(' ').skip_while(is_word).collect::<Vec<_>>();
            return kind == *remark && is_named(&in_schema(&name.join(" ")));
        }
        if !ON_TABLES.contains(&self.kind.as_str()) {
            let name = in_schema(&self.tag);
            return is_named(&name)
                || identity.starts_with(&format!("{name}."))
                || identity.contains(&format!(" {name}."));
        }
        let of_index = self
            .tag
            .split_once(' ')
            .is_some_and(|(_, index)| self.kind == "CONSTRAINT" && is_named(&in_schema(index)));
        of_index || is_named(&in_schema(&self.tag.replacen(' ', ".", 1)))
    }
}

/// The number of the entry whose restore failed, if that is what a line of `pg_restore` says.
pub(super) fn failed(line: &str) -> Option<u32> {
    let (number, _) = line.strip_prefix(FAILED)?.split_once(';')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_covers_what_it_makes_and_nothing_else() {
        for (line, covered, other) in [
            (
                "INDEX public c_key app",
                "index\tpublic.c_key",
                "index\tpublic.c_key2",
            ),
            (
                "INDEX public c_key app",
                "option\tindex public.c_key",
                "index\tother.c_key",
            ),
            (
                "TABLE public Odd Name app",
                "relation\tpublic.\"Odd Name\"",
                "relation\tpublic.odd",
            ),
            (
                "TABLE public item app",
                "default\tpublic.item.id",
                "relation\tpublic.items",
            ),
            (
                "TABLE public item app",
                "option\ttrigger public.item.t",
                "comment\ttable old.item",
            ),
            (
                "CONSTRAINT public item item_pkey app",
                "index\tpublic.item_pkey",
                "relation\tpublic.item",
            ),
            (
                "FK CONSTRAINT iu event event_fk app",
                "constraint\tiu.event.event_fk",
                "index\tiu.event_fk",
            ),
            (
                "FUNCTION iu f(text, integer) app",
                "routine\tiu.f(text,integer)",
                "routine\tiu.f(text)",
            ),
            (
                "POLICY iu private own app",
                "policy\tiu.private.own",
                "relation\tiu.private",
            ),
            (
                "TRIGGER iu unit touch app",
                "option\ttrigger iu.unit.touch",
                "routine\tiu.touch()",
            ),
            (
                "MATERIALIZED VIEW DATA public turnover app",
                "filled matview\tpublic.turnover",
                "view\tpublic.over",
            ),
            (
                "COMMENT iu COLUMN unit.note app",
                "comment\ttable column iu.unit.note",
                "relation\tiu.unit",
            ),
            (
                "EXTENSION - hstore ",
                "extension\thstore",
                "extension\thstore_plperl",
            ),
            (
                "DATABASE PROPERTIES - shop app",
                "setting\tapp_reader",
                "relation\tpublic.shop",
            ),
        ] {
            let entry = Entry::parse(line).unwrap();
            assert!(entry.covers(covered), "{entry:?} {covered}");
            assert!(!entry.covers(other), "{entry:?} {other}");
        }
    }

    #[test]
    fn a_failure_names_its_entry() {
        let said = "pg_restore: from TOC entry 216; 1255 16390 FUNCTION check(text) postgres";
        assert_eq!(failed(said), Some(216));
        assert_eq!(failed("pg_restore: error: could not execute query"), None);
    }
}
