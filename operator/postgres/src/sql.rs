//! Queries, each in a `.sql` file. Their rows are read in this crate alone.

/// Settings that make the text of definitions and the names of objects comparable between servers.
pub(crate) const SESSION: &str = include_str!("../sql/session.sql");
/// The server that answers, in one row.
pub(crate) const IDENTITY: &str = include_str!("../sql/identity.sql");
/// Every definition of the database, as (kind, identity, definition). Needs [`SESSION`].
pub(crate) const CATALOG: &str = include_str!("../sql/catalog.sql");
/// The statements that count every table, as (statement, table). Its parameter is a transaction ID
/// or null. Needs [`SESSION`].
pub(crate) const COUNTS: &str = include_str!("../sql/counts.sql");
/// The statement that collects statistics for the planner.
pub(crate) const ANALYZE: &str = include_str!("../sql/analyze.sql");

/// Every granted privilege, as (class, object, grantee, privilege, grantable, sign, grantors).
/// Needs [`SESSION`].
pub(crate) const PRIVILEGES: &str = include_str!("../sql/privileges.sql");
/// Every privilege that is no ACL entry, in the columns of [`PRIVILEGES`].
pub(crate) const ATTRIBUTES: &str = include_str!("../sql/attributes.sql");
/// Every object that a matrix may name, as (class, name, owner, initial). Its parameter is the
/// names of the columns that are wanted.
pub(crate) const OBJECTS: &str = include_str!("../sql/objects.sql");
/// Ways in which roles could get more than the catalog shows, as (role, why, what). Needs
/// [`SESSION`].
pub(crate) const ESCALATIONS: &str = include_str!("../sql/escalations.sql");

/// Rights of roles that no dump of a database carries, as (class, object, grantee, privilege,
/// grantable).
pub(crate) const ROLE_RIGHTS: &str = include_str!("../sql/role_rights.sql");

/// Query for the privileges that a login lacks on each object of a name, as (kind, missing). Needs
/// the session of [`SESSION`].
pub(crate) const ACCESS: &str = include_str!("../sql/access.sql");
/// Every setting of the server, as (name, value, of_server).
pub(crate) const SETTINGS: &str = include_str!("../sql/settings.sql");
/// Settings in the server's configuration files.
pub(crate) const FILE_SETTINGS: &str = include_str!("../sql/file_settings.sql");

/// Rights that a dump needs and the role lacks, as (statement, rights).
pub(crate) const MISSING_RIGHTS: &str = include_str!("../sql/missing_rights.sql");
/// Rights to write that the role has.
pub(crate) const WRITE_RIGHTS: &str = include_str!("../sql/write_rights.sql");
/// Room in the server's lock table, as (needed, held, slots, per_slot).
pub(crate) const LOCKS: &str = include_str!("../sql/locks.sql");
/// Tables that were rewritten or emptied since the snapshot.
pub(crate) const REWRITTEN: &str = include_str!("../sql/rewritten.sql");
/// Encoding, locale, checksums and size of the database.
pub(crate) const REQUIREMENTS: &str = include_str!("../sql/requirements.sql");
/// Roles that the database refers to.
pub(crate) const ROLES: &str = include_str!("../sql/roles.sql");

/// The server at a barrier between scenarios.
pub(crate) const BARRIER: &str = include_str!("../sql/barrier.sql");
/// Committed changes of rows, as (tables, what, number). Needs [`SESSION`].
pub(crate) const CHANGES: &str = include_str!("../sql/changes.sql");
/// The names in a list of tables of [`CHANGES`].
pub(crate) const TABLE_NAMES: &str = include_str!("../sql/table_names.sql");
/// Every relation with a file of rows, as (name, file, entry, unlogged). Needs [`SESSION`].
pub(crate) const RELATIONS: &str = include_str!("../sql/relations.sql");
/// The statements that read every sequence. Needs [`SESSION`].
pub(crate) const SEQUENCES: &str = include_str!("../sql/sequences.sql");
/// Large objects since a transaction ID, as (created or written, untouched).
pub(crate) const LARGE_OBJECTS: &str = include_str!("../sql/large_objects.sql");
