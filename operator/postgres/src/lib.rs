//! Sessions with production and its copy: what is read of a server, what is said to it, and what
//! its errors mean. Operator and agents read servers through this crate alone, so that they agree.

mod catalog;
mod copy;
mod effects;
mod error;
mod identity;
mod login;
mod privileges;
mod query;
mod session;
mod settings;
mod snapshot;
mod source;
mod sql;
pub mod statements;
#[cfg(feature = "testing")]
pub mod testing;

pub use catalog::{catalog, counts, counts_in, counts_since};
pub use copy::{
    access, analyze, backends, default_versions, end_backends, file_piece, file_size,
    install_extension, keep, keep_first, kept, role_exists,
};
pub use effects::{advance_ledger, large_objects, open_ledger, read_ledger};
pub use error::{Class, Error, Result};
pub use identity::{Identity, identity};
pub use login::{Guarded, Login, Refused};
pub use privileges::{escalations, inventory, privileges, role_rights};
pub use query::run;
pub use session::{Options, Session};
pub use settings::{Setting, file_settings, settings};
pub use snapshot::{TransactionState, end, export_snapshot, import_snapshot, rewritten};
pub use source::{limit_lock_waits, locks, requirements, rights, roles};
