//! Files of the archive while it is put together: redacted as they are read, and no more of them in
//! memory than may be kept.

use std::io::{self, Read, Write};

use dryrun_core::leak::Scanner;
use serde::Serialize;

use super::MANIFEST;

/// Bytes of lines that are redacted together.
const BLOCK: usize = 1 << 20;
/// Room for the line that says what was cut.
const NOTE: u64 = 64;
/// Bytes of a line of the manifest beside the path.
const MANIFEST_LINE: u64 = 64 + 3;

/// A file of the archive.
pub(super) struct Draft {
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    /// Finds that were blotted out.
    pub(super) redacted: u64,
    /// Bytes that are not kept.
    pub(super) cut: u64,
    /// Bytes that it has, of which `content` is the first part.
    size: u64,
    /// Bytes of `content` at most.
    limit: u64,
    /// Lines that are not redacted yet.
    block: Vec<u8>,
}

impl Draft {
    /// A text of our own, as it is.
    pub(super) fn of(path: &str, content: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            redacted: 0,
            cut: 0,
            size: content.len() as u64,
            limit: content.len() as u64,
            block: Vec::new(),
            content,
        }
    }

    /// Takes a text.
    pub(super) fn copy(&mut self, scanner: &Scanner, text: &mut dyn Read) -> io::Result<()> {
        self.redacted += scanner.redact(text, &mut *self)?;
        Ok(())
    }

    /// Takes a value as a line of JSON.
    pub(super) fn line(&mut self, scanner: &Scanner, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.block, value)?;
        self.block.push(b'\n');
        if self.block.len() < BLOCK {
            return Ok(());
        }
        self.flush(scanner)
    }

    /// Takes what [`Draft::line`] has kept back.
    pub(super) fn flush(&mut self, scanner: &Scanner) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.copy(scanner, &mut &block[..])
    }

    fn forget_behind(&mut self, limit: u64) {
        self.limit = self.limit.min(limit);
        self.content
            .truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
    }

    /// Cuts it at the end of a line, so that it takes `limit` bytes with a last line that says what
    /// is missing.
    fn cut_to(&mut self, limit: u64) {
        if self.size <= limit {
            return;
        }
        self.forget_behind(limit.saturating_sub(NOTE));
        let lines = self
            .content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.content.truncate(lines);
        self.cut = self.size - self.content.len() as u64;
        let note = if self.path.ends_with(".jsonl") {
            format!("{{\"cutBytes\":{}}}\n", self.cut)
        } else {
            format!("[cut here: {} more bytes]\n", self.cut)
        };
        self.content.extend_from_slice(note.as_bytes());
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_sub(self.content.len() as u64);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.content.extend_from_slice(&bytes[..kept]);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All files of the archive but the manifest.
pub(super) struct Drafts {
    max_bytes: u64,
    logs: Vec<Draft>,
    documents: Vec<Draft>,
}

impl Drafts {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            logs: Vec::new(),
            documents: Vec::new(),
        }
    }

    /// An empty draft: as much as may be kept of all of them is the most that may be kept of one.
    pub(super) fn begin(&self, path: &str) -> Draft {
        Draft {
            limit: self.max_bytes,
            ..Draft::of(path, Vec::new())
        }
    }

    /// Adds a log. What can no longer be kept of the others is forgotten at once: with every
    /// further log there is less room for each.
    pub(super) fn add(&mut self, draft: Draft) {
        self.logs.push(draft);
        let level = level(&self.logs, self.max_bytes);
        self.logs
            .iter_mut()
            .for_each(|log| log.forget_behind(level));
    }

    pub(super) fn add_document(&mut self, draft: Draft) {
        self.documents.push(draft);
    }

    /// All files in the order of their paths, the largest cut so that they fit with the manifest:
    /// logs first, documents only when they alone are too much. The line that says so is in its
    /// place even where there is no room for anything else.
    pub(super) fn finish(mut self, max_bytes: u64) -> Vec<Draft> {
        let manifest: u64 = self
            .logs
            .iter()
            .chain(&self.documents)
            .map(|file| MANIFEST_LINE + file.path.len() as u64)
            .sum();
        let room = max_bytes.saturating_sub(manifest);
        let limit = level(&self.documents, room);
        self.documents
            .iter_mut()
            .for_each(|document| document.cut_to(limit));
        let documents: u64 = self
            .documents
            .iter()
            .map(|document| document.content.len() as u64)
            .sum();
        let limit = level(&self.logs, room.saturating_sub(documents));
        self.logs.iter_mut().for_each(|log| log.cut_to(limit));
        let mut files = self.logs;
        files.append(&mut self.documents);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        debug_assert!(files.iter().all(|file| file.path != MANIFEST));
        files
    }
}

/// The size that no file may have more of, so that all fit: the small ones keep all they have.
fn level(files: &[Draft], room: u64) -> u64 {
    let mut sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
    sizes.sort_unstable();
    let (mut room, mut files) = (room, sizes.len() as u64);
    for size in sizes {
        let share = room / files;
        if size > share {
            return share;
        }
        room -= size;
        files -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts(max_bytes: u64, sizes: &[usize]) -> Drafts {
        let mut drafts = Drafts::new(max_bytes);
        for (index, size) in sizes.iter().enumerate() {
            let mut draft = drafts.begin(&format!("{index}.log"));
            draft
                .write_all(&b"0123456789\n".repeat(size.div_ceil(11))[..*size])
                .unwrap();
            drafts.add(draft);
        }
        drafts
    }

    #[test]
    fn the_largest_are_cut_at_a_line_and_say_so() {
        let files = drafts(2000, &[100, 5000, 900, 6000]).finish(2000);
        let cut: Vec<_> = files.iter().map(|file| file.cut > 0).collect();
        assert_eq!(cut, [false, true, true, true]);
        let total: usize = files.iter().map(|file| file.content.len()).sum();
        assert!((1500..=2000 - 4 * 72).contains(&total), "{total}");
        for file in files.iter().filter(|file| file.cut > 0) {
            let text = str::from_utf8(&file.content).unwrap();
            let (kept, note) = text.split_at(text.find('[').unwrap());
            assert!(kept.ends_with("9\n") && kept.len() as u64 + file.cut == file.size);
            assert_eq!(note, format!("[cut here: {} more bytes]\n", file.cut));
        }
    }

    #[test]
    fn no_more_is_held_than_may_be_kept() {
        let drafts = drafts(1000, &[4000, 4000, 4000]);
        let held: usize = drafts.logs.iter().map(|log| log.content.len()).sum();
        assert!(held <= 1000, "{held}");
    }

    #[test]
    fn documents_come_before_logs() {
        let mut drafts = drafts(1000, &[4000]);
        let mut document = drafts.begin("facts.json");
        document.write_all(&[b'x'; 800]).unwrap();
        drafts.add_document(document);
        let files = drafts.finish(1000);
        assert_eq!((files[1].cut, files[1].content.len()), (0, 800));
        assert_eq!(files[0].content, b"[cut here: 4000 more bytes]\n");
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(level(&[], 0), u64::MAX);
        let files = drafts(1 << 20, &[4000, 0]).finish(1 << 20);
        assert!(files.iter().all(|file| file.cut == 0));
    }
}
