//! C-12: what is kept of a run: redacted, searched, bounded, under one manifest, in one archive.

mod archive;
mod draft;

use dryrun_core::problem::Problem;
use dryrun_core::run::key;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Read, Take},
    path::Path,
};

use dryrun_core::{
    agent_api::tasks::SealTask,
    digest,
    leak::{Credential, EXAMPLES, Scanner},
    postgres::server_log::{
        Entry,
        kept::{self, Kept},
    },
    run::{
        facts::{LeakFacts, SealFacts, SealedFile},
        id,
    },
};
use hyper::body::Bytes;
use sha2::{Digest, Sha256};

use self::draft::{Draft, Drafts};
use super::search::{self, HARNESS, SERVER_LOG};
use crate::{
    directory,
    failure::{self, Result},
    volume::Volume,
};

/// The manifest's name in the archive.
const MANIFEST: &str = "MANIFEST.sha256";
/// The copy's log in the archive.
const LOG: &str = "server/server.jsonl";
/// The statements of traced roles in the archive.
const TRACE: &str = "trace/statements.jsonl";
/// Bytes of one line of the copy's log: a longer one is not kept.
const LINE: u64 = 8 << 20;
/// Bytes of one file that are read: a sparse one may be longer than any volume.
const READ: u64 = 4 << 30;

/// Puts everything that is kept into an archive.
pub(super) async fn run(secrets: &Path, task: SealTask) -> Result<(SealFacts, Bytes)> {
    let secrets = secrets.to_owned();
    directory::off_thread(move || {
        check_names(&task)?;
        let credentials = search::credentials(&secrets, &task.search)?;
        let scanner = search::scanner(&credentials, &task.search)?;
        let mut seal = Seal {
            volume: Volume::open(Path::new(&task.search.directory))?,
            scanner: &scanner,
            drafts: Drafts::new(task.max_bytes),
            dropped: Dropped::default(),
            changed_logs: Vec::new(),
        };
        seal.server_log(&task);
        seal.harness_logs(&task);
        seal.name_the_rest(&task);
        seal.documents(&task);
        seal.finish(&credentials, &task)
    })
    .await
}

/// Paths in the archive are plain, so that they unpack below one directory and stand in the
/// manifest as they are.
fn check_names(task: &SealTask) -> Result<()> {
    let logs = task.logs.keys().chain(&task.unfinished);
    let logs = logs.map(|name| (name, name.contains('/')));
    let taken = [MANIFEST, LOG, TRACE];
    let documents = task.documents.keys().map(|path| {
        let ours = taken.contains(&&**path) || path.starts_with(HARNESS);
        (path, ours)
    });
    for (name, refused) in logs.chain(documents) {
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && name
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.'));
        if refused || !plain {
            return Err(Problem::permanent(
                "InvalidTask",
                format!("{name:?} is no name of a file in the archive"),
            ));
        }
    }
    Ok(())
}

/// The archive that is being put together.
struct Seal<'a> {
    volume: Volume,
    scanner: &'a Scanner,
    drafts: Drafts,
    dropped: Dropped,
    changed_logs: Vec<String>,
}

