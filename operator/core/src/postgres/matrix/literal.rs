//! A matrix as a list of rows.

use std::cmp::Ordering;
use std::io::{BufRead, BufReader, Read as _};

use super::Compiled;
use super::class::{ATTRIBUTE, ObjectClass, RowClass};
use super::expected::Compiler;
use super::name::{self, ObjectName};
use super::row::{self, PUBLIC, gives};
use crate::api::Privilege;
use crate::run::facts::PrivilegeRow;

/// The first bytes of what zstd has compressed (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that a list may have, decompressed.
const LIMIT: u64 = 16 << 20;
/// Bytes of its longest line: a function with a hundred arguments has some 13,000.
const LINE_LIMIT: usize = 64 << 10;
/// Rows that a matrix may have, listed or expanded. A database of 10,000 tables has some 150,000.
pub const MAX_ROWS: u64 = 200_000;
/// Binary logarithm of the memory that decompression may ask for: as much as the list itself.
const WINDOW_LOG: u32 = 24;
/// Maximum number of invalid lines that are named.
const LINES_NAMED: usize = 20;

/// Rows in the form of [`super::line`], one per line, sorted by their bytes, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Literal {
    /// The rows in the order of their lines.
    rows: Vec<PrivilegeRow>,
}

/// Reasons why a list of rows is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLiteral {
    /// zstd cannot read it.
    #[error("it begins like a file of zstd and cannot be decompressed: {0}")]
    Compression(String),
    /// It is too large.
    #[error("it has more than {} MiB", LIMIT >> 20)]
    TooLarge,
    /// It has too many rows.
    #[error("it has more than {MAX_ROWS} rows")]
    TooManyRows,
    /// A line is too long.
    #[error("line {0} has more than 64 KiB")]
    LineTooLong(usize),
    /// A line is no text.
    #[error("line {0} is no UTF-8")]
    NotText(usize),
    /// It has no line.
    #[error("it is empty")]
    Empty,
    /// A line is no row.
    #[error(
        "line {0} is no row: it has six fields separated by tabs, class, object, grantee, privilege, `true` or `false` for the grant option, `+` or `-`"
    )]
    NoRow(usize),
    /// A line stands there twice.
    #[error("line {0} is the same as the one before it")]
    Twice(usize),
    /// A line is not at its place.
    #[error(
        "line {0} sorts before the one before it: sort the lines by their bytes (LC_ALL=C sort)"
    )]
    Unsorted(usize),
}

impl Literal {
    /// Reads a list, plain or compressed by zstd.
    ///
    /// # Errors
    /// When it is too large, no text, or has a line that is no row or not at its place.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidLiteral> {
        let mut rows = Vec::new();
        scan(bytes, |_, row| rows.push(row))?;
        Ok(Self { rows })
    }

    /// Names of the columns that the rows name.
    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        self.rows
            .iter()
            .filter(|row| RowClass::parse(&row.class) == RowClass::Column)
            .filter_map(|row| Some(name::column(&row.object)?.1))
    }
}

