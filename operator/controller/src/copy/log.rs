//! The copy's log, read through SQL.

use dryrun_core::postgres::server_log::{self, Entry, Lines, WindowReader};
use dryrun_core::problem::Problem;
use dryrun_core::run::layout::SERVER_LOGS_DIR;
use dryrun_postgres::statements::{COVER, RELOAD, TRACE};
use std::time::Duration;

use super::Session;
use super::session::short;

/// Bytes that are read at a time.
const PIECE: u32 = 1 << 20;
/// Maximum lag of the server's log collector.
const LAG: Duration = Duration::from_secs(10);

fn file() -> String {
    format!("{SERVER_LOGS_DIR}/server.json")
}

/// Turns the log of statements on.
pub(crate) async fn trace(session: &Session) -> Result<(), Problem> {
    for statement in [TRACE, RELOAD] {
        let doing = "turn the statement log on";
        short(dryrun_postgres::run(session.client(), doing, statement)).await?;
    }
    Ok(())
}

/// Bytes in the log so far.
pub(crate) async fn size(session: &Session) -> Result<u64, Problem> {
    short(dryrun_postgres::file_size(session.client(), &file())).await
}

/// Writes a marker into the log.
pub(crate) async fn mark(session: &Session, marker: &str) -> Result<(), Problem> {
    let doing = "mark the copy's log";
    for statement in [&*server_log::marker(marker), COVER] {
        short(dryrun_postgres::run(session.client(), doing, statement)).await?;
    }
    Ok(())
}

async fn piece(session: &Session, offset: u64) -> Result<Vec<u8>, Problem> {
    let file = file();
    let piece = dryrun_postgres::file_piece(session.client(), &file, offset, PIECE);
    short(piece).await
}

/// Reads on until the closing marker is there; whether it came within the collector's lag.
pub(crate) async fn follow(session: &Session, reader: &mut WindowReader) -> Result<bool, Problem> {
    let begin = tokio::time::Instant::now();
    loop {
        let bytes = piece(session, reader.next_offset()).await?;
        if reader.feed(&bytes) {
            return Ok(true);
        }
        if bytes.is_empty() {
            if begin.elapsed() > LAG {
                return Ok(false);
            }
            // The collector writes from its own process; there is no signal when it has.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Returns true if the log has this marker of the operator's already, from `offset` on.
pub(crate) async fn has_marker(
    session: &Session,
    mut reader: WindowReader,
) -> Result<bool, Problem> {
    loop {
        let bytes = piece(session, reader.next_offset()).await?;
        reader.feed(&bytes);
        if reader.begun() || bytes.is_empty() {
            return Ok(reader.begun());
        }
    }
}

/// Shows every entry that there is so far. A line that is too long to be held is passed over.
pub(crate) async fn entries(
    session: &Session,
    mut show: impl FnMut(&Entry),
) -> Result<(), Problem> {
    let end = size(session).await?;
    let (mut offset, mut lines) = (0_u64, Lines::default());
    while offset < end {
        let bytes = piece(session, offset).await?;
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        lines.feed(&bytes, |line| line.entry().iter().for_each(&mut show));
    }
    Ok(())
}
