//! Effects of a run on production, in sentences for its approver.

use crate::api::{Authentication, DryRunSpec, Source, SslMode};
use crate::run::facts::DUMP_ATTEMPTS;

/// The sentences, most important first.
pub(super) fn of(spec: &DryRunSpec) -> Vec<String> {
    let (source, deadlines) = (&spec.source, &spec.deadlines);
    let bound = format!(
        "for at most {} and {} (deadlines.start and deadlines.dump)",
        deadlines.start.0, deadlines.dump.0
    );
    let mut effects = vec![format!(
        "Production is read: {}:{}, database {}, as role {}, by pg_dump with {} jobs and by two sessions of the agent.",
        source.host, source.port, source.database, source.user, source.dump.jobs
    )];
    effects.extend(credential(spec));
    effects.extend([
        format!(
            "While pg_dump runs it holds ACCESS SHARE on every table: ALTER TABLE, DROP, TRUNCATE, VACUUM FULL and CREATE TABLE … PARTITION OF wait for it, {bound}."
        ),
        "Every table, sequence and view takes a place in the server's lock table meanwhile, which all clients share. If less than a quarter of that table would stay free, nothing is dumped.".into(),
        "Tables are counted while pg_dump runs, in groups that hold ACCESS SHARE on about a hundred tables and indexes at a time.".into(),
        format!(
            "The dump's snapshot keeps VACUUM from removing rows of this database that are deleted meanwhile, {bound}."
        ),
        format!(
            "For a lock that another session holds it waits {} at most. When the catalog changes under it the dump is taken again, {DUMP_ATTEMPTS} times in all.",
            source.dump.lock_timeout.0
        ),
        "Every row is read twice: to be counted, and to be dumped.".into(),
        "The server's identity is read twice: at the dump, and at the end of the run.".into(),
        "A few more connections to its port are opened and closed without a login, by the dump and identity pods: they show that it answers while every other pod of the run tries to reach it and must not.".into(),
        "Nothing is written: every session is read-only.".into(),
    ]);
    effects
}

/// The password's way: which one it is, who gets it, and what they reach.
fn credential(spec: &DryRunSpec) -> Vec<String> {
    let source = &spec.source;
    let secret = &source.password_secret_ref;
    let mut said = vec![
        format!(
            "Key {} of Secret {} is the password: {} runs with it and with production's data, as {} does with the copy.",
            secret.key, secret.name, spec.postgres.image, spec.harness.image
        ),
        format!(
            "Pods with that password reach {} on port {}, and nothing else.",
            reached(source),
            source.port
        ),
    ];
    let unverified = "whoever answers at its address is taken for it";
    said.extend(match source.sslmode {
        SslMode::VerifyFull => None,
        SslMode::Require => Some(format!(
            "WARNING: sslmode require does not verify the server: {unverified}."
        )),
        SslMode::Prefer => Some(format!(
            "WARNING: sslmode prefer does not verify the server and may use no TLS: {unverified}, and rows may travel in clear text."
        )),
        SslMode::Disable => Some(format!(
            "WARNING: sslmode disable uses no TLS: {unverified}, and rows travel in clear text."
        )),
    });
    said.extend(match source.authentication {
        Authentication::ScramSha256 => None,
        Authentication::Any => Some(
            "WARNING: authentication any gives the password, or a hash that is as good, to the server that asks for it."
                .into(),
        ),
    });
    said
}

/// Returns the destinations that the pods next to production can connect to.
fn reached(source: &Source) -> String {
    let network = &source.network;
    let namespace = network.namespace.as_deref().unwrap_or_default();
    let labels = network.pod_selector.iter().flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    match &network.cidr {
        Some(cidr) => format!("every address of {cidr}"),
        None => format!("the pods {} in namespace {namespace}", labels.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

    #[test]
    fn they_say_who_gets_the_password_and_what_weakens_it() {
        let said = of(&spec()).join("\n");
        for needle in [
            "Key password of Secret directus-production",
            "postgres:17 runs with it",
            "python:3 does with the copy",
            "the pods app=postgres in namespace incomex on port 5432",
        ] {
            assert!(said.contains(needle), "{needle} is not said: {said}");
        }
        assert!(!said.contains("WARNING"), "{said}");
        let warnings = |change: fn(&mut Source)| {
            let mut spec = spec();
            change(&mut spec.source);
            let said = of(&spec);
            said.iter()
                .filter(|said| said.starts_with("WARNING"))
                .count()
        };
        for mode in [
            |source: &mut Source| source.sslmode = SslMode::Require,
            |source: &mut Source| source.sslmode = SslMode::Prefer,
            |source: &mut Source| source.sslmode = SslMode::Disable,
            |source: &mut Source| source.authentication = Authentication::Any,
        ] {
            assert_eq!(warnings(mode), 1);
        }
    }

    #[test]
    fn they_say_what_is_read_and_how_long_it_is_locked() {
        let mut spec = spec();
        spec.deadlines.dump = "17m".into();
        spec.source.dump.jobs = 3;
        let said = of(&spec).join("\n");
        for needle in [
            "postgres.incomex.svc:5432",
            "database directus",
            "role dump_ro",
            "3 jobs",
            "ACCESS SHARE on every table",
            "Every table, sequence and view",
            "tables and indexes at a time",
            "VACUUM",
            "5m and 17m",
            "5s at most",
            "identity is read twice",
        ] {
            assert!(said.contains(needle), "{needle} is not said: {said}");
        }
    }
}
