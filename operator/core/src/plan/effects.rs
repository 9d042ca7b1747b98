//! What a run does to production, in sentences for whoever approves it.

use crate::api::DryRunSpec;
use crate::run::facts::DUMP_ATTEMPTS;

/// The sentences, most important first.
pub(super) fn of(spec: &DryRunSpec) -> Vec<String> {
    let (source, deadlines) = (&spec.source, &spec.deadlines);
    let bound = format!(
        "for at most {} and {} (deadlines.start and deadlines.dump)",
        deadlines.start.0, deadlines.dump.0
    );
    vec![
        format!(
            "Production is read: {}:{}, database {}, as role {}, by pg_dump with {} jobs and by two sessions of the agent.",
            source.host, source.port, source.database, source.user, source.dump.jobs
        ),
        format!(
            "While pg_dump runs it holds ACCESS SHARE on every table: ALTER TABLE, DROP, TRUNCATE and VACUUM FULL wait for it, {bound}."
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
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::spec;

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
            "every table, sequence and view",
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
