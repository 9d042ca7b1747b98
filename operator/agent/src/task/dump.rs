//! C-03: production is identified, checked and dumped, in sessions that cannot write.

mod source;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use dryrun_core::{
    agent_api::tasks::DumpTask,
    postgres::row_set::Rows,
    problem::Problem,
    run::facts::{ArchiveFacts, DiskFacts, DumpFacts, SessionFacts, SourceIdentity},
};
use dryrun_postgres::{Options, Session, TransactionState};
use tokio::sync::oneshot;
use tokio_postgres::Client;

use super::{Agent, READING};
use crate::{
    connection::Credentials,
    directory::{self, Content},
    failure::{self, Result},
    program::{self, Programs},
};

/// Messages of libpq for a lost connection (`src/interfaces/libpq/fe-misc.c`): another attempt may
/// have a better one.
const LOST: [&str; 3] = [
    "server closed the connection unexpectedly",
    "could not receive data from server",
    "could not send data to server",
];

/// Refusals of a server that has no connection to spare for now: SQLSTATE 53300, which pg_dump does
/// not print (`src/backend/utils/init/postinit.c`, `src/backend/storage/lmgr/proc.c`).
const FULL: [&str; 3] = [
    "too many connections for",
    "too many clients already",
    "remaining connection slots are reserved",
];

fn says(line: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| line.contains(text))
}

/// Message of pg_dump when it dumps the rows of a table: it has read all definitions before the
/// first one.
const DATA: &str = "pg_dump: dumping contents of table";

/// Directory of `pg_dump`'s output below the task's directory.
pub(super) const ARCHIVE: &str = "archive";
/// The source's catalog, next to the archive.
pub(super) const CATALOG: &str = "catalog.tsv";
/// The source's row counts, next to the archive.
pub(super) const COUNTS: &str = "counts.tsv";

/// Takes the dump. Facts of every stage that was reached are there, and what stopped it if
/// something did; a partial dump is deleted.
pub(super) async fn run(agent: &Agent, task: &DumpTask) -> DumpFacts {
    let mut facts = DumpFacts::default();
    if let Err(problem) = (Dump {
        agent,
        task,
        facts: &mut facts,
    })
    .take()
    .await
    {
        tracing::warn!(reason = problem.reason, "no dump was taken");
        facts.problem = Some(problem);
    }
    facts
}

struct Dump<'a> {
    agent: &'a Agent,
    task: &'a DumpTask,
    facts: &'a mut DumpFacts,
}