impl Seal<'_> {
    /// The copy's log without rows, and the statements of traced roles.
    fn server_log(&mut self, task: &SealTask) {
        let own = [
            id::bootstrap_role(&task.search.run_uid),
            id::restore_role(&task.search.run_uid),
        ];
        let traced: BTreeSet<String> = task
            .trace_roles
            .iter()
            .filter(|role| !own.contains(role))
            .cloned()
            .collect();
        let (mut log, mut trace) = (self.drafts.begin(LOG), self.drafts.begin(TRACE));
        let (mut statements, mut unread) = (0_u64, 0_u64);
        let read = self
            .volume
            .file(OsStr::new(SERVER_LOG[0]))
            .and_then(|file| {
                each_line(file, |line| {
                    let entry = line.and_then(|line| Entry::parse(&String::from_utf8_lossy(line)));
                    match entry.map(|entry| kept::kept(entry, &traced)) {
                        Some(Kept::Entry(entry)) => log.line(self.scanner, &entry),
                        Some(Kept::Statement(statement)) => trace.line(self.scanner, &statement),
                        Some(Kept::Nothing) => {
                            statements += 1;
                            Ok(())
                        }
                        None => {
                            unread += 1;
                            Ok(())
                        }
                    }
                })
            });
        let flushed = log.flush(self.scanner).and(trace.flush(self.scanner));
        if let Err(error) = read.and(flushed) {
            self.dropped.add(format!("{}: {error}", SERVER_LOG[0]));
        }
        for (count, what) in [
            (statements, "statements that are not traced"),
            (unread, "lines that are too long or no JSON"),
        ] {
            if count > 0 {
                self.dropped
                    .add(format!("{}: {count} {what}", SERVER_LOG[0]));
            }
        }
        self.drafts.add(log);
        if !traced.is_empty() {
            self.drafts.add(trace);
        }
    }

    fn open(&self, path: &str) -> io::Result<Take<File>> {
        Ok(self.volume.file(OsStr::new(path))?.take(READ))
    }

    fn harness_logs(&mut self, task: &SealTask) {
        for (name, digest) in &task.logs {
            let path = format!("{HARNESS}{name}.log");
            match self.harness_log(&path, Some(digest)) {
                Ok(draft) => self.drafts.add(draft),
                Err(error) => {
                    self.dropped.add(format!("{path}: {error}"));
                    self.changed_logs.push(path);
                }
            }
        }
        if let Some(name) = &task.unfinished {
            let path = format!("{HARNESS}{name}.log");
            match self.harness_log(&path, None) {
                Ok(draft) => self.drafts.add(draft),
                // It had not begun.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.dropped.add(format!("{path}: {error}")),
            }
        }
    }

    /// A log, with this digest if it has one. Every command of the harness can write where all of
    /// its logs are, so one with another digest has no known author.
    fn harness_log(&self, path: &str, digest: Option<&String>) -> io::Result<Draft> {
        let mut draft = self.drafts.begin(path);
        let mut file = Digested {
            text: self.open(path)?,
            digest: Sha256::new(),
        };
        draft.copy(self.scanner, &mut file)?;
        whole(&file.text)?;
        let found = digest::prefixed(&file.digest.finalize());
        if digest.is_none_or(|digest| *digest == found) {
            return Ok(draft);
        }
        Err(io::Error::other(
            "it is not what it was when its command ended",
        ))
    }

    /// Says of every file of the volume that is not kept that it is not.
    fn name_the_rest(&mut self, task: &SealTask) {
        let kept = |path: &OsStr| {
            path == SERVER_LOG[0]
                || task
                    .logs
                    .keys()
                    .chain(&task.unfinished)
                    .any(|name| *path == *format!("{HARNESS}{name}.log"))
        };
        let listing = self.volume.list();
        let files = listing.files.into_iter().map(|path| {
            let why = if search::is_harness(&path) {
                "no log of a command that has ended"
            } else {
                "not evidence"
            };
            (path, why.to_owned())
        });
        for (path, why) in files.chain(listing.others) {
            if !kept(&path) {
                let path = self.scanner.place(&path.to_string_lossy());
                self.dropped.add(format!("{path}: {why}"));
            }
        }
    }

    fn documents(&mut self, task: &SealTask) {
        for (path, text) in &task.documents {
            let mut draft = self.drafts.begin(path);
            match draft.copy(self.scanner, &mut text.as_bytes()) {
                Ok(()) => self.drafts.add_document(draft),
                Err(error) => self.dropped.add(format!("{path}: {error}")),
            }
        }
    }

    /// Bounds, searches and packs the drafts.
    fn finish(self, credentials: &[Credential], task: &SealTask) -> Result<(SealFacts, Bytes)> {
        let mut facts = SealFacts {
            dropped: self.dropped.named(),
            changed_logs: self.changed_logs,
            ..SealFacts::default()
        };
        let mut files = self.drafts.finish(task.max_bytes);
        let manifest: String = files
            .iter()
            .map(|file| {
                format!(
                    "{}  {}\n",
                    digest::hex(&Sha256::digest(&file.content)),
                    file.path
                )
            })
            .collect();
        facts.manifest = digest::prefixed(&Sha256::digest(&manifest));
        facts.files = files.iter().map(Draft::sealed).collect();
        let manifest = Draft::of(MANIFEST, manifest.into_bytes());
        let place = files.partition_point(|file| file.path < manifest.path);
        files.insert(place, manifest);
        facts.search = proven_search(self.scanner, credentials, &files);
        let archive = archive::pack(&files).map_err(|error| failure::file(MANIFEST, &error))?;
        facts.archive = digest::prefixed(&Sha256::digest(&archive));
        facts.archive_bytes = archive.len() as u64;
        Ok((facts, archive.into()))
    }
}

