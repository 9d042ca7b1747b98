//! Configuration of the copy's server: fast, since it is thrown away, and verbose in its log, since
//! scenarios are judged by it.

use dryrun_core::problem::Problem;
use std::ops::RangeInclusive;

use dryrun_core::{
    agent_api::copy_server::PostgresConfig, postgres::settings::MIRRORED,
    run::facts::SourceRequirements,
};

use crate::failure::Result;

/// Bytes that Postgres keeps of `cluster_name`.
const CLUSTER_NAME: usize = 63;

/// Settings that no run changes.
const FIXED: &[(&str, &str)] = &[
    // Reached over TCP alone, with a password: other containers of the pod share no socket.
    ("unix_socket_directories", ""),
    ("password_encryption", "scram-sha-256"),
    // Nothing survives a crash: a copy that recovered from one is not to be trusted, and must stop
    // instead of starting again.
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("restart_after_crash", "off"),
    // What scenarios did is read from the write-ahead log, through the one slot that there is.
    ("wal_level", "logical"),
    ("max_replication_slots", "1"),
    ("wal_buffers", "64MB"),
    ("checkpoint_timeout", "1h"),
    ("maintenance_work_mem", "512MB"),
    ("max_locks_per_transaction", "1024"),
    ("autovacuum", "off"),
    // It sends nothing anywhere, and runs no code that the dump did not bring.
    ("archive_mode", "off"),
    ("max_wal_senders", "0"),
    ("max_logical_replication_workers", "0"),
    ("shared_preload_libraries", ""),
    ("session_preload_libraries", ""),
    ("local_preload_libraries", ""),
    // The log is the judge of the scenarios: one file, in English, with the function that raised an
    // error.
    ("logging_collector", "on"),
    ("log_destination", "jsonlog"),
    ("log_filename", "server.log"),
    ("log_file_mode", "0644"),
    ("log_rotation_age", "0"),
    ("log_rotation_size", "0"),
    ("log_timezone", "UTC"),
    ("log_error_verbosity", "verbose"),
    ("log_connections", "on"),
    ("log_disconnections", "on"),
    ("lc_messages", "C"),
    // A killed client's statement must not be committed seconds later, in the next scenario's
    // window.
    ("client_connection_check_interval", "200ms"),
];

/// Bounds of `max_wal_size`: checkpoints are rare, but the log of a run must not fill its volume.
const WAL: RangeInclusive<u64> = 256 << 20..=16 << 30;
/// Part of the free space that the write-ahead log may take.
const WAL_SHARE: u64 = 8;

/// Returns the text that is appended to `postgresql.conf`; the last line of a setting wins, so that
/// the source's come first. `free_bytes` is what is free on the volume of the data directory.
pub(super) fn render(config: &PostgresConfig, free_bytes: u64) -> Result<String> {
    let max_wal_size = (free_bytes / WAL_SHARE).clamp(*WAL.start(), *WAL.end());
    let cluster_name = &config.run_uid[..config.run_uid.floor_char_boundary(CLUSTER_NAME)];
    let own = [
        ("cluster_name", cluster_name.to_owned()),
        ("listen_addresses", config.listen_addresses.clone()),
        ("port", config.port.to_string()),
        ("max_connections", config.max_connections.to_string()),
        (
            "shared_buffers",
            format!("{}kB", config.shared_buffers >> 10),
        ),
        ("max_wal_size", format!("{}MB", max_wal_size >> 20)),
        ("log_directory", config.log_directory.clone()),
    ];
    let fixed = FIXED
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    // Only these settings are taken over from the source.
    let of_source = MIRRORED.iter().filter_map(|name| {
        let value = config.requirements.settings.get(*name)?;
        Some((*name, value.clone()))
    });
    let mut text = String::from("\n# Written by dryrun-agent.\n");
    for (name, value) in of_source.chain(fixed).chain(own) {
        if value.contains(char::is_control) {
            return Err(Problem::permanent(
                "InvalidConfig",
                format!("{name} cannot be {value:?}"),
            ));
        }
        text.push_str(&format!(
            "{name} = '{}'\n",
            value.replace('\\', r"\\").replace('\'', "''")
        ));
    }
    Ok(text)
}

