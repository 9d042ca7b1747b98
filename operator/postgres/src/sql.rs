//! Queries, each in a `.sql` file. Their rows are read in this crate alone.

pub(crate) use dryrun_core::postgres::sql::{
    ATTRIBUTES, CATALOG, COUNTS, ESCALATIONS, IDENTITY, OBJECTS, PRIVILEGES, ROLE_RIGHTS, SESSION,
    SETTINGS,
};

/// Rights that a dump needs and the role lacks, as (statement, rights).
pub(crate) const MISSING_RIGHTS: &str = include_str!("../sql/missing_rights.sql");
/// Rights to write that the role has.
pub(crate) const WRITE_RIGHTS: &str = include_str!("../sql/write_rights.sql");
/// Encoding, locale, checksums and size of the database.
pub(crate) const REQUIREMENTS: &str = include_str!("../sql/requirements.sql");
/// Roles that the database refers to.
pub(crate) const ROLES: &str = include_str!("../sql/roles.sql");
/// Settings in the server's configuration files.
pub(crate) const FILE_SETTINGS: &str = include_str!("../sql/file_settings.sql");
