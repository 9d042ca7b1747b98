//! The frozen privilege matrix: which roles exist and what exactly they may do.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{ConfigMapKey, schema};

/// The frozen matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("self.roles.all(name, name.size() > 0 && name.size() < 64 && !name.startsWith('pg_') && !(name in ['public', 'none']))")
    .message("a role's name has 1 to 63 characters, does not begin with pg_ and is not public or none: Postgres keeps those for itself"))]
#[x_kube(validation = kube::core::Rule::new("self.roles.all(name, !has(self.roles[name].profiles) || self.roles[name].profiles.all(p, has(self.profiles) && p in self.profiles))")
    .message("a role's profiles must be names in privileges.profiles"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.profiles) || self.profiles.all(name, !has(self.profiles[name].includes) || self.profiles[name].includes.all(p, p in self.profiles))")
    .message("a profile's includes must be names in privileges.profiles"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.matrixRef) || !((has(self.grants) && self.grants.size() > 0) || has(self.profiles))")
    .message("rows are either listed in the matrix that matrixRef names or given by grants and profiles: leave one of them out"))]
pub struct Privileges {
    /// Which rows of the catalog must be declared.
    #[serde(default)]
    pub scope: PrivilegeScope,
    /// How the declared rows are compared with those found.
    #[serde(default)]
    pub mode: MatrixMode,
    /// The declared roles by name. Attributes that are not stated are Postgres' defaults, and are checked.
    #[schemars(extend("maxProperties" = 64, "minProperties" = 1))]
    pub roles: BTreeMap<String, RoleSpec>,
    /// What the declared roles are granted.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub grants: Vec<Grant>,
    /// Named lists of privileges, given to roles by `roles.*.profiles`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "minProperties" = 1))]
    pub profiles: BTreeMap<String, Profile>,
    /// The rows themselves, as a run has frozen them, instead of grants and profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix_ref: Option<MatrixRef>,
    /// Ways of declared roles to more than their rows show that are meant to exist. Of the attributes that `roles` declares only CREATEDB and
    /// BYPASSRLS need no entry: the others reach another role or the server's operating system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub escalation_allowed: Vec<Escalation>,
    /// Differences that are accepted until a date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub waivers: Vec<Waiver>,
}

/// Which rows of the privilege catalog must be declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PrivilegeScope {
    /// Rows whose grantee, member, owner or policy role is a declared role or one that it can reach.
    #[default]
    DeclaredRoles,
    /// Every row of the database.
    Database,
}

/// How declared and found rows are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MatrixMode {
    /// Both sets are equal.
    #[default]
    Exact,
    /// Nothing is found that is not declared.
    AtMost,
    /// Everything declared is found.
    AtLeast,
}

/// A declared role. `CREATE ROLE` attributes; the defaults are Postgres' own
/// (<https://www.postgresql.org/docs/current/sql-createrole.html>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleSpec {
    /// LOGIN.
    pub login: bool,
    /// SUPERUSER.
    #[serde(skip_serializing_if = "is_false")]
    pub superuser: bool,
    /// INHERIT.
    #[serde(skip_serializing_if = "is_true")]
    pub inherit: bool,
    /// CREATEDB.
    #[serde(skip_serializing_if = "is_false")]
    pub createdb: bool,
    /// CREATEROLE.
    #[serde(skip_serializing_if = "is_false")]
    pub createrole: bool,
    /// REPLICATION.
    #[serde(skip_serializing_if = "is_false")]
    pub replication: bool,
    /// BYPASSRLS.
    #[serde(skip_serializing_if = "is_false")]
    pub bypassrls: bool,
    /// CONNECTION LIMIT; -1 is no limit.
    #[schemars(range(min = -1, max = 262143))]
    pub connection_limit: i32,
    /// Roles that this role is a member of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub member_of: Vec<MembershipSpec>,
    /// Names in `privileges.profiles`: the role is granted what they list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub profiles: Vec<String>,
    /// `ALTER ROLE … SET`. Not of parameters that decide what is logged: the run is judged by its log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub settings: BTreeMap<String, String>,
    /// What the role owns, written like a grant's `object`. Ownership comes with the restore: it is checked, not brought about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 3, max = 320)))]
    pub owns: Vec<String>,
}

impl Default for RoleSpec {
    fn default() -> Self {
        Self {
            login: false,
            superuser: false,
            inherit: true,
            createdb: false,
            createrole: false,
            replication: false,
            bypassrls: false,
            connection_limit: -1,
            member_of: Vec::new(),
            profiles: Vec::new(),
            settings: BTreeMap::new(),
            owns: Vec::new(),
        }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if takes a reference"
)]
fn is_true(value: &bool) -> bool {
    *value
}

/// A membership and its options (`GRANT role TO member WITH …`). Before Postgres 16 `inherit` is the member's attribute and `set` is always true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MembershipSpec {
    /// The role that is granted.
    #[schemars(length(min = 1, max = 63))]
    pub role: String,
    /// WITH INHERIT.
    #[serde(default = "yes")]
    pub inherit: bool,
    /// WITH SET.
    #[serde(default = "yes")]
    pub set: bool,
    /// WITH ADMIN.
    #[serde(default)]
    pub admin: bool,
}

fn yes() -> bool {
    true
}

/// A privilege as `GRANT` names it. `ALL` is no privilege here: it means more on a newer server than on the one it was frozen on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names are SQL's")]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    Maintain,
    Usage,
    Create,
    Connect,
    Temporary,
    Execute,
    Set,
    AlterSystem,
}

