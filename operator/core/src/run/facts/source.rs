//! C-03: what was found out of production.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::{PrivilegeRow, SetSummary};
use crate::problem::Problem;

/// C-03: how far the dump pod came. Each part is present once its stage was reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DumpFacts {
    /// Free space on the data volume.
    pub disk: Option<DiskFacts>,
    /// Identity of production.
    pub identity: Option<SourceIdentity>,
    /// Rights of the dump role.
    pub rights: Option<RightsFacts>,
    /// Room for the dump's locks in production's lock table.
    pub locks: Option<LockFacts>,
    /// The sessions in which production was read.
    pub sessions: Option<SessionFacts>,
    /// Requirements on the copy's server to hold it.
    pub requirements: Option<SourceRequirements>,
    /// Roles that the database refers to, to be made before the restore.
    pub roles: BTreeSet<String>,
    /// Rows of `role_rights.sql` about them and PUBLIC: no dump of a database carries them.
    pub role_rights: BTreeSet<PrivilegeRow>,
    /// The dump itself.
    pub archive: Option<ArchiveFacts>,
    /// Problem that stopped it before its end.
    pub problem: Option<Problem>,
}

/// Free space on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskFacts {
    /// Bytes that an unprivileged process may still write (`statvfs` f_bavail).
    pub free_bytes: u64,
    /// `pg_database_size` of the source; 0 when it could not be read.
    pub source_bytes: u64,
}

impl DiskFacts {
    /// Dump and copy together take less than this many times the size of the source: the compressed
    /// dump is a part of it, the copy has no bloat.
    const ROOM_PER_SOURCE_BYTE: u64 = 2;

    /// Bytes that must be free before the dump, of which `minimum_free` must also be free after the
    /// restore.
    pub fn needed(&self, minimum_free: u64) -> u64 {
        minimum_free.max(self.source_bytes.saturating_mul(Self::ROOM_PER_SOURCE_BYTE))
    }
}

/// Identity of a Postgres server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceIdentity {
    /// `pg_control_system().system_identifier`, unsigned, as a decimal string.
    pub system_identifier: String,
    /// `server_version_num`.
    pub version_num: u32,
    /// `pg_postmaster_start_time()`, UTC, RFC 3339 with microseconds.
    pub started_at: String,
    /// `pg_control_checkpoint().timeline_id`.
    pub timeline: u32,
    /// `inet_server_addr()`, host part.
    pub address: String,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
}

/// Rights of the dump role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RightsFacts {
    /// Statements that would give it what the dump needs and it lacks; at most 20 stand here.
    pub missing: Vec<String>,
    /// Number of missing rights.
    pub missing_count: u64,
    /// Rights to write that it has; at most 20 stand here.
    pub writable: Vec<String>,
    /// Number of rights to write.
    pub writable_count: u64,
}

/// Room in a server's lock table. All clients share it: when it is full, statements of any of them
/// fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockFacts {
    /// Relations that pg_dump locks until it ends.
    pub needed: u64,
    /// Locks that were held before the dump.
    pub held: u64,
    /// `max_connections` and `max_prepared_transactions` together.
    pub slots: u64,
    /// `max_locks_per_transaction`.
    pub per_slot: u64,
}

impl LockFacts {
    /// The part of the lock table that stays free for production's own clients during the dump.
    const RESERVE: u64 = 4;

    /// Number of locks that the table holds.
    pub fn capacity(&self) -> u64 {
        self.slots.saturating_mul(self.per_slot)
    }

    /// Returns true if the dump's locks fit and leave the reserve free.
    pub fn suffices(&self) -> bool {
        let capacity = self.capacity();
        self.needed + self.held <= capacity - capacity / Self::RESERVE
    }

    /// Smallest `max_locks_per_transaction` with which they would.
    pub fn per_slot_wanted(&self) -> u64 {
        let locks = self.needed + self.held;
        let capacity = (locks * Self::RESERVE).div_ceil(Self::RESERVE - 1);
        capacity.div_ceil(self.slots.max(1))
    }
}

impl std::fmt::Display for LockFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "pg_dump locks {} relations and {} locks are held, of {} in all; a quarter stays free for other clients; max_locks_per_transaction must be {} or more, not {}",
            self.needed,
            self.held,
            self.capacity(),
            self.per_slot_wanted(),
            self.per_slot
        )
    }
}

/// The sessions in which production was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionFacts {
    /// `transaction_read_only` of the agent's session.
    pub read_only: bool,
    /// `pg_current_xact_id_if_assigned()` of the agent's session at its end: a transaction ID means
    /// that it wrote.
    pub xid_assigned: bool,
    /// The options that pg_dump's sessions were started with.
    pub dump_options: Vec<String>,
}

/// Requirements on the copy's server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRequirements {
    /// Server encoding.
    pub encoding: String,
    /// Locale provider: libc, icu or builtin.
    pub locale_provider: String,
    /// LC_COLLATE, or the provider's locale.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// Data checksums are on.
    pub data_checksums: bool,
    /// Extensions and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Extensions that the copy's image does not have, as `name version`.
    pub unavailable: Vec<String>,
    /// Extensions that it has in other versions alone, as `name version`.
    pub other_versions: Vec<String>,
    /// The server's own values of [`crate::postgres::settings::MIRRORED`], before any role or
    /// database changes them.
    pub settings: BTreeMap<String, String>,
    /// Those of them that could not be seen, since the dump's role, its session or the database
    /// overrides them.
    pub settings_unseen: Vec<String>,
}

/// The dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArchiveFacts {
    /// Tree digest over the dump directory, `sha256:…`.
    pub digest: String,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Version of `pg_dump`, as `pg_dump --version` prints it.
    pub pg_dump: String,
    /// The source's catalog in the dump's snapshot, the same before and after pg_dump read it.
    pub catalog: SetSummary,
    /// Exact row counts of the source's tables inside the dump's snapshot.
    pub counts: SetSummary,
    /// Rows of all tables.
    pub rows: u64,
    /// Milliseconds of `pg_dump`.
    pub milliseconds: u64,
}

/// Maximum number of dumps when the source's catalog changes meanwhile.
pub const DUMP_ATTEMPTS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_lock_table_stays_free() {
        let locks = |needed| LockFacts {
            needed,
            held: 100,
            slots: 100,
            per_slot: 64,
        };
        assert!(locks(4700).suffices());
        assert!(!locks(4701).suffices());
        let wanted = LockFacts {
            per_slot: locks(4701).per_slot_wanted(),
            ..locks(4701)
        };
        assert_eq!(wanted.per_slot, 65);
        assert!(wanted.suffices());
    }
}
