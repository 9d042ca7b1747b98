//! What is asked of production before a byte is dumped: rights, requirements, roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dryrun_core::{
    agent_api::tasks::Server,
    postgres::{matrix, settings::MIRRORED, sql},
    problem::TaskError,
    run::facts::{PrivilegeRow, RightsFacts, SourceRequirements},
};
use tokio_postgres::Client;

use super::READING;
use crate::{
    children::Children,
    connection::Credentials,
    failure::{self, Result},
    program::{self, Programs},
    reading,
};

/// PGOPTIONS of every session with production.
pub(super) const READ_ONLY: &str = "-c default_transaction_read_only=on -c row_security=off";
/// PGOPTIONS of the session that reads settings: it could not see the server's own value of what its options set.
const ONLY_READ_ONLY: &str = "-c default_transaction_read_only=on";
/// Shortest password that is searched for in evidence without finding innocent text.
const PASSWORD: usize = 12;
/// How many rights are listed by name.
const LISTED: usize = 20;
/// libc locales that need no file.
const BUILT_IN: [&str; 2] = ["C", "POSIX"];

/// A password that is short or a word of the plan occurs in innocent logs, so that its absence could never be proven.
pub(super) fn weak_password(server: &Server, password: &str) -> Option<TaskError> {
    let weak = |why: &str| {
        let change = "give the role one of at least 12 random characters";
        Some(failure::lasting(
            "WeakSourceCredential",
            format!("the password of {} is {why}: {change}", server.user),
        ))
    };
    if password.chars().count() < PASSWORD {
        return weak("shorter than 12 characters");
    }
    let words = [
        server.host.as_str(),
        server.user.as_str(),
        server.database.as_str(),
    ];
    if words.iter().any(|word| word.eq_ignore_ascii_case(password)) {
        weak("a word of the plan")
    } else {
        None
    }
}

/// What the role lacks for the dump, and what it could write.
pub(super) async fn rights(client: &Client) -> Result<RightsFacts> {
    let missing = reading::rows(
        client,
        include_str!("../../sql/missing_rights.sql"),
        |row| Ok((row.try_get::<_, String>(0)?, row.try_get::<_, i64>(1)?)),
    )
    .await?;
    let writable =
        reading::column::<String>(client, include_str!("../../sql/write_rights.sql")).await?;
    Ok(RightsFacts {
        missing_count: missing
            .iter()
            .map(|(_, rights)| rights.cast_unsigned())
            .sum(),
        missing: missing
            .into_iter()
            .take(LISTED)
            .map(|(statement, _)| statement)
            .collect(),
        writable_count: writable.len() as u64,
        writable: writable.into_iter().take(LISTED).collect(),
    })
}

/// Encoding, locale, checksums and extensions of the source, and its size in bytes.
pub(super) async fn requirements(client: &Client) -> Result<(SourceRequirements, u64)> {
    let found = reading::rows(client, include_str!("../../sql/requirements.sql"), |row| {
        let requirements = SourceRequirements {
            encoding: row.try_get("encoding")?,
            locale_provider: row.try_get("locale_provider")?,
            collate: row.try_get("collate")?,
            ctype: row.try_get("ctype")?,
            data_checksums: row.try_get("data_checksums")?,
            ..SourceRequirements::default()
        };
        Ok((
            requirements,
            row.try_get::<_, i64>("bytes")?.cast_unsigned(),
        ))
    })
    .await?;
    let (mut requirements, bytes) = found.into_iter().next().unwrap_or_default();
    let extensions = reading::rows(client, include_str!("../../sql/extensions.sql"), |row| {
        Ok((row.try_get(0)?, row.try_get(1)?))
    })
    .await?;
    requirements.extensions = extensions.into_iter().collect();
    Ok((requirements, bytes))
}

/// The server's own values of the settings that the copy takes over, and which of them could not be seen. Reads them in a session of its own.
pub(super) async fn settings(
    credentials: &Credentials<'_>,
) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let database = &credentials.server.database;
    let client = credentials
        .connect(database, READING, ONLY_READ_ONLY)
        .await?;
    let found = reading::rows(&client, sql::SETTINGS, |row| {
        Ok((
            row.try_get::<_, String>(0)?,
            row.try_get::<_, String>(1)?,
            row.try_get::<_, bool>(2)?,
        ))
    })
    .await?;
    let mut settings = BTreeMap::new();
    let mut unseen = Vec::new();
    for (name, value, of_server) in found {
        if !MIRRORED.contains(&name.as_str()) {
            continue;
        }
        if of_server {
            settings.insert(name, value);
        } else {
            unseen.push(name);
        }
    }
    Ok((settings, unseen))
}

