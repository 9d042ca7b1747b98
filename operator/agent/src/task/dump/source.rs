//! Checks of production before a byte is dumped: rights, requirements, roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dryrun_core::{
    agent_api::tasks::Server, postgres::settings::MIRRORED, problem::Problem,
    run::facts::SourceRequirements,
};
use dryrun_postgres::Options;

use crate::{
    children::Children,
    connection::Credentials,
    failure::{self, Result},
    program::{self, Programs},
    task::READING,
};

/// Shortest password that is searched for in evidence without finding innocent text.
const PASSWORD: usize = 12;
/// libc locales that need no file.
const BUILT_IN: [&str; 2] = ["C", "POSIX"];
/// The module of Postgres that makes text of the write-ahead log.
const DECODER: &str = "test_decoding";

/// A password that is short or a word of the plan occurs in innocent logs, so that its absence
/// could never be proven.
pub(super) fn weak_password(server: &Server, password: &str) -> Option<Problem> {
    let weak = |why: &str| {
        let change = "give the role one of at least 12 random characters";
        Some(Problem::permanent(
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

/// The server's own values of the settings that the copy takes over, and which of them could not be
/// seen. Reads them in a separate session.
pub(super) async fn settings(
    credentials: &Credentials<'_>,
) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let database = &credentials.server.database;
    let options = Options::plain().with("default_transaction_read_only", "on");
    let session = credentials.connect(database, READING, &options).await?;
    let found = dryrun_postgres::settings(&session.client)
        .await
        .map_err(failure::query)?;
    session.close().await;
    let mut settings = BTreeMap::new();
    let mut unseen = Vec::new();
    for setting in found {
        if !MIRRORED.contains(&setting.name.as_str()) {
            continue;
        }
        if setting.of_server {
            settings.insert(setting.name, setting.value);
        } else {
            unseen.push(setting.name);
        }
    }
    Ok((settings, unseen))
}

/// Extensions of the source that this image does not have, as `name version`, and [`DECODER`] if
/// that is missing; then extensions that it has in other versions alone.
pub(super) async fn unavailable(
    children: &Children,
    programs: &Programs,
    extensions: &BTreeMap<String, String>,
) -> Result<(Vec<String>, Vec<String>)> {
    let directory = programs.extensions(children).await?;
    let (mut unavailable, mut other_versions) = (Vec::new(), Vec::new());
    for (name, version) in extensions {
        match fs::read_to_string(directory.join(format!("{name}.control"))) {
            Err(_) => unavailable.push(format!("{name} {version}")),
            Ok(control) if !has_version(&directory, &control, name, version) => {
                other_versions.push(format!("{name} {version}"));
            }
            Ok(_) => {}
        }
    }
    if !has_decoder(&programs.modules(children).await) {
        unavailable.push(DECODER.to_owned());
    }
    Ok((unavailable, other_versions))
}

/// Returns true if the write-ahead log can be decoded, which shows the effects of scenarios.
fn has_decoder(modules: &Path) -> bool {
    modules.join(format!("{DECODER}.so")).exists()
}

/// Returns true for a version of an extension that can be installed: by its own script and those
/// that upgrade it, or since it is the default.
fn has_version(directory: &Path, control: &str, name: &str, version: &str) -> bool {
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
    if is_default {
        return true;
    }
    let (mut installable, mut upgrades) = (BTreeSet::new(), Vec::new());
    let files = fs::read_dir(directory).into_iter().flatten();
    for file in files.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let versions = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix("--")?.strip_suffix(".sql"));
        match versions.and_then(|versions| versions.split_once("--")) {
            Some((from, to)) => upgrades.push((from.to_owned(), to.to_owned())),
            None => installable.extend(versions.map(str::to_owned)),
        }
    }
    loop {
        let further = upgrades
            .iter()
            .find(|(from, to)| installable.contains(from) && !installable.contains(to));
        match further {
            Some((_, to)) => installable.insert(to.clone()),
            None => return installable.contains(version),
        };
    }
}

/// The libc locale of the source that this image lacks, if any. ICU's and the server's own come
/// with the server.
pub(super) async fn missing_locale(
    children: &Children,
    requirements: &SourceRequirements,
) -> Option<Problem> {
    // An image without this program cannot be asked; its initdb refuses the locale then.
    let known = program::succeed(children, program::clean("locale").arg("-a"))
        .await
        .ok()?;
    let collate = (requirements.locale_provider == "libc").then_some(&requirements.collate);
    let missing = collate
        .into_iter()
        .chain([&requirements.ctype])
        .find(|name| !has_locale(&known, name))?;
    Some(Problem::permanent(
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
    use dryrun_core::api::{Authentication, SslMode};

    #[test]
    fn weak_passwords_are_named() {
        let server = Server {
            host: "postgres.incomex.svc".into(),
            address: "10.0.0.1".into(),
            port: 5432,
            user: "dump_ro".into(),
            database: "directus".into(),
            sslmode: SslMode::Disable,
            authentication: Authentication::ScramSha256,
            ca_file: None,
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
    fn the_module_that_decodes_the_log_is_needed() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!has_decoder(directory.path()));
        fs::write(directory.path().join("test_decoding.so"), "").unwrap();
        assert!(has_decoder(directory.path()));
    }

    #[test]
    fn an_extension_is_available_in_some_versions() {
        let directory = tempfile::tempdir().unwrap();
        let control = "comment = 'x'\ndefault_version = '1.6' # newest\n";
        for script in ["1.3", "1.3--1.4", "1.4--1.4.1", "1.7--1.8"] {
            fs::write(directory.path().join(format!("trgm--{script}.sql")), "").unwrap();
        }
        for (version, expected) in [
            ("1.6", true),
            ("1.3", true),
            ("1.4", true),
            ("1.4.1", true),
            ("1.5", false),
            ("1.8", false),
        ] {
            assert_eq!(
                has_version(directory.path(), control, "trgm", version),
                expected,
                "{version}"
            );
        }
    }
}
