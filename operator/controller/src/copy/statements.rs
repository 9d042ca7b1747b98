//! The SQL of this crate. No statement is put together anywhere else.

use dryrun_core::postgres::sql::Template;

macro_rules! sql {
    ($($name:ident = $file:literal;)+) => {
        $(pub(super) const $name: &str = include_str!(concat!("../../sql/", $file));)+
    };
}

sql! {
    TERMINATE = "terminate.sql";
    UNLOGGED = "unlogged.sql";
    BACKENDS = "backends.sql";
    LOG_SIZE = "log_size.sql";
    LOG_PIECE = "log_piece.sql";
    TRACE = "trace.sql";
    RELOAD = "reload.sql";
    ROLE_EXISTS = "role_exists.sql";
    BASELINE_CREATE = "baseline_create.sql";
    BASELINE_WRITE = "baseline_write.sql";
    BASELINE_WRITE_FIRST = "baseline_write_first.sql";
    BASELINE_READ = "baseline_read.sql";
    MATRIX_SESSION = "matrix_session.sql";
    FILE_SETTINGS = "file_settings.sql";
}

pub(super) const MARKER: Template<1> =
    Template::new(include_str!("../../sql/marker.sql"), ["text"]);
pub(super) const PASSWORD: Template<2> =
    Template::new(include_str!("../../sql/password.sql"), ["role", "verifier"]);
pub(super) const RESTORE_ROLE: Template<2> = Template::new(
    include_str!("../../sql/restore_role.sql"),
    ["role", "verifier"],
);
pub(super) const LOCK_ROLE: Template<1> =
    Template::new(include_str!("../../sql/lock_role.sql"), ["role"]);