/// Reads a list, plain or compressed by zstd, and hands over each line with its row. Holds one line
/// at a time: a user who may write a ConfigMap can make the operator read a list, and 29 kB of zstd
/// hold 16 MiB.
///
/// # Errors
/// As [`Literal::read`].
pub fn scan(bytes: &[u8], take: impl FnMut(&str, PrivilegeRow)) -> Result<(), InvalidLiteral> {
    if !bytes.starts_with(&ZSTD) {
        return lines(bytes, take);
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(undecodable)?;
    decoder.window_log_max(WINDOW_LOG).map_err(undecodable)?;
    lines(BufReader::new(decoder), take)
}

fn undecodable(error: std::io::Error) -> InvalidLiteral {
    InvalidLiteral::Compression(error.to_string())
}

fn lines(
    mut text: impl BufRead,
    mut take: impl FnMut(&str, PrivilegeRow),
) -> Result<(), InvalidLiteral> {
    let (mut previous, mut current) = (Vec::new(), Vec::new());
    let (mut size, mut number) = (0, 0);
    loop {
        current.clear();
        let longest = LINE_LIMIT as u64 + 1;
        let mut part = text.by_ref().take(longest);
        let read = part.read_until(b'\n', &mut current);
        size += read.map_err(undecodable)? as u64;
        if current.is_empty() {
            return match number {
                0 => Err(InvalidLiteral::Empty),
                _ => Ok(()),
            };
        }
        number += 1;
        if size > LIMIT {
            return Err(InvalidLiteral::TooLarge);
        }
        if number as u64 > MAX_ROWS {
            return Err(InvalidLiteral::TooManyRows);
        }
        // A carriage return is no part of the line's end.
        if current.last() == Some(&b'\n') {
            current.pop();
        }
        if current.len() > LINE_LIMIT {
            return Err(InvalidLiteral::LineTooLong(number));
        }
        let line = std::str::from_utf8(&current).map_err(|_| InvalidLiteral::NotText(number))?;
        let row = row::parse(line)
            .filter(|row| row::line(row) == line)
            .ok_or(InvalidLiteral::NoRow(number))?;
        if number > 1 {
            match previous.cmp(&current) {
                Ordering::Less => {}
                Ordering::Equal => return Err(InvalidLiteral::Twice(number)),
                Ordering::Greater => return Err(InvalidLiteral::Unsorted(number)),
            }
        }
        take(line, row);
        std::mem::swap(&mut previous, &mut current);
    }
}

impl Compiler<'_> {
    /// Takes over the rows of a list.
    ///
    /// Privileges of declared roles and of PUBLIC are granted. All other rows are checked, and not
    /// brought about: what belongs to roles that are not declared, ownership, definitions, what was
    /// taken from initial privileges. Of a declared role's attributes, memberships and settings the
    /// list may only repeat what `roles` says.
    pub(super) fn literal(&mut self, literal: &Literal) {
        let mut errors = Vec::new();
        for (index, row) in literal.rows.iter().enumerate() {
            match self.check(row) {
                Ok(brought_about) => {
                    if !brought_about {
                        self.matrix.checked.insert(row.clone());
                    }
                    self.matrix.rows.insert(row.clone());
                }
                Err(error) => errors.push(format!("matrixRef, line {}: {error}", index + 1)),
            }
        }
        let further = errors.len().saturating_sub(LINES_NAMED);
        errors.truncate(LINES_NAMED);
        if further > 0 {
            errors.push(format!("matrixRef: {further} further lines cannot hold"));
        }
        self.errors.extend(errors);
    }

    /// Checks that a row can hold, and returns true if it must be granted.
    fn check(&self, row: &PrivilegeRow) -> Result<bool, String> {
        let role = &row.grantee;
        let declared = self.privileges.roles.contains_key(role);
        if role != PUBLIC && !declared && !self.inventory.roles.contains(role) {
            return Err(format!("there is no role {role}"));
        }
        match RowClass::parse(&row.class) {
            RowClass::Object(class) => {
                self.check_privilege(row, class.privileges(), class.as_str())?;
                let name = ObjectName::parse(class, &row.object);
                let object = name.and_then(|name| self.inventory.object(class, &name));
                // A parameter that an extension brings needs not be loaded, and is kept in lower
                // case.
                let is_written_so = match object {
                    Some(_) if class == ObjectClass::Parameter => {
                        row.object == row.object.to_ascii_lowercase()
                    }
                    Some(object) => object.name == row.object,
                    None => {
                        class == ObjectClass::Parameter
                            && self.inventory.parameter(&row.object).is_some()
                    }
                };
                if !is_written_so {
                    return Err(format!("there is no {} {}", row.class, row.object));
                }
                if gives(row) && object.is_some_and(|object| object.owner == *role) {
                    return Err(format!(
                        "{role} owns {}: an owner has every privilege, and no row tells of it",
                        row.object
                    ));
                }
                let initial = object.and_then(|object| object.initial.as_ref());
                if gives(row)
                    && role == PUBLIC
                    && initial.is_some_and(|initial| initial.contains(&row.privilege))
                {
                    return Err(format!(
                        "everybody has {} on {} from the beginning: no row tells of it",
                        row.privilege, row.object
                    ));
                }
                Ok(gives(row) && (declared || role == PUBLIC))
            }
            RowClass::Column => {
                self.check_privilege(row, ObjectClass::Table.column_privileges(), "column")?;
                let known = name::column(&row.object)
                    .and_then(|(relation, column)| {
                        let text = self.inventory.column(&relation, &column)?;
                        Some(text == row.object)
                    })
                    .unwrap_or_default();
                if !known {
                    return Err(format!("there is no column {}", row.object));
                }
                Ok(gives(row) && (declared || role == PUBLIC))
            }
            RowClass::Attribute | RowClass::Membership | RowClass::Setting if declared => {
                if self.matrix.rows.contains(row) {
                    Ok(true)
                } else {
                    let what = if row.class == ATTRIBUTE {
                        String::new()
                    } else {
                        format!(" {}", row.object)
                    };
                    Err(format!(
                        "roles.{role} does not say {}{what} {}",
                        row.class, row.privilege
                    ))
                }
            }
            RowClass::DefaultAcl if declared => Err(format!(
                "{role} can have no default privileges: those that production gave it are revoked, and nothing gives new ones"
            )),
            RowClass::Definition if !super::class::DEFINITIONS.contains(&row.class.as_str()) => {
                Err(format!("there is no class `{}`", row.class))
            }
            RowClass::Attribute
            | RowClass::Membership
            | RowClass::Setting
            | RowClass::DefaultAcl
            | RowClass::Owner
            | RowClass::UserMapping
            | RowClass::Definition => Ok(false),
        }
    }

    fn check_privilege(
        &self,
        row: &PrivilegeRow,
        existing: &[Privilege],
        class: &str,
    ) -> Result<(), String> {
        let privilege = existing
            .iter()
            .find(|privilege| privilege.as_sql() == row.privilege);
        match privilege {
            None => Err(format!(
                "there is no privilege {} on a {class}",
                row.privilege
            )),
            Some(Privilege::Maintain)
                if self.inventory.server_version_num < super::grants::MAINTAIN =>
            {
                Err("MAINTAIN exists from Postgres 17 on".to_owned())
            }
            Some(_) if row.grantee == PUBLIC && row.grantable => {
                Err("everybody cannot have a grant option".to_owned())
            }
            Some(_) => Ok(()),
        }
    }
}

