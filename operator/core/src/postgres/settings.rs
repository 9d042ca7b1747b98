//! Settings of a server that decide rights and meanings without any row of the privilege catalog.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::facts::SettingsFacts;

/// Settings that the copy's server takes over from the source's: the same statement must be
/// allowed, mean and give the same on both.
///
/// Left out on purpose: what bounds time and memory, which is another machine's; locales, of which
/// the copy's image has few; logging parameters, which are the run's own; and
/// `default_transaction_read_only`, which every session with production has a value of its own for,
/// and with which nothing could be restored.
pub const MIRRORED: [&str; 27] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "allow_system_table_mods",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "check_function_bodies",
    "createrole_self_grant",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "escape_string_warning",
    "event_triggers",
    "extra_float_digits",
    "gin_fuzzy_search_limit",
    "lo_compat_privileges",
    "max_prepared_transactions",
    "quote_all_identifiers",
    "row_security",
    "search_path",
    "session_replication_role",
    "standard_conforming_strings",
    "track_commit_timestamp",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
];

/// Maximum number of differences in the facts.
const SHOWN: usize = 20;
/// Characters of a value that are shown.
const LENGTH: usize = 64;

/// Compares the copy's settings after the scenarios with the source's and with those before the
/// scenarios.
///
/// `before` and `after` may have more than settings that are in force, such as lines of
/// configuration files, by a name that says so. Only values of [`MIRRORED`] are shown: others may
/// be secrets.
pub fn compare(
    source: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> SettingsFacts {
    let mut differing: BTreeMap<&String, String> = BTreeMap::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old != new {
            let text = match MIRRORED.contains(&name.as_str()) {
                true => format!("{name} changed from {} to {}", shown(old), shown(new)),
                false => format!("{name} changed"),
            };
            differing.insert(name, text);
        }
    }
    for (name, value) in source {
        let found = after.get(name);
        if found != Some(value) && !differing.contains_key(name) {
            let text = format!(
                "{name} is {}, on the source {}",
                shown(found),
                shown(Some(value))
            );
            differing.insert(name, text);
        }
    }
    SettingsFacts {
        compared: source.len() as u64,
        differing_count: differing.len() as u64,
        differing: differing.into_values().take(SHOWN).collect(),
    }
}

fn shown(value: Option<&String>) -> String {
    value.map_or_else(
        || "absent".to_owned(),
        |value| format!("'{}'", value.chars().take(LENGTH).collect::<String>()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn equal_settings_have_no_difference() {
        let copy = map(&[("row_security", "on"), ("work_mem", "4096")]);
        assert_eq!(
            compare(&map(&[("row_security", "on")]), &copy, &copy),
            SettingsFacts {
                compared: 1,
                ..SettingsFacts::default()
            }
        );
    }

    #[test]
    fn only_values_that_are_no_secret_are_shown() {
        let before = map(&[
            ("row_security", "on"),
            ("primary_conninfo", "password=x"),
            ("xmloption", "content"),
        ]);
        let after = map(&[
            ("row_security", "off"),
            ("primary_conninfo", "password=y"),
            ("postgresql.auto.conf: archive_command", "z"),
        ]);
        let source = map(&[
            ("row_security", "on"),
            ("bytea_output", "hex"),
            ("xmloption", "content"),
        ]);
        let facts = compare(&source, &before, &after);
        assert_eq!(
            facts.differing,
            [
                "bytea_output is absent, on the source 'hex'",
                "postgresql.auto.conf: archive_command changed",
                "primary_conninfo changed",
                "row_security changed from 'on' to 'off'",
                "xmloption changed from 'content' to absent",
            ]
        );
        assert_eq!((facts.compared, facts.differing_count), (3, 5));
    }

    #[test]
    fn a_difference_is_bounded() {
        let after: BTreeMap<String, String> = (0..100)
            .map(|number| (format!("a{number}"), String::new()))
            .collect();
        let facts = compare(&BTreeMap::new(), &BTreeMap::new(), &after);
        assert_eq!((facts.differing.len(), facts.differing_count), (SHOWN, 100));
    }

    #[test]
    fn no_mirrored_setting_stands_there_twice() {
        assert!(MIRRORED.is_sorted_by(|a, b| a < b));
    }
}