/// Searches what is kept, and the canary among it: a search that misses the canary proves nothing.
fn proven_search(scanner: &Scanner, credentials: &[Credential], files: &[Draft]) -> LeakFacts {
    let mut facts = LeakFacts::default();
    for file in files {
        scanner.search(&file.path, &file.content[..], &mut facts);
    }
    // None of the kept texts is the planted one.
    facts.canary = false;
    if let Some(canary) = credentials.iter().find(|c| c.name == key::CANARY) {
        let planted = ["planted: ".as_bytes(), canary.value(), b"\n"].concat();
        scanner.search(key::CANARY, &planted[..], &mut facts);
    }
    facts
}

/// Items that are not kept, with the reason; as many examples as in other facts.
#[derive(Default)]
struct Dropped {
    named: Vec<String>,
    more: u64,
}

impl Dropped {
    fn add(&mut self, what: String) {
        if self.named.len() < EXAMPLES {
            self.named.push(what);
        } else {
            self.more += 1;
        }
    }

    fn named(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.named.into_iter().chain(more).collect()
    }
}

/// A text with the digest of what was read of it.
struct Digested<R> {
    text: R,
    digest: Sha256,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

/// Checks that a file was read to its end.
fn whole(file: &Take<File>) -> io::Result<()> {
    if file.limit() > 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("it has {READ} bytes or more")))
}

/// Hands over line by line, and nothing for a line that is too long to be held.
fn each_line(
    file: impl Read,
    mut take: impl FnMut(Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == LINE && line.last() != Some(&b'\n') {
            file.skip_until(b'\n')?;
            take(None)?;
        } else {
            take(Some(&line))?;
        }
    }
}

