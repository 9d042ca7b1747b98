//! The output of a scenario in the evidence: bounded, and digested as it is written.

use dryrun_core::problem::Problem;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use dryrun_core::{digest, run::facts::ScenarioClaim};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::failure::{self, Result};

/// Bytes that are kept of one scenario's output.
const LIMIT: u64 = 8 << 20;

/// A log that is being written.
pub(super) struct Log {
    file: File,
    digest: Sha256,
    limit: u64,
    kept: u64,
    seen: u64,
}

impl Log {
    /// Begins the log of `name`; an earlier one of that name is replaced.
    pub(super) fn create(directory: &Path, name: &str) -> Result<Self> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(Problem::permanent(
                "InvalidTask",
                format!("{name:?} is no name of a log"),
            ));
        }
        let path = directory.join(format!("{name}.log"));
        let create = || {
            fs::create_dir_all(directory)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            // Never through a link that a command may have left there.
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o640)
                .open(&path)
        };
        let file = create().map_err(|error| failure::file(&path, &error))?;
        Ok(Self {
            file,
            digest: Sha256::new(),
            limit: LIMIT,
            kept: 0,
            seen: 0,
        })
    }

    /// Keeps what comes out of `pipe` until it is closed. Nothing is lost when this is interrupted
    /// between two reads.
    pub(super) async fn follow(&mut self, pipe: &mut pipe::Receiver) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match pipe.read(&mut buffer).await? {
                0 => return Ok(()),
                read => self.append(&buffer[..read])?,
            }
        }
    }

    /// Keeps `bytes` as far as there is room.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seen += bytes.len() as u64;
        let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        self.kept += kept.len() as u64;
        self.digest.update(kept);
        self.file.write_all(kept)
    }

    /// Ends the log, says in it when it was cut, and writes its size and digest into the claim.
    pub(super) fn finish(mut self, claim: &mut ScenarioClaim) -> io::Result<()> {
        if self.seen > self.kept {
            let note = format!(
                "\n[the output is cut here: {} more bytes]\n",
                self.seen - self.kept
            );
            self.digest.update(&note);
            self.file.write_all(note.as_bytes())?;
        }
        claim.log_bytes = self.seen;
        claim.log_digest = digest::prefixed(&self.digest.finalize());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_cut_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log {
            limit: 5,
            ..Log::create(directory.path(), "S2").unwrap()
        };
        log.append(b"abc").unwrap();
        log.append(b"defg").unwrap();
        let mut claim = ScenarioClaim::default();
        log.finish(&mut claim).unwrap();
        let text = fs::read_to_string(directory.path().join("S2.log")).unwrap();
        assert_eq!(text, "abcde\n[the output is cut here: 2 more bytes]\n");
        assert_eq!(
            (claim.log_bytes, claim.log_digest),
            (7, digest::prefixed(&Sha256::digest(&text)))
        );
    }

    #[test]
    fn a_log_stays_in_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["../S2", "a/b", "", ".hidden"] {
            assert!(Log::create(directory.path(), name).is_err(), "{name:?}");
        }
        fs::write(directory.path().join("precious"), "x").unwrap();
        std::os::unix::fs::symlink("precious", directory.path().join("S2.log")).unwrap();
        Log::create(directory.path(), "S2").unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join("precious")).unwrap(),
            "x"
        );
    }
}