/// Roles that the database refers to, and their rights that no dump carries.
pub(super) async fn roles(client: &Client) -> Result<(BTreeSet<String>, BTreeSet<PrivilegeRow>)> {
    let names = reading::column::<String>(client, include_str!("../../sql/roles.sql")).await?;
    let names: BTreeSet<String> = names.into_iter().collect();
    let rights = reading::rows(client, sql::ROLE_RIGHTS, |row| {
        Ok(PrivilegeRow {
            class: row.try_get(0)?,
            object: row.try_get(1)?,
            grantee: row.try_get(2)?,
            privilege: row.try_get(3)?,
            grantable: row.try_get(4)?,
            sign: "+".into(),
        })
    })
    .await?;
    let rights = matrix::undeclared(rights, &names, &BTreeSet::new());
    Ok((names, rights))
}

/// Extensions of the source that this image does not have, as `name version`.
pub(super) async fn unavailable(
    children: &Children,
    programs: &Programs,
    extensions: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let directory = programs.extensions(children).await?;
    Ok(extensions
        .iter()
        .filter(|(name, version)| !has_extension(&directory, name, version))
        .map(|(name, version)| format!("{name} {version}"))
        .collect())
}

/// Whether a version of an extension can be installed: by a script of its own, by an upgrade to it, or since it is the default.
fn has_extension(directory: &Path, name: &str, version: &str) -> bool {
    let Ok(control) = fs::read_to_string(directory.join(format!("{name}.control"))) else {
        return false;
    };
    let is_default = control
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| {
            key.trim() == "default_version"
                && value
                    .split('#')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .trim_matches('\'')
                    == version
        });
    is_default
        || directory.join(format!("{name}--{version}.sql")).exists()
        || fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .any(|file| {
                file.strip_prefix(name).is_some_and(|rest| {
                    rest.starts_with("--") && rest.ends_with(&format!("--{version}.sql"))
                })
            })
}

/// The libc locale of the source that this image lacks, if any. ICU's and the server's own come with the server.
pub(super) async fn missing_locale(
    children: &Children,
    requirements: &SourceRequirements,
) -> Option<TaskError> {
    // An image without this program cannot be asked; its initdb refuses the locale then.
    let known = program::succeed(children, program::clean("locale").arg("-a"))
        .await
        .ok()?;
    let collate = (requirements.locale_provider == "libc").then_some(&requirements.collate);
    let missing = collate
        .into_iter()
        .chain([&requirements.ctype])
        .find(|name| !has_locale(&known, name))?;
    Some(failure::lasting(
        "LocaleUnavailable",
        format!("the image of the copy has no locale {missing}; use one that was built with it"),
    ))
}

/// `locale -a` prints `en_US.utf8` for what Postgres may call `en_US.UTF-8`.
fn has_locale(known: &str, name: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "");
    BUILT_IN.contains(&name) || known.lines().any(|line| plain(line) == plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::api::SslMode;

    #[test]
    fn weak_passwords_are_named() {
        let server = Server {
            host: "postgres.incomex.svc".into(),
            address: "10.0.0.1".into(),
            port: 5432,
            user: "dump_ro".into(),
            database: "directus".into(),
            sslmode: SslMode::Disable,
            password_file: "password".into(),
        };
        assert!(
            weak_password(&server, "directus")
                .is_some_and(|error| error.message.contains("shorter"))
        );
        assert!(
            weak_password(&server, "Postgres.Incomex.svc")
                .is_some_and(|error| error.message.contains("word of the plan"))
        );
        assert_eq!(weak_password(&server, "Zk4mQ9xT2bV7"), None);
    }

    #[test]
    fn locales_have_many_spellings() {
        let known = "C\nC.utf8\nPOSIX\nen_US.utf8\nde_DE@euro\n";
        for name in [
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "en_US.utf8",
            "de_DE@euro",
        ] {
            assert!(has_locale(known, name), "{name}");
        }
        assert!(!has_locale(known, "fr_FR.UTF-8"));
    }

    #[test]
    fn an_extension_is_available_in_some_version() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write(
            "trgm.control",
            "comment = 'x'\ndefault_version = '1.6' # newest\n",
        );
        write("trgm--1.3.sql", "");
        write("trgm--1.3--1.4.sql", "");
        for (version, expected) in [("1.6", true), ("1.3", true), ("1.4", true), ("1.5", false)] {
            assert_eq!(
                has_extension(directory.path(), "trgm", version),
                expected,
                "{version}"
            );
        }
        assert!(!has_extension(directory.path(), "postgis", "3.4"));
    }
}
