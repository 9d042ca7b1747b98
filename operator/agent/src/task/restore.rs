//! C-05: the dump is restored into the copy, and the copy compared with the source.

use dryrun_core::problem::Problem;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use dryrun_core::{
    agent_api::tasks::RestoreTask,
    postgres::row_set::{self, Rows},
    run::facts::{CopyFacts, RestoreClaim, SourceIdentity},
};
use dryrun_postgres::{Options, Session};
use tempfile::NamedTempFile;
use tokio_postgres::Client;

use super::{
    Agent,
    archive_entry::{self, Entry},
    dump::{self, ARCHIVE, CATALOG, COUNTS},
};
use crate::{
    connection::Credentials,
    directory::{self, Content},
    failure::{self, Result},
    program::{self, Programs},
};

/// `application_name` of every session of the restore: the copy's log is searched for it.
const RESTORING: &str = "dryrun-restore";
/// Database of the schema-only restore that disputed definitions are compared with.
const SCRATCH: &str = "dryrun_scratch_catalog";
/// Entries that are never restored: the entry of a table of contents begins with two or three
/// numbers and this.
const FILTERED: &str = "USER MAPPING";
/// Entries that give privileges.
const PRIVILEGES: &[&str] = &["ACL ", "DEFAULT ACL "];
/// The begin of the entry of an extension.
const EXTENSION: &str = "EXTENSION - ";
/// The entry of the privileges on the database.
const OF_DATABASE: &str = "ACL - DATABASE ";
/// Entries of the database itself and its schemas: everything that an extension needs, if it does
/// not need another extension.
const FIRST: &[&str] = &[
    "DATABASE ",
    "ACL - DATABASE ",
    "COMMENT - DATABASE ",
    "SECURITY LABEL - DATABASE ",
    "SCHEMA ",
];
/// Entries that come after those.
const LAST: &[&str] = &[
    "EVENT TRIGGER ",
    "COMMENT - EVENT TRIGGER ",
    "SECURITY LABEL - EVENT TRIGGER ",
    "MATERIALIZED VIEW DATA ",
];
/// Prefix of the first line of a `pg_restore` error. The lines after it quote the statement, which
/// may hold anything.
const SAYS: &str = "pg_restore: error:";
/// Maximum number of errors, and of failed entries, in a result.
const ERRORS: usize = 20;
/// Interval between checks of free space while the restore writes: a fast disk takes some 200 MB in
/// that time.
const LOOK: Duration = Duration::from_millis(50);

/// Options of the restore's sessions. Settings of the restored database must neither log its
/// statements, which may hold passwords, nor hide its errors.
fn options(version_num: u32) -> Options {
    Options::superuser(version_num)
        .with("log_statement", "none")
        .with("log_min_messages", "warning")
        .with("log_min_error_statement", "error")
        .with("log_error_verbosity", "verbose")
        .with("lc_messages", "C")
}

/// Options of the schema-only restore: its errors are those of the restore again, and in the log
/// they would count twice.
fn unlogged(version_num: u32) -> Options {
    Options::superuser(version_num)
        .with("log_statement", "none")
        .with("log_min_messages", "panic")
        .with("lc_messages", "C")
}

/// Restores, and says what came of it. Errors of `pg_restore` are facts; only what makes the copy
/// unusable fails the task. A second restore would meet the first one's database: once `pg_restore`
/// has begun, no failure is transient.
pub(super) async fn run(agent: &Agent, task: &RestoreTask) -> Result<RestoreClaim> {
    let programs = Programs::find()?;
    let credentials = Credentials::read(&agent.secrets, &task.server)?;
    let mut restore = Restore {
        agent,
        task,
        programs: &programs,
        credentials: &credentials,
        version_num: 0,
    };
    restore.verify_dump().await?;
    // Nothing of production is in the maintenance database.
    let maintenance = restore.connect(&task.server.database).await?;
    let before = restore.prove_copy(&maintenance.client).await?;
    restore.version_num = before.version_num;
    let restored = restore
        .restore_and_compare(&maintenance.client, before)
        .await
        .map_err(Problem::for_good)?;
    maintenance.close().await;
    Ok(restored)
}

struct Restore<'a> {
    agent: &'a Agent,
    task: &'a RestoreTask,
    programs: &'a Programs,
    credentials: &'a Credentials<'a>,
    /// Version of the copy; 0 until its server has been identified.
    version_num: u32,
}

