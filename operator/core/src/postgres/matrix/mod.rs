//! The frozen privilege matrix as a set of rows.
//!
//! Every privilege of a database is a row of the privilege catalog (the queries `privileges.sql`
//! and `attributes.sql`). What the spec declares is expanded to rows ([`compile`]) or read from a
//! list of them ([`Literal`]), what production granted is taken away ([`revoke`]), the rows are
//! brought about ([`apply`]), read back and compared as sets ([`compare`]). Rows are the one form
//! of all of it; statements are only ever made from rows.

mod apply;
mod class;
mod difference;
mod escalation;
mod expected;
mod grants;
mod inventory;
mod literal;
mod log_settings;
mod name;
mod profile;
mod revoke;
mod rights;
mod row;
mod scope;
mod selector;
mod statement;

pub use apply::{apply, create, give};
pub(crate) use class::ObjectClass;
pub use difference::compare;
pub use escalation::{EscalationPath, escalations};
pub use expected::{Compiled, compile};
pub use inventory::{CatalogObject, Inventory};
pub use literal::{InvalidLiteral, Literal, MAX_ROWS, scan};
pub use log_settings::{LogSetting, log_settings};
pub(crate) use name::{ObjectName, argument_types, name_parts};
pub use profile::declared_grants;
pub use revoke::revoke;
pub use rights::{differing, undeclared};
pub use row::{PUBLIC, Reading, described, is_definition, line, parse, summary};
pub(crate) use selector::Selector;
pub(in crate::postgres) use selector::matches;
pub use statement::Statement;