impl Dump<'_> {
    async fn take(&mut self) -> Result<()> {
        let directory = Path::new(&self.task.directory);
        if !directory::is_empty(directory).map_err(|error| failure::file(directory, &error))? {
            return Err(Problem::permanent(
                "DirectoryNotEmpty",
                format!("{} is not empty", directory.display()),
            ));
        }
        fs::create_dir_all(directory).map_err(|error| failure::file(directory, &error))?;
        self.judge_disk(0)?;
        let credentials = Credentials::read(&self.agent.secrets, &self.task.server)?;
        let mut session = credentials
            .connect(&self.task.server.database, READING, &Options::read_only())
            .await?;
        self.identify(&session.client).await?;
        let programs = Programs::find()?;
        self.check(&session.client, &credentials, &programs).await?;
        let taken = self.archive(&mut session, &credentials, &programs).await;
        if taken.is_err() {
            self.facts.archive = None;
            directory::clear(directory).map_err(|error| failure::file(directory, &error))?;
        } else {
            session.close().await;
        }
        taken
    }

    /// Judges free space, at first without and then with the size of the source.
    fn judge_disk(&mut self, source_bytes: u64) -> Result<()> {
        let disk = DiskFacts {
            free_bytes: directory::free_bytes(Path::new(&self.task.data_directory))?,
            source_bytes,
        };
        let (free, needed) = (disk.free_bytes, disk.needed(self.task.minimum_free));
        self.facts.disk = Some(disk);
        if free >= needed {
            return Ok(());
        }
        Err(Problem::permanent(
            "InsufficientSpace",
            format!(
                "{} MiB free on the data volume, {} MiB needed",
                free >> 20,
                needed >> 20
            ),
        ))
    }

    /// Reads who this is, and nothing else of a server that is not the declared one.
    async fn identify(&mut self, client: &Client) -> Result<()> {
        let found = dryrun_postgres::identity(client)
            .await
            .map_err(failure::unrecognised)?;
        let identity = self.facts.identity.insert(found.server);
        let declared = &self.task.system_identifier;
        if is(identity, declared) {
            return Ok(());
        }
        let message = format!(
            "the server's system identifier is {}, declared is {declared}",
            identity.system_identifier
        );
        Err(Problem::permanent("IdentityMismatch", message))
    }

    /// Everything that can be known before a byte is dumped: all of it becomes a fact before the
    /// first part of it is refused.
    async fn check(
        &mut self,
        client: &Client,
        credentials: &Credentials<'_>,
        programs: &Programs,
    ) -> Result<()> {
        if let Some(problem) = source::weak_password(&self.task.server, &credentials.password) {
            return Err(problem);
        }
        dryrun_postgres::limit_lock_waits(client, self.task.lock_timeout_ms)
            .await
            .map_err(failure::query)?;
        let children = &self.agent.children;
        let (mut requirements, bytes) = dryrun_postgres::requirements(client)
            .await
            .map_err(failure::query)?;
        self.judge_disk(bytes)?;
        (requirements.settings, requirements.settings_unseen) =
            source::settings(credentials).await?;
        (requirements.unavailable, requirements.other_versions) =
            source::unavailable(children, programs, &requirements.extensions).await?;
        let requirements = &*self.facts.requirements.insert(requirements);
        (self.facts.roles, self.facts.role_rights) = dryrun_postgres::roles(client)
            .await
            .map_err(failure::query)?;
        let rights = dryrun_postgres::rights(client)
            .await
            .map_err(failure::query)?;
        let rights = self.facts.rights.insert(rights);
        if rights.missing_count > 0 {
            let message = format!(
                "{} rights are missing; run as an owner: {}",
                rights.missing_count,
                rights.missing.join("; ")
            );
            return Err(Problem::permanent("MissingRights", message));
        }
        let locks = dryrun_postgres::locks(client)
            .await
            .map_err(failure::query)?;
        let locks = self.facts.locks.insert(locks);
        if !locks.suffices() {
            return Err(Problem::permanent("LockTableTooSmall", &*locks));
        }
        if !requirements.unavailable.is_empty() {
            let message = format!(
                "the image of the copy lacks the extensions and modules {}",
                requirements.unavailable.join(", ")
            );
            return Err(Problem::permanent("ExtensionUnavailable", message));
        }
        if !requirements.other_versions.is_empty() {
            let message = format!(
                "the image of the copy has no script that installs {}",
                requirements.other_versions.join(", ")
            );
            return Err(Problem::permanent("ExtensionVersionDiffers", message));
        }
        source::missing_locale(children, requirements)
            .await
            .map_or(Ok(()), Err)
    }

    /// Reads the catalog, counts and dumps in one snapshot.
    async fn archive(
        &mut self,
        session: &mut Session,
        credentials: &Credentials<'_>,
        programs: &Programs,
    ) -> Result<()> {
        let version = program::succeed(
            &self.agent.children,
            programs.command("pg_dump").arg("--version"),
        )
        .await?
        .trim()
        .to_owned();
        let major = self.supported(&version)?;
        // The session that exports the snapshot keeps its transaction open until the end, so it
        // reads nothing: every lock that it took would be held as long.
        let mut reader = credentials
            .connect(&self.task.server.database, READING, &Options::read_only())
            .await?;
        dryrun_postgres::limit_lock_waits(&reader.client, self.task.lock_timeout_ms)
            .await
            .map_err(failure::query)?;
        let (transaction, snapshot) = dryrun_postgres::export_snapshot(session)
            .await
            .map_err(failure::query)?;
        let (catalog, reading) = catalog_in(&mut reader, &snapshot).await?;
        let arguments = self.arguments(major, &snapshot);
        let started = Instant::now();
        let (archived, archive) = oneshot::channel();
        let (fail, failed) = oneshot::channel();
        let dumping = self.pg_dump(programs, credentials, &arguments, archived, failed);
        let checking = async {
            // Or pg_dump has ended without a row.
            let _ = archive.await;
            match check(&mut reader, &snapshot, &catalog).await {
                Ok(checked) => Ok(checked),
                Err(problem) => match fail.send(problem) {
                    // pg_dump is stopped for it, and returns it.
                    Ok(()) => std::future::pending().await,
                    Err(problem) => Err(problem),
                },
            }
        };
        let (milliseconds, (counts, checked)) = tokio::try_join!(
            async { dumping.await.map(|()| started.elapsed().as_millis() as u64) },
            checking
        )?;
        let exported = dryrun_postgres::end(transaction)
            .await
            .map_err(failure::query)?;
        reader.close().await;
        let state = exported.and(reading).and(checked);
        let options = arguments
            .into_iter()
            .chain([format!("PGOPTIONS={}", Options::read_only())]);
        self.facts.sessions = Some(SessionFacts {
            read_only: state.read_only,
            xid_assigned: state.xid_assigned,
            dump_options: options.collect(),
        });
        let (digest, bytes) = self.seal(&catalog, &counts).await?;
        self.facts.archive = Some(ArchiveFacts {
            digest,
            bytes,
            pg_dump: version,
            catalog: catalog.summary(),
            counts: counts.summary(),
            rows: counts
                .iter()
                .filter_map(|(_, rows)| rows.parse::<u64>().ok())
                .sum(),
            milliseconds,
        });
        Ok(())
    }

    /// The major version of the image's `pg_dump`, which must be able to read this server.
    fn supported(&self, version: &str) -> Result<u32> {
        let server = self
            .facts
            .identity
            .as_ref()
            .map_or(0, |identity| identity.version_num / 10_000);
        match program::major(version) {
            Some(major) if major >= server => Ok(major),
            _ => Err(Problem::permanent(
                "ImageTooOld",
                format!(
                    "production runs major version {server}, the image of the copy has {version}"
                ),
            )),
        }
    }

    /// Arguments of `pg_dump` but its output directory. They contain no secret: they are facts.
    fn arguments(&self, major: u32, snapshot: &str) -> Vec<String> {
        let compress = if major >= 16 { "zstd:1" } else { "1" };
        vec![
            "--format=directory".into(),
            format!("--jobs={}", self.task.jobs),
            format!("--snapshot={snapshot}"),
            format!("--lock-wait-timeout={}", self.task.lock_timeout_ms),
            format!("--compress={compress}"),
            "--no-tablespaces".into(),
            "--no-publications".into(),
            "--no-subscriptions".into(),
            "--no-sync".into(),
            "--no-password".into(),
            "--verbose".into(),
        ]
    }

    /// Runs pg_dump. Sends on `archived` when it has read all definitions, while it still holds all
    /// of its locks; stops with the problem that comes from `failed`.
    async fn pg_dump(
        &self,
        programs: &Programs,
        credentials: &Credentials<'_>,
        arguments: &[String],
        archived: oneshot::Sender<()>,
        mut failed: oneshot::Receiver<Problem>,
    ) -> Result<()> {
        let mut command = programs.command("pg_dump");
        let _passfile = credentials.lend(&mut command, READING, &Options::read_only())?;
        command
            .args(arguments)
            .arg("--file")
            .arg(self.archive_directory());
        let mut errors = Vec::new();
        let mut archived = Some(archived);
        let mut problem = None;
        let stop = async {
            match (&mut failed).await {
                Ok(failed) => problem = Some(failed),
                // There is nothing left to fail.
                Err(_) => std::future::pending().await,
            }
        };
        let finished = program::run_until(&self.agent.children, &mut command, stop, |line| {
            if line.starts_with(DATA)
                && let Some(archived) = archived.take()
            {
                let _ = archived.send(());
            }
            if line.starts_with("pg_dump: error:") || line.starts_with("pg_dump: detail:") {
                errors.push(line.to_owned());
            }
        })
        .await?;
        // It may have ended just before it was stopped.
        if let Some(problem) = problem.or_else(|| failed.try_recv().ok()) {
            return Err(problem);
        }
        if finished.status.success() {
            return Ok(());
        }
        let message = errors
            .iter()
            .take(2)
            .map(|line| failure::without_rows(line))
            .collect::<Vec<_>>()
            .join("; ");
        if errors.iter().any(|line| line.contains("lock timeout")) {
            let message = format!(
                "a table stayed locked for {} ms: {message}",
                self.task.lock_timeout_ms
            );
            return Err(Problem::transient("SourceLocked", message));
        }
        let message = format!("pg_dump ended with {}: {message}", finished.status);
        if errors.iter().any(|line| line.contains("deadlock detected")) {
            return Err(Problem::transient("SourceLocked", message));
        }
        if errors.iter().any(|line| line.contains("does not exist")) {
            return Err(changed(&message));
        }
        if errors.iter().any(|line| says(line, &FULL)) {
            return Err(Problem::transient("TooManyConnections", message));
        }
        if errors.iter().any(|line| says(line, &LOST)) {
            return Err(Problem::transient("ConnectionLost", message));
        }
        Err(Problem::permanent("DumpFailed", message))
    }

    /// Puts the side files next to the archive, lets the run's group read all of it, and gives its
    /// digest and the archive's bytes.
    async fn seal(&self, catalog: &Rows, counts: &Rows) -> Result<(String, u64)> {
        let root = Path::new(&self.task.directory);
        let mut beside = 0;
        for (name, rows) in [(CATALOG, catalog), (COUNTS, counts)] {
            let (path, text) = (root.join(name), rows.to_text());
            beside += text.len() as u64;
            fs::write(&path, text).map_err(|error| failure::file(&path, &error))?;
        }
        directory::set_modes(&self.archive_directory(), 0o750, 0o640)
            .map_err(|error| failure::file(root, &error))?;
        let content = Content::read(root).await?;
        Ok((content.digest(), content.bytes - beside))
    }

    fn archive_directory(&self) -> PathBuf {
        Path::new(&self.task.directory).join(ARCHIVE)
    }
}