impl Privilege {
    /// The word in SQL, as `aclexplode` returns it.
    pub fn as_sql(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Maintain => "MAINTAIN",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
            Self::Connect => "CONNECT",
            Self::Temporary => "TEMPORARY",
            Self::Execute => "EXECUTE",
            Self::Set => "SET",
            Self::AlterSystem => "ALTER SYSTEM",
        }
    }
}

/// Privileges on one object, or on all that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.object.contains('*') || has(self.expectRows)")
    .message("a pattern needs expectRows, the number of privilege rows that it must give: without it a pattern that matches nothing would pass"))]
#[x_kube(validation = kube::core::Rule::new("(has(self.privileges) && self.privileges.size() > 0) || has(self.columns)")
    .message("a grant needs privileges or columns"))]
pub struct Grant {
    /// The grantee: a declared role, or `public` for everybody.
    #[schemars(length(min = 1, max = 63))]
    pub to: String,
    /// `class:name`, with class one of table, view, matview, sequence, function, schema, database, type, language, parameter, large_object,
    /// fdw, foreign_server; the name is schema-qualified, quoted as SQL would, and may have `*` in its last part.
    /// (Not `on`, as in SQL: YAML 1.1, and so kubectl, reads that key as true.)
    #[schemars(
        length(min = 3, max = 320),
        regex(
            pattern = r"^(table|view|matview|foreign_table|sequence|function|procedure|schema|database|type|domain|language|parameter|large_object|fdw|foreign_server|tablespace):.+$"
        )
    )]
    pub object: String,
    /// The privileges on the object as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub privileges: Vec<Privilege>,
    /// The privileges on single columns of a table or view.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::columns")]
    pub columns: BTreeMap<Privilege, Vec<String>>,
    /// WITH GRANT OPTION.
    #[serde(default, skip_serializing_if = "is_false")]
    pub grantable: bool,
    /// Objects that the pattern must leave out, written like `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 320)))]
    pub except: Vec<String>,
    /// The number of privilege rows that a pattern must give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub expect_rows: Option<u32>,
}

/// A named list of privileges without a grantee.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Profile {
    /// Profiles whose privileges are part of this one. A profile never comes to include itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub includes: Vec<String>,
    /// What the profile lists itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub grants: Vec<ProfileGrant>,
}

/// A grant that gets its grantee from the role that has the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.object.contains('*') || has(self.expectRows)")
    .message("a pattern needs expectRows, the number of privilege rows that it must give: without it a pattern that matches nothing would pass"))]
#[x_kube(validation = kube::core::Rule::new("(has(self.privileges) && self.privileges.size() > 0) || has(self.columns)")
    .message("a grant needs privileges or columns"))]
pub struct ProfileGrant {
    /// The object or a pattern of objects, as in a grant.
    #[schemars(
        length(min = 3, max = 320),
        regex(
            pattern = r"^(table|view|matview|foreign_table|sequence|function|procedure|schema|database|type|domain|language|parameter|large_object|fdw|foreign_server|tablespace):.+$"
        )
    )]
    pub object: String,
    /// The privileges on the object as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub privileges: Vec<Privilege>,
    /// The privileges on single columns of a table or view.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::columns")]
    pub columns: BTreeMap<Privilege, Vec<String>>,
    /// WITH GRANT OPTION.
    #[serde(default, skip_serializing_if = "is_false")]
    pub grantable: bool,
    /// Objects that the pattern must leave out, written like `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 320)))]
    pub except: Vec<String>,
    /// The number of privilege rows that a pattern must give each role that has the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub expect_rows: Option<u32>,
}

impl ProfileGrant {
    /// The grant that a role with the profile has by it.
    pub fn to(&self, role: &str) -> Grant {
        Grant {
            to: role.to_owned(),
            object: self.object.clone(),
            privileges: self.privileges.clone(),
            columns: self.columns.clone(),
            grantable: self.grantable,
            except: self.except.clone(),
            expect_rows: self.expect_rows,
        }
    }
}

/// A matrix as a list of rows in a ConfigMap.
///
/// One row per line, in the six columns of a waiver separated by tabs, sorted, none twice; plain or compressed by zstd. Roles, their attributes,
/// memberships and settings stay in `roles`; such rows may stand in the list too and must then say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatrixRef {
    /// The key that holds it.
    pub config_map_ref: ConfigMapKey,
    /// sha256 of the key's bytes, in lower-case hex.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// An escalation path that is meant to exist, or all that a pattern matches.
///
/// What PUBLIC is granted and no grant `to: public` declares is a path of `public`: `through PUBLIC`, with a privilege and an object such as
/// `EXECUTE on function:app.*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!(self.why.contains('*') || self.what.contains('*')) || has(self.expectPaths)")
    .message("a pattern needs expectPaths, the number of paths that it must match"))]
pub struct Escalation {
    /// The declared role, or `public` for a path that is open to everybody.
    #[schemars(length(min = 1, max = 63))]
    pub role: String,
    /// The kind of path, as the report names it. `*` stands for any text.
    #[schemars(length(min = 1, max = 128))]
    pub why: String,
    /// What is reached. `*` stands for any text.
    #[schemars(length(min = 1, max = 320))]
    pub what: String,
    /// The number of paths that a pattern must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub expect_paths: Option<u32>,
    /// Why it is accepted.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// A difference that is accepted until a date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiver {
    /// The row: class, object, grantee, privilege, grant option (`true` or `false`), sign (`+` or `-`).
    #[schemars(length(min = 6, max = 6), inner(length(max = 320)))]
    pub row: Vec<String>,
    /// Why it is accepted.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
    /// The day from which it is no longer accepted, `YYYY-MM-DD`.
    #[schemars(
        length(min = 10, max = 10),
        regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    )]
    pub expires: String,
}