/// Options of `initdb` of this major version that give the source's encoding, locale and checksums.
pub(super) fn initdb(source: &SourceRequirements, major: u32) -> Vec<String> {
    let mut options = vec![
        "--auth-host=scram-sha-256".to_owned(),
        "--auth-local=reject".to_owned(),
        "--no-sync".to_owned(),
        "--no-instructions".to_owned(),
        format!("--encoding={}", source.encoding),
        format!("--lc-ctype={}", source.ctype),
        // Beside the source's locale only what sorts and classifies text matters; the rest is what
        // sessions set.
        "--locale=C".to_owned(),
        format!("--locale-provider={}", source.locale_provider),
    ];
    options.push(match source.locale_provider.as_str() {
        "icu" => format!("--icu-locale={}", source.collate),
        "builtin" => format!("--builtin-locale={}", source.collate),
        _ => format!("--lc-collate={}", source.collate),
    });
    match (source.data_checksums, major) {
        (true, _) => options.push("--data-checksums".to_owned()),
        // On by default, and only since then is there a way to say no.
        (false, 18..) => options.push("--no-data-checksums".to_owned()),
        (false, _) => {}
    }
    options
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn config() -> PostgresConfig {
        PostgresConfig {
            run_uid: "0a1b2c3d-0000-4000-8000-000000000000".into(),
            bootstrap_role: "dryrun_0a1b2c3d".into(),
            restore_role: Some("dryrun_0a1b2c3d_restore".into()),
            database: "directus".into(),
            roles: vec!["cutter_exec".into(), r#"cutter "ro""#.into()],
            data_directory: "/data/pgdata".into(),
            log_directory: "/evidence/server".into(),
            listen_addresses: "*".into(),
            port: 5432,
            max_connections: 50,
            shared_buffers: 128 << 20,
            forbidden_system_identifier: "7611578671664259111".into(),
            requirements: SourceRequirements {
                encoding: "UTF8".into(),
                locale_provider: "libc".into(),
                collate: "en_US.UTF-8".into(),
                ctype: "en_US.UTF-8".into(),
                ..SourceRequirements::default()
            },
        }
    }

    #[test]
    fn every_setting_is_there_once_and_quoted() {
        let mut config = config();
        config.log_directory = r"/a'b\c".into();
        let text = render(&config, 8 << 30).unwrap();
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, _)| name)
            .collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(names.len(), distinct.len());
        for line in [
            r"log_directory = '/a''b\\c'",
            "shared_buffers = '131072kB'",
            "max_wal_size = '1024MB'",
            "listen_addresses = '*'",
            "cluster_name = '0a1b2c3d-0000-4000-8000-000000000000'",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn the_sources_settings_are_taken_over_and_no_others() {
        let mut config = config();
        for (name, value) in [
            ("search_path", r#""$user", it's"#),
            ("xmloption", "document"),
            ("log_statement", "none"),
            ("archive_command", "curl"),
        ] {
            let settings = &mut config.requirements.settings;
            settings.insert(name.into(), value.into());
        }
        let text = render(&config, 0).unwrap();
        assert!(text.contains("search_path = '\"$user\", it''s'\nxmloption = 'document'\n"));
        assert!(!text.contains("log_statement") && !text.contains("archive_command"));
    }

    #[test]
    fn no_setting_is_both_the_sources_and_the_runs() {
        assert!(FIXED.iter().all(|(name, _)| !MIRRORED.contains(name)));
    }

    #[test]
    fn a_value_cannot_become_a_setting() {
        let mut config = config();
        let settings = &mut config.requirements.settings;
        settings.insert("xmloption".into(), "content'\narchive_command = 'x".into());
        assert!(render(&config, 0).is_err());
        let mut config = self::config();
        config.listen_addresses = "*'\narchive_command = 'x".into();
        assert!(render(&config, 0).is_err());
    }

    #[test]
    fn initdb_repeats_the_source() {
        let mut source = config().requirements;
        let has = |source: &SourceRequirements, major, option: &str| {
            initdb(source, major).iter().any(|found| found == option)
        };
        assert!(
            has(&source, 15, "--lc-collate=en_US.UTF-8")
                && has(&source, 15, "--lc-ctype=en_US.UTF-8")
        );
        assert!(
            has(&source, 18, "--no-data-checksums") && !has(&source, 17, "--no-data-checksums")
        );
        source.data_checksums = true;
        source.locale_provider = "icu".into();
        source.collate = "de-DE".into();
        assert!(has(&source, 15, "--icu-locale=de-DE") && has(&source, 15, "--data-checksums"));
        assert!(!has(&source, 15, "--lc-collate=de-DE"));
        source.locale_provider = "builtin".into();
        source.collate = "C.UTF-8".into();
        assert!(has(&source, 17, "--builtin-locale=C.UTF-8"));
    }
}