impl Restore<'_> {
    /// Restores, and compares what came of it with the source; `before` is the copy's identity
    /// before that.
    async fn restore_and_compare(
        &self,
        maintenance: &Client,
        before: SourceIdentity,
    ) -> Result<RestoreClaim> {
        let task = self.task;
        let (mut claim, failed) = self.restore(maintenance).await?;
        claim.free_bytes = directory::free_bytes(Path::new(&task.directory))?;
        if claim.lowest_free_bytes < task.minimum_free {
            // The copy is not whole, and its server may not have a byte left to answer with.
            return Ok(claim);
        }
        match self.connect(&task.database).await {
            Ok(session) => {
                let client = &session.client;
                let lowest = AtomicU64::new(claim.lowest_free_bytes);
                let compared = async {
                    let milliseconds = analyze(client).await?;
                    Result::Ok((milliseconds, self.compare(client, &failed).await?))
                };
                let compared = tokio::select! {
                    compared = compared => Some(compared),
                    () = self.filled(&lowest) => None,
                };
                lowest.fetch_min(
                    directory::free_bytes(Path::new(&task.directory))?,
                    Ordering::Relaxed,
                );
                claim.lowest_free_bytes = lowest.into_inner();
                match compared {
                    Some(Ok((milliseconds, copy))) => {
                        (claim.analyze_milliseconds, claim.copy) = (milliseconds, copy);
                    }
                    Some(Err(error)) if claim.lowest_free_bytes >= task.minimum_free => {
                        return Err(error);
                    }
                    // The disk was full: that is the finding, and other errors follow from it.
                    Some(Err(_)) | None => return Ok(claim),
                }
            }
            Err(error) => claim.errors.push(error.message),
        }
        let after = self.prove_copy(maintenance).await?;
        claim.copy.version_num = after.version_num;
        claim.copy.system_identifiers = vec![before.system_identifier, after.system_identifier];
        Ok(claim)
    }

    async fn verify_dump(&self) -> Result<()> {
        let found = Content::read(Path::new(&self.task.directory))
            .await?
            .digest();
        if found == self.task.dump_digest {
            return Ok(());
        }
        Err(Problem::permanent(
            "DumpChanged",
            format!(
                "the dump has the digest {found}, not {} as when it was taken",
                self.task.dump_digest
            ),
        ))
    }

    async fn connect(&self, database: &str) -> Result<Session> {
        let options = options(self.version_num);
        self.credentials
            .connect(database, RESTORING, &options)
            .await
    }

    /// Reads the copy's identity, which must be readable and not production's.
    async fn prove_copy(&self, client: &Client) -> Result<SourceIdentity> {
        let unreadable = |why: &str| {
            Problem::permanent(
                "CopyUnreadable",
                format!("the copy cannot be told from production: {why}"),
            )
        };
        let identity = dryrun_postgres::identity(client)
            .await
            .map_err(|error| unreadable(&error.to_string()))?
            .server;
        let forbidden = &self.task.forbidden_system_identifier;
        if forbidden.parse::<u64>().is_err() {
            return Err(unreadable("production's system identifier is no number"));
        }
        if dump::is(&identity, forbidden) {
            return Err(Problem::permanent(
                "CopyIsProduction",
                format!("the copy has production's system identifier {forbidden}"),
            ));
        }
        Ok(identity)
    }

    /// `pg_restore` with owners and privileges into a database that it creates.
    ///
    /// Privileges come one after the other, in the order of the archive: `pg_restore` would give
    /// them in parallel, and a role that hands on a privilege on a table must have its privilege on
    /// the schema by then.
    ///
    /// Returns the entries that failed, too.
    async fn restore(&self, maintenance: &Client) -> Result<(RestoreClaim, Vec<Entry>)> {
        let contents = self.contents().await?;
        let extensions = self.extensions(&contents, maintenance).await?;
        let Passes {
            first,
            objects,
            privileges,
            last,
        } = Passes::of(&contents, !extensions.is_empty());
        let task = self.task;
        let lists = [
            (&first, 1),
            (&objects, task.jobs),
            (&privileges, 1),
            (&last, task.jobs),
        ];
        let (mut claim, mut failed) = (RestoreClaim::default(), BTreeSet::new());
        claim.lowest_free_bytes = u64::MAX;
        let mut database = None;
        for (list, jobs) in lists {
            if list.is_empty() || claim.lowest_free_bytes < task.minimum_free {
                continue;
            }
            let mut pass = self.pass(list, database, jobs).await?;
            claim.error_lines += pass.claim.error_lines;
            claim.errors.append(&mut pass.claim.errors);
            claim.errors.truncate(ERRORS);
            claim.milliseconds += pass.claim.milliseconds;
            claim.lowest_free_bytes = claim.lowest_free_bytes.min(pass.claim.lowest_free_bytes);
            if claim.exit_code == 0 {
                claim.exit_code = pass.claim.exit_code;
            }
            failed.append(&mut pass.failed);
            if database.replace(&*task.database).is_none() && !extensions.is_empty() {
                self.install(&extensions).await?;
            }
        }
        let failed: Vec<Entry> = contents
            .lines()
            .filter(|line| number(line).is_some_and(|number| failed.contains(&number)))
            .filter_map(|line| Entry::parse(entry(line)?))
            .collect();
        claim.failed_count = failed.len() as u64;
        claim.failed = failed.iter().take(ERRORS).map(Entry::to_text).collect();
        Ok((claim, failed))
    }

    /// The source's extensions, in the order of the archive, whose version is not the one that the
    /// copy installs by itself.
    async fn extensions(&self, contents: &str, maintenance: &Client) -> Result<Vec<Extension>> {
        let defaults = dryrun_postgres::default_versions(maintenance)
            .await
            .map_err(failure::query)?;
        let source = self.side_file(CATALOG)?;
        let mut extensions: BTreeMap<String, Extension> = source
            .extensions()
            .filter(|(name, version, _)| defaults.get(name) != Some(version))
            .map(|(name, version, schema)| {
                let plain = name.trim_matches('"').to_owned();
                let extension = Extension {
                    name,
                    version,
                    schema,
                };
                (plain, extension)
            })
            .collect();
        let entries = contents.lines().filter_map(entry);
        Ok(entries
            .filter_map(|entry| entry.strip_prefix(EXTENSION))
            .filter_map(|name| extensions.remove(name.trim_end()))
            .collect())
    }

    /// Installs extensions in the source's versions, so that the dump's statements find them there:
    /// those name no version.
    async fn install(&self, extensions: &[Extension]) -> Result<()> {
        let session = self.connect(&self.task.database).await?;
        for Extension {
            name,
            version,
            schema,
        } in extensions
        {
            dryrun_postgres::install_extension(&session.client, name, schema, version)
                .await
                .map_err(|error| {
                    Problem::permanent(
                        "ExtensionVersionDiffers",
                        format!("{name} {version} cannot be installed in the copy: {error}"),
                    )
                })?;
        }
        session.close().await;
        Ok(())
    }

    /// Restores what a list names into a database, or into one that it makes.
    async fn pass(&self, list: &str, database: Option<&str>, jobs: u8) -> Result<Pass> {
        let list = written(list)?;
        let mut command = self.programs.command("pg_restore");
        let _passfile = self.lend(&mut command, &options(self.version_num))?;
        if database.is_none() {
            command.arg("--create");
        }
        command
            .args(["--dbname", database.unwrap_or(&self.task.server.database)])
            .arg("--use-list")
            .arg(list.path());
        self.run(&mut command, jobs).await
    }

    /// Ready when less is free on the volume than must be. One that cannot be looked at is looked
    /// at again at the end.
    async fn filled(&self, lowest: &AtomicU64) {
        let volume = Path::new(&self.task.directory);
        loop {
            let free = directory::free_bytes(volume).unwrap_or(u64::MAX);
            if free.min(lowest.fetch_min(free, Ordering::Relaxed)) < self.task.minimum_free {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn run(&self, command: &mut Command, jobs: u8) -> Result<Pass> {
        let volume = Path::new(&self.task.directory);
        let lowest = AtomicU64::new(directory::free_bytes(volume)?);
        let full = self.filled(&lowest);
        command
            .arg(format!("--jobs={jobs}"))
            .args([
                "--no-tablespaces",
                "--no-publications",
                "--no-subscriptions",
                "--no-password",
                // Or it does not name the entry that fails.
                "--verbose",
            ])
            .arg(self.archive());
        let Pass {
            mut claim,
            mut failed,
        } = Pass::default();
        let started = Instant::now();
        let finished = program::run_until(&self.agent.children, command, full, |line| {
            claim.error_lines += u64::from(is_of_server(line));
            failed.extend(archive_entry::failed(line));
            if line.starts_with(SAYS) && claim.errors.len() < ERRORS {
                claim.errors.push(failure::without_rows(line));
            }
        })
        .await?;
        claim.milliseconds = started.elapsed().as_millis() as u64;
        claim.exit_code = finished.status.code().unwrap_or(-1);
        claim.lowest_free_bytes = lowest.into_inner();
        Ok(Pass { claim, failed })
    }

    /// The archive's table of contents without what must not be restored.
    async fn contents(&self) -> Result<String> {
        let contents = program::succeed(
            &self.agent.children,
            self.programs
                .command("pg_restore")
                .args(["--list", "--create"])
                .arg(self.archive()),
        )
        .await?;
        Ok(filtered(&contents))
    }

    fn lend(&self, command: &mut Command, options: &Options) -> Result<NamedTempFile> {
        command.env("PGREQUIREAUTH", "scram-sha-256");
        self.credentials.lend(command, RESTORING, options)
    }

    fn archive(&self) -> PathBuf {
        Path::new(&self.task.directory).join(ARCHIVE)
    }

    /// Reads the copy's catalog and counts, and compares both with what was read of the source;
    /// `failed` are the entries that were not restored.
    async fn compare(&self, client: &Client, failed: &[Entry]) -> Result<CopyFacts> {
        let (source_catalog, source_counts) = (self.side_file(CATALOG)?, self.side_file(COUNTS)?);
        let catalog = dryrun_postgres::catalog(client)
            .await
            .map_err(failure::query)?;
        let disputed = !catalog.differing(&source_catalog, None).is_empty();
        let restored = if disputed {
            Some(self.schema_only().await?)
        } else {
            None
        };
        let counts = dryrun_postgres::counts(client)
            .await
            .map_err(failure::query)?;
        let (lost, differing): (BTreeSet<&str>, BTreeSet<&str>) = catalog
            .differing(&source_catalog, restored.as_ref())
            .into_iter()
            .partition(|row| failed.iter().any(|entry| entry.covers(row)));
        Ok(CopyFacts {
            catalog: catalog.summary(),
            catalog_difference: row_set::difference(&differing),
            catalog_tolerated: row_set::difference(&lost),
            counts: counts.summary(),
            counts_difference: counts.difference(&source_counts, None),
            ..CopyFacts::default()
        })
    }

    fn side_file(&self, name: &str) -> Result<Rows> {
        let path = Path::new(&self.task.directory).join(name);
        let text = fs::read_to_string(&path).map_err(|error| failure::file(&path, &error))?;
        Rows::parse(&text).ok_or_else(|| {
            Problem::permanent(
                "FileUnusable",
                format!("{} is no set of rows", path.display()),
            )
        })
    }

    /// The catalog that a restore of the definitions alone gives: Postgres prints some of them
    /// differently after a restore, such as IN lists.
    async fn schema_only(&self) -> Result<Rows> {
        self.database_command("createdb", &["--template=template0"])
            .await?;
        let catalog = self.scratch_catalog().await;
        self.database_command("dropdb", &["--force"]).await?;
        catalog
    }

    async fn scratch_catalog(&self) -> Result<Rows> {
        let list = written(&self.contents().await?)?;
        let mut command = self.programs.command("pg_restore");
        let _passfile = self.lend(&mut command, &unlogged(self.version_num))?;
        self.run(
            command
                .arg("--schema-only")
                .args(["--dbname", SCRATCH])
                .arg("--use-list")
                .arg(list.path()),
            self.task.jobs,
        )
        .await?;
        // Unlogged, too: the server may still have this session when the database is dropped, and
        // would log its end among the restore's errors.
        let session = self
            .credentials
            .connect(SCRATCH, RESTORING, &unlogged(self.version_num))
            .await?;
        let catalog = dryrun_postgres::catalog(&session.client)
            .await
            .map_err(failure::query)?;
        session.close().await;
        Ok(catalog)
    }

    async fn database_command(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.programs.command(program);
        let _passfile = self.lend(&mut command, &options(self.version_num))?;
        command.args(arguments).args([
            "--no-password",
            "--maintenance-db",
            &self.task.server.database,
            SCRATCH,
        ]);
        program::succeed(&self.agent.children, &mut command)
            .await
            .map(drop)
    }
}

async fn analyze(client: &Client) -> Result<u64> {
    let started = Instant::now();
    dryrun_postgres::analyze(client)
        .await
        .map_err(failure::query)?;
    Ok(started.elapsed().as_millis() as u64)
}

/// One call of `pg_restore`.
#[derive(Default)]
struct Pass {
    claim: RestoreClaim,
    /// Numbers of the entries that failed.
    failed: BTreeSet<u32>,
}

/// An extension of the source; its name and its schema are quoted.
struct Extension {
    name: String,
    version: String,
    schema: String,
}

/// Returns true if the line is the first of an error that the server has raised.
fn is_of_server(line: &str) -> bool {
    line.starts_with(SAYS) && line.contains("ERROR:")
}

/// A table of contents without the entries of [`FILTERED`].
fn filtered(contents: &str) -> String {
    contents
        .lines()
        .filter(|line| !entry(line).is_some_and(|entry| entry.starts_with(FILTERED)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// A table of contents in the passes that `pg_restore` itself makes of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passes {
    /// Entries that must be there before extensions are installed.
    first: String,
    objects: String,
    privileges: String,
    /// Items that may need privileges or must not see others' work.
    last: String,
}

impl Passes {
    fn of(contents: &str, extensions_first: bool) -> Self {
        let mut passes = Self::default();
        for line in contents.lines() {
            let Some(entry) = entry(line) else { continue };
            let is = |kinds: &[&str]| kinds.iter().any(|kind| entry.starts_with(kind));
            // The privileges on the database are restored only where it is made.
            let list = if extensions_first && is(FIRST) {
                &mut passes.first
            } else if is(PRIVILEGES) && !entry.starts_with(OF_DATABASE) {
                &mut passes.privileges
            } else if is(LAST) {
                &mut passes.last
            } else {
                &mut passes.objects
            };
            list.push_str(line);
            list.push('\n');
        }
        passes
    }
}

/// A list of entries as a file.
fn written(list: &str) -> Result<NamedTempFile> {
    let mut file = directory::temporary("restore-")?;
    file.write_all(list.as_bytes())
        .map_err(|error| failure::file(file.path(), &error))?;
    Ok(file)
}

/// The first number of an entry, by which `pg_restore` names it.
fn number(line: &str) -> Option<u32> {
    line.split_once(';')?.0.parse().ok()
}

/// Returns the text after the numbers in
/// `3401; 1418 16413 USER MAPPING - USER MAPPING alice SERVER other postgres`.
fn entry(line: &str) -> Option<&str> {
    let (id, rest) = line.split_once("; ")?;
    id.parse::<u32>().ok()?;
    Some(rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_statement_is_no_error() {
        let said = r#"pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 216; 1255 16390 FUNCTION check(text) postgres
pg_restore: error: could not execute query: ERROR:  language "plx" does not exist
HINT:  Use CREATE EXTENSION to load the language into the database.
Command was: CREATE FUNCTION public.check(text) RETURNS void LANGUAGE plx AS $$
  -- ERROR: is what it says
  log("pg_restore: ERROR:  nothing")
$$;
pg_restore: from TOC entry 3410; 0 16402 TABLE DATA unit app_owner
pg_restore: error: COPY failed for table "unit": ERROR:  invalid input syntax for type integer: "x"
CONTEXT:  COPY unit, line 1, column id: "ERROR:"
pg_restore: error: could not read from input file: end of file
pg_restore: warning: errors ignored on restore: 2"#;
        assert_eq!(said.lines().filter(|line| is_of_server(line)).count(), 2);
    }

    #[test]
    fn privileges_are_a_pass_of_their_own() {
        let line = |entry: &str| format!("10; 1259 16390 {entry}\n");
        let objects = ["TABLE public ACL owner", "ACL - DATABASE shop owner"];
        let privileges = [
            "ACL - SCHEMA app owner",
            "ACL app TABLE orders owner",
            "DEFAULT ACL app DEFAULT PRIVILEGES FOR TABLES owner",
        ];
        let last = [
            "EVENT TRIGGER - watch postgres",
            "COMMENT - EVENT TRIGGER watch postgres",
            "MATERIALIZED VIEW DATA public totals owner",
        ];
        let text = |entries: &[&str]| entries.iter().map(|entry| line(entry)).collect::<String>();
        let contents = format!(
            ";\n; Archive\n{}{}{}",
            text(&last),
            text(&privileges),
            text(&objects)
        );
        let expected = Passes {
            first: String::new(),
            objects: text(&objects),
            privileges: text(&privileges),
            last: text(&last),
        };
        assert_eq!(Passes::of(&contents, false), expected);
        let expected = Passes {
            first: text(&objects[1..]),
            objects: text(&objects[..1]),
            ..expected
        };
        assert_eq!(Passes::of(&contents, true), expected);
    }

    #[test]
    fn user_mappings_are_left_out() {
        let contents = ";\n; Archive created at 2026-01-01\n10; 1259 16390 TABLE public USER MAPPING alice\n\
                        11; 1418 16413 USER MAPPING - USER MAPPING alice SERVER other postgres\n12; 0 0 ACL public TABLE t alice\n";
        assert_eq!(
            filtered(contents),
            contents.replace(
                "11; 1418 16413 USER MAPPING - USER MAPPING alice SERVER other postgres\n",
                ""
            )
        );
    }
}