impl Compiled {
    /// The rows that statements can bring about.
    pub(super) fn brought_about(&self) -> impl Iterator<Item = &PrivilegeRow> {
        self.rows.difference(&self.checked).chain(&self.given_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Privileges;
    use crate::postgres::matrix::inventory::tests::inventory;
    use crate::postgres::matrix::row::line;
    use crate::postgres::matrix::row::tests::any_row;
    use crate::postgres::matrix::{apply, compile};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Lines, with spaces for the tabs.
    fn text(lines: &[&str]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| line.replace(' ', "\t")).collect();
        lines.join("\n")
    }

    fn compiled(lines: &[&str]) -> Result<Compiled, Vec<String>> {
        let objects = [
            "schema:iu",
            "table:iu.unit",
            "table:iu.\"Odd\"",
            "column:iu.unit.state",
            "function:iu.cut(integer,text)",
            "parameter:work_mem",
            "role:a",
            "role:owner",
            "role:other",
        ];
        let privileges: Privileges =
            serde_saphyr::from_str("roles: {a: {login: true, memberOf: [{role: g}]}, g: {}}")
                .unwrap();
        let literal = Literal::read(text(lines).as_bytes()).unwrap();
        compile(
            &privileges,
            Some(&literal),
            &inventory(160_000, &objects),
            jiff::civil::date(2026, 11, 23),
        )
    }

    #[test]
    fn a_list_is_plain_or_compressed() {
        let plain = text(&["schema iu a USAGE false +", "table iu.unit a SELECT true +"]);
        let literal = Literal::read(plain.as_bytes()).unwrap();
        assert_eq!(literal.rows.len(), 2);
        assert_eq!(
            Literal::read(format!("{plain}\n").as_bytes()),
            Ok(literal.clone())
        );
        let compressed = zstd::encode_all(plain.as_bytes(), 19).unwrap();
        assert_eq!(Literal::read(&compressed), Ok(literal));
        let cut = &compressed[..compressed.len() - 3];
        assert!(matches!(
            Literal::read(cut),
            Err(InvalidLiteral::Compression(_))
        ));
    }

    /// Sorted lines of some 17 bytes: those of the bomb that took the operator 280 MiB of memory.
    fn many(rows: usize) -> String {
        let letter = |digit: usize| char::from(b'a' + (digit % 26) as u8);
        let line = |row: usize| {
            let name: String = [17_576, 676, 26, 1]
                .map(|place| letter(row / place))
                .iter()
                .collect();
            let [sign, option] = [["+", "false"], ["+", "true"]][row / 456_976];
            format!("a\t{name}\ta\ta\t{option}\t{sign}\n")
        };
        let mut lines: Vec<String> = (0..rows).map(line).collect();
        lines.sort_unstable();
        lines.concat()
    }

    #[test]
    fn a_list_has_so_many_rows_and_no_more() {
        let rows = MAX_ROWS as usize;
        let literal = Literal::read(many(rows).as_bytes()).unwrap();
        assert_eq!(literal.rows.len(), rows);
        assert_eq!(
            Literal::read(many(rows + 1).as_bytes()),
            Err(InvalidLiteral::TooManyRows)
        );
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let bomb = zstd::encode_all(many(900_000).as_bytes(), 19).unwrap();
        assert!(
            bomb.len() < 1 << 20,
            "{} bytes fit no ConfigMap",
            bomb.len()
        );
        assert_eq!(Literal::read(&bomb), Err(InvalidLiteral::TooManyRows));
        let endless = zstd::encode_all(std::io::repeat(b'a').take(1 << 30), 3).unwrap();
        assert!(endless.len() < 1 << 20, "it would fit a ConfigMap");
        assert_eq!(Literal::read(&endless), Err(InvalidLiteral::LineTooLong(1)));
        // A frame that asks for more memory than the list may have is refused before it gets any.
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        std::io::copy(&mut std::io::repeat(b'\n').take(1 << 20), &mut encoder).unwrap();
        let wide = encoder.finish().unwrap();
        assert!(matches!(
            Literal::read(&wide),
            Err(InvalidLiteral::Compression(_))
        ));
    }

    #[test]
    fn a_list_of_long_lines_is_too_large() {
        let line = |name: usize| format!("a\t{name:060000}\ta\ta\ttrue\t+\n");
        let text: String = (0..300).map(line).collect();
        assert_eq!(
            Literal::read(text.as_bytes()),
            Err(InvalidLiteral::TooLarge)
        );
    }

    #[test]
    fn what_is_no_list_names_its_line() {
        let good = "table\tiu.unit\ta\tSELECT\tfalse\t+";
        for (text, error) in [
            (String::new(), InvalidLiteral::Empty),
            ("\n".into(), InvalidLiteral::NoRow(1)),
            (format!("{good}\n\n"), InvalidLiteral::NoRow(2)),
            (format!("{good}\r\n"), InvalidLiteral::NoRow(1)),
            (format!("{good}\ntable"), InvalidLiteral::NoRow(2)),
            (format!("{good}\tmore"), InvalidLiteral::NoRow(1)),
            (good.replace("false", "no"), InvalidLiteral::NoRow(1)),
            (good.replace('+', "?"), InvalidLiteral::NoRow(1)),
            (format!("{good}\n{good}\n"), InvalidLiteral::Twice(2)),
            (
                format!("{good}\nschema\tiu\ta\tUSAGE\tfalse\t+"),
                InvalidLiteral::Unsorted(2),
            ),
        ] {
            assert_eq!(Literal::read(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(Literal::read(b"table\xff"), Err(InvalidLiteral::NotText(1)));
    }

    #[test]
    fn privileges_are_brought_about_and_the_rest_is_checked() {
        let matrix = compiled(&[
            "column iu.unit.state a UPDATE false +",
            "function iu.cut(integer,text) public EXECUTE false -",
            "membership g a MEMBER\\tINHERIT=true\\tSET=true false +",
            "owner_table iu.unit owner OWNER false +",
            "parameter work_mem a SET false +",
            "role_attr other other LOGIN=true false +",
            "schema iu public USAGE false +",
            "table iu.\"Odd\" other SELECT false +",
            "table iu.unit a SELECT true +",
        ]);
        // The privilege of a membership has spaces.
        assert_eq!(
            matrix.unwrap_err(),
            ["matrixRef, line 3: roles.a does not say membership g MEMBER\tINHERIT=true\tSET=true"]
        );
        let matrix = compiled(&[
            "column iu.unit.state a UPDATE false +",
            "function iu.cut(integer,text) public EXECUTE false -",
            "owner_table iu.unit owner OWNER false +",
            "parameter work_mem a SET false +",
            "role_attr a a LOGIN=true false +",
            "role_attr other other LOGIN=true false +",
            "schema iu public USAGE false +",
            "table iu.\"Odd\" other SELECT false +",
            "table iu.unit a SELECT true +",
        ])
        .unwrap();
        let statements: Vec<String> = apply(&matrix)
            .iter()
            .map(ToString::to_string)
            .filter(|text| text.starts_with("GRANT") || text.contains("LOGIN"))
            .collect();
        insta::assert_snapshot!(statements.join("\n"), @r#"
        ALTER ROLE "g" NOBYPASSRLS CONNECTION LIMIT -1 NOCREATEDB NOCREATEROLE INHERIT NOLOGIN NOREPLICATION NOSUPERUSER VALID UNTIL 'infinity'
        GRANT "g" TO "a" WITH ADMIN false, INHERIT true, SET true
        GRANT SET ON PARAMETER "work_mem" TO "a"
        GRANT USAGE ON SCHEMA "iu" TO public
        GRANT UPDATE ("state") ON TABLE "iu"."unit" TO "a"
        GRANT SELECT ON TABLE "iu"."unit" TO "a" WITH GRANT OPTION
        ALTER ROLE "a" LOGIN
        "#);
        assert_eq!(matrix.checked.len(), 4);
    }

    #[test]
    fn lines_that_cannot_hold_are_named() {
        for (line, message) in [
            (
                "table iu.unti a SELECT false +",
                "there is no table iu.unti",
            ),
            (
                "table IU.unit a SELECT false +",
                "there is no table IU.unit",
            ),
            (
                "table iu.unit nobody SELECT false +",
                "there is no role nobody",
            ),
            (
                "table iu.unit a ALL false +",
                "there is no privilege ALL on a table",
            ),
            (
                "table iu.unit a MAINTAIN false +",
                "MAINTAIN exists from Postgres 17 on",
            ),
            (
                "table iu.unit public SELECT true +",
                "everybody cannot have a grant option",
            ),
            (
                "table iu.unit owner SELECT false +",
                "owner owns iu.unit: an owner has every privilege, and no row tells of it",
            ),
            (
                "column iu.unit.stat a UPDATE false +",
                "there is no column iu.unit.stat",
            ),
            (
                "column iu.unit.state a DELETE false +",
                "there is no privilege DELETE on a column",
            ),
            (
                "role_attr a a LOGIN=false false +",
                "roles.a does not say role_attr LOGIN=false",
            ),
            (
                "default_acl owner/iu/TABLES a SELECT false +",
                "a can have no default privileges: those that production gave it are revoked, and nothing gives new ones",
            ),
            (
                "index iu.unit a SELECT false +",
                "there is no class `index`",
            ),
        ] {
            assert_eq!(
                compiled(&[line]).unwrap_err(),
                [format!("matrixRef, line 1: {message}")]
            );
        }
    }

    #[test]
    fn few_of_many_lines_are_named() {
        let lines: Vec<String> = (100..200)
            .map(|number| format!("table iu.t{number} a SELECT false +"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let errors = compiled(&lines).unwrap_err();
        assert_eq!(errors.len(), LINES_NAMED + 1);
        assert_eq!(
            errors.last().map(String::as_str),
            Some("matrixRef: 80 further lines cannot hold")
        );
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in prop::collection::vec(any_row(), 1..30)) {
            let lines: BTreeSet<String> = rows.iter().map(line).collect();
            let text: Vec<String> = lines.into_iter().collect();
            let literal = Literal::read(text.join("\n").as_bytes()).unwrap();
            prop_assert_eq!(
                literal.rows.into_iter().collect::<BTreeSet<_>>(),
                rows.into_iter().collect::<BTreeSet<_>>()
            );
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let _ = Literal::read(&bytes);
            let _ = Literal::read(&[&ZSTD[..], &bytes].concat());
        }
    }
}