impl Draft {
    fn sealed(&self) -> SealedFile {
        SealedFile {
            path: self.path.clone(),
            bytes: self.content.len() as u64,
            sha256: digest::prefixed(&Sha256::digest(&self.content)),
            redacted: self.redacted,
            cut_bytes: self.cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, fs};

    use dryrun_core::agent_api::tasks::SearchTask;

    const SUPERUSER: &str = "Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0";
    const CANARY: &str = "Q0fTk2vXz8LmR5bYc7NwJ1hG4sDpA6uE";

    fn world(max_bytes: u64) -> (tempfile::TempDir, SealTask) {
        let root = tempfile::tempdir().unwrap();
        for directory in ["secrets", "evidence/server", "evidence/harness"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        write("secrets/superuser", SUPERUSER);
        write("secrets/canary", CANARY);
        write("evidence/server/server.json", "");
        let long = format!("password {SUPERUSER}\n").repeat(1000);
        let logs = [("S1", &*long), ("S2", "fine\n")];
        for (name, text) in logs {
            write(&format!("evidence/harness/{name}.log"), text);
        }
        let task = SealTask {
            search: SearchTask {
                directory: root.path().join("evidence").display().to_string(),
                run_uid: "0a1b2c3d".into(),
                scenarios: 2,
                roles: Vec::new(),
            },
            documents: BTreeMap::from([("facts.json".to_owned(), "{}\n".to_owned())]),
            logs: logs
                .iter()
                .chain(&[("S3", "gone\n")])
                .map(|(name, text)| ((*name).to_owned(), digest(text)))
                .collect(),
            unfinished: None,
            trace_roles: Vec::new(),
            max_bytes,
        };
        (root, task)
    }

    fn digest(text: &str) -> String {
        digest::prefixed(&Sha256::digest(text))
    }

    async fn seal(root: &tempfile::TempDir, task: &SealTask) -> (SealFacts, Bytes) {
        run(&root.path().join("secrets"), task.clone())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_same_evidence_gives_the_same_archive() {
        let (root, task) = world(1 << 20);
        let (facts, archive) = seal(&root, &task).await;
        assert_eq!((facts.clone(), archive), seal(&root, &task).await);
        let files: Vec<_> = facts.files.iter().map(|f| (&*f.path, f.redacted)).collect();
        assert_eq!(
            files,
            [
                ("facts.json", 0),
                ("harness/S1.log", 1000),
                ("harness/S2.log", 0),
                ("server/server.jsonl", 0)
            ]
        );
        assert!(facts.search.canary && facts.search.found_count == 0);
        assert_eq!(facts.dropped.len(), 1, "{:?}", facts.dropped);
        assert!(facts.dropped[0].starts_with("harness/S3.log: "));
        assert_eq!(facts.changed_logs, ["harness/S3.log"]);
    }

    #[tokio::test]
    async fn what_was_at_work_is_kept_as_far_as_it_had_come() {
        let (root, mut task) = world(1 << 20);
        task.logs.remove("S3");
        task.unfinished = Some("S3".into());
        let kept = |facts: &SealFacts| facts.files.iter().any(|f| f.path == "harness/S3.log");
        let (facts, _) = seal(&root, &task).await;
        assert!(!kept(&facts) && facts.dropped.is_empty(), "{facts:?}");
        let log = root.path().join("evidence/harness/S3.log");
        fs::write(log, format!("half of {SUPERUSER}\n")).unwrap();
        let (facts, _) = seal(&root, &task).await;
        assert!(kept(&facts) && facts.dropped.is_empty(), "{facts:?}");
        assert!(facts.changed_logs.is_empty() && facts.search.found_count == 0);
    }

    #[tokio::test]
    async fn a_log_that_its_command_did_not_leave_is_not_kept() {
        let (root, mut task) = world(1 << 20);
        let harness = root.path().join("evidence/harness");
        fs::write(harness.join("S2.log"), "fine\nforged\n").unwrap();
        // One that has not ended: another process wrote this in its name.
        fs::write(harness.join("S3.log"), "fine\n").unwrap();
        task.logs.remove("S3");
        let (facts, _) = seal(&root, &task).await;
        assert_eq!(facts.changed_logs, ["harness/S2.log"]);
        assert_eq!(
            facts.dropped,
            [
                "harness/S2.log: it is not what it was when its command ended",
                "harness/S3.log: no log of a command that has ended"
            ]
        );
        let kept = facts.files.iter().map(|file| &*file.path);
        assert_eq!(
            kept.collect::<Vec<_>>(),
            ["facts.json", "harness/S1.log", "server/server.jsonl"]
        );
    }

    #[tokio::test]
    async fn the_largest_is_cut_and_nothing_else() {
        let (root, task) = world(4096);
        let (facts, _) = seal(&root, &task).await;
        let cut: Vec<_> = facts
            .files
            .iter()
            .filter(|file| file.cut_bytes > 0)
            .collect();
        assert_eq!(cut.len(), 1, "{cut:?}");
        assert_eq!(cut[0].path, "harness/S1.log");
        let whole = "password [redacted superuser]\n".len() as u64 * 1000;
        assert!(cut[0].cut_bytes < whole && cut[0].bytes + cut[0].cut_bytes >= whole);
        let kept: u64 = facts.files.iter().map(|file| file.bytes).sum();
        assert!(kept < 4096, "{kept}");
    }

    #[tokio::test]
    async fn names_that_would_leave_the_archive_are_refused() {
        let (root, task) = world(4096);
        for path in [
            "../x",
            "/x",
            "a//b",
            "harness/S1.log",
            MANIFEST,
            "a\nb",
            r"a\b",
            "",
        ] {
            let mut task = task.clone();
            task.documents.insert(path.to_owned(), String::new());
            let error = run(&root.path().join("secrets"), task).await.unwrap_err();
            assert_eq!(error.reason, "InvalidTask", "{path}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let long = "x".repeat(usize::try_from(LINE).unwrap() + 5);
        let text = format!("a\n{long}\nb");
        let mut lines = Vec::new();
        each_line(text.as_bytes(), |line| {
            lines.push(line.map(<[u8]>::to_vec));
            Ok(())
        })
        .unwrap();
        assert_eq!(lines, [Some(b"a\n".to_vec()), None, Some(b"b".to_vec())]);
    }
}
