//! The user's harness: what runs against the copy, as whom, and what must come of it.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::{Span, schema};

/// The harness pod and its scenarios.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("self.scenarios.all(s, !has(s.twin) || self.scenarios.exists(t, t.name == s.twin && t.name != s.name))")
    .message("twin must name another scenario of this harness"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.env) || !self.env.exists(name, name in ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGPASSFILE', 'PGPASSWORD'])")
    .message("env may not say where to connect and as whom: PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSFILE are those of each scenario's login"))]
pub struct Harness {
    /// Image that the scenarios run in.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// User that the scenarios run as; never root.
    #[serde(default = "default_user")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub run_as_user: i64,
    /// Files that are verified and unpacked before the harness starts, and mounted read-only.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["mountPath".into()]))]
    pub inputs: Vec<HarnessInput>,
    /// Environment of every command, beside PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSFILE. Not for secrets: it is part of the plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    pub env: BTreeMap<String, String>,
    /// Commands that prepare the work volume, in order, with no way out of the pod and no login. What they leave in `/scratch` (HOME) and `/tmp` is there
    /// for every scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub setup: Vec<SetupCommand>,
    /// States that each scenario finds what earlier ones left in `/scratch` (HOME) and `/tmp`. Otherwise what a scenario added to them or changed in
    /// them is removed before the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_scratch: bool,
    /// The scenarios, run one after the other.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub scenarios: Vec<Scenario>,
    /// Resources of the harness container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<ResourceRequirements>,
}

fn default_user() -> i64 {
    10_002
}

/// A file or tar archive that the harness gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.mountPath.matches('/[.]{1,2}(/|$)') && !self.mountPath.matches('^/(dev|etc|evidence|proc|run|scratch|sys|tmp)(/|$)')")
    .message("mountPath may not have . or .. in it, nor lie in /dev, /etc, /evidence, /proc, /run, /scratch, /sys or /tmp: those are the pod's own"))]
pub struct HarnessInput {
    /// The key that holds it. A key that ends in `.tar` is unpacked, any other is one file of that name.
    pub config_map_ref: ConfigMapKey,
    /// Directory that it is mounted at, read-only.
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^/[A-Za-z0-9._/-]+$"))]
    pub mount_path: String,
    /// sha256 of the key's bytes, in lower-case hex.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// One key of a ConfigMap in the DryRun's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its `data` or `binaryData`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A command that prepares the work volume `/scratch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetupCommand {
    /// Program and arguments.
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// How long it may take. All setup commands together, and the inputs before them, must be done within `deadlines.start`.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_timeout() -> Span {
    Span::from("2m")
}

/// One scenario: a command in the harness, or plain SQL steps that the agent runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("has(self.command) != has(self.steps)").message("a scenario needs either command or steps"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.expect) || !has(self.expect.sqlstate) || self.expect.sqlstate != '42501' || has(self.twin) || (has(self.unpaired) && self.unpaired)")
    .message("a denial (42501) needs twin, the scenario in which the same statement is allowed, or unpaired: true: a typo would pass as a denial"))]
#[x_kube(validation = kube::core::Rule::new("!has(self.steps) || !self.steps.exists(s, has(s.expect) && has(s.expect.sqlstate) && s.expect.sqlstate == '42501') || has(self.twin) || (has(self.unpaired) && self.unpaired)")
    .message("a denied step (42501) needs twin, the scenario in which the same statement is allowed, or unpaired: true: a typo would pass as a denial"))]
pub struct Scenario {
    /// Name of the scenario, unique in the harness.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub name: String,
    /// Who logs in.
    #[serde(rename = "as")]
    pub identity: Identity,
    /// Program and arguments, run in the harness container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 4096)))]
    pub command: Option<Vec<String>>,
    /// SQL that the agent runs in one session, each step in a transaction of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub steps: Option<Vec<SqlStep>>,
    /// How long it may take; then it is killed and has failed.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// What must come of it.
    #[serde(default)]
    pub expect: ScenarioExpectation,
    /// The scenario in which the denied statement is allowed. If it has SQL steps, the SQL that is denied here must be among them and succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub twin: Option<String>,
    /// States that a denial has no twin on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaired: Option<bool>,
}

/// The login of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// A declared role. It gets a fresh password before the scenario, also when it may not log in.
    #[schemars(length(min = 1, max = 63))]
    pub login: String,
}

/// What must come of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScenarioExpectation {
    /// Exit code of the command.
    pub exit_code: u8,
    /// An error that the copy's own log must show in the scenario's window.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 5), regex(pattern = r"^[0-9A-Z]{5}$"))]
    pub sqlstate: Option<String>,
    /// The object that the denial must be about: `iu.unit`, schema-qualified, or with its kind, such as `role:app`, `parameter:log_statement` or
    /// `schema:iu`. The login must lack the privilege on it. Left out where the server names none, as for CREATE ROLE or COPY to a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub object: Option<String>,
    /// States that the scenario opens no session of its login. One that is not declared so and opens none fails: it has shown nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_session: bool,
    /// Further errors that the copy's log may show in the window. Any other error fails the scenario.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 5, max = 5), regex(pattern = r"^[0-9A-Z]{5}$"))
    )]
    pub may_log: Vec<String>,
}

/// One SQL step of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlStep {
    /// The statements.
    #[schemars(length(min = 1, max = 65536))]
    pub sql: String,
    /// What must come of them.
    #[serde(default)]
    pub expect: SqlExpectation,
}

/// What must come of a SQL step; nothing stated means that it succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SqlExpectation {
    /// The error that it must give.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 5), regex(pattern = r"^[0-9A-Z]{5}$"))]
    pub sqlstate: Option<String>,
    /// The object that the denial must be about, as `object` of a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub object: Option<String>,
    /// The number of rows that it must return or change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9007199254740991_u64))]
    pub rows: Option<u64>,
}