/// Returns true if a server has this identifier; both are unsigned 64-bit numbers.
pub(super) fn is(identity: &SourceIdentity, identifier: &str) -> bool {
    matches!((identity.system_identifier.parse::<u64>(), identifier.parse::<u64>()), (Ok(found), Ok(declared)) if found == declared)
}

/// Reads what a dump carries of the catalog in an exported snapshot.
async fn catalog_in(reader: &mut Session, snapshot: &str) -> Result<(Rows, TransactionState)> {
    let transaction = dryrun_postgres::import_snapshot(reader, snapshot)
        .await
        .map_err(failure::query)?;
    let catalog = dryrun_postgres::catalog(&transaction)
        .await
        .map_err(failure::query)?
        .dumped();
    let state = dryrun_postgres::end(transaction)
        .await
        .map_err(failure::query)?;
    Ok((catalog, state))
}

/// Compares the snapshot's objects with those that pg_dump has found, and counts the rows. What was
/// made since the snapshot is not in the dump, and no difference.
async fn check(
    reader: &mut Session,
    snapshot: &str,
    before: &Rows,
) -> Result<(Rows, TransactionState)> {
    let (catalog, read) = catalog_in(reader, snapshot).await?;
    let difference = catalog.difference(before, None);
    if difference.rows > 0 {
        let message = format!(
            "{} definitions changed: {}",
            difference.rows,
            difference.examples.join(", ")
        );
        return Err(changed(&message));
    }
    let transaction = dryrun_postgres::import_snapshot(reader, snapshot)
        .await
        .map_err(failure::query)?;
    let rewritten = dryrun_postgres::rewritten(&transaction)
        .await
        .map_err(failure::query)?;
    let looked = dryrun_postgres::end(transaction)
        .await
        .map_err(failure::query)?;
    if let Some(table) = rewritten.first() {
        let message = format!(
            "{} tables were emptied or rewritten, such as {table}",
            rewritten.len()
        );
        return Err(changed(&message));
    }
    let (counts, counted) =
        dryrun_postgres::counts_in(reader, snapshot)
            .await
            .map_err(|error| match error.sqlstate() {
                // undefined_table: pg_dump has ended first, and a DROP had waited for it.
                Some("42P01") => changed(&error.to_string()),
                Some(_) | None => failure::query(error),
            })?;
    Ok((counts, read.and(looked).and(counted)))
}

fn changed(message: &str) -> Problem {
    let message = format!("while the dump was taken: {message}");
    Problem::transient("SourceChangedDuringDump", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_told_from_a_refusal() {
        assert!(says(
            "pg_dump: error: query failed: server closed the connection unexpectedly",
            &LOST
        ));
        assert!(!says(
            "pg_dump: error: query failed: ERROR:  permission denied for table item",
            &LOST
        ));
    }
}
