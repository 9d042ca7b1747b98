//! Worlds for tests: a complete run of a small demo, which tests then spoil in one place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg_attr(
    not(test),
    allow(dead_code, reason = "other crates use the complete run alone")
)]

use std::collections::BTreeMap;

use crate::api::{DryRunSpec, TargetClass};
use crate::commands::Facts;
use crate::gate::Evidence;
use crate::isolation::judge::FORBIDDEN;
use crate::isolation::target::{Greeting, Protocol, Tally, Target};
use crate::run::facts::{IsolationFacts, Phase, Probe, *};
use crate::run::object::RunPod;

/// Production's system identifier in all tests: near 2^63, where floats and signed numbers go
/// wrong.
pub const PRODUCTION: &str = "7611578671664259111";
/// UID of the run in all tests.
pub const UID: &str = "0f1e2d3c-4b5a-4697-8897-a6b5c4d3e2f1";

/// A spec and what was found out.
#[derive(Clone, Debug)]
pub struct World {
    /// The spec.
    pub spec: DryRunSpec,
    /// Facts of the run.
    pub facts: Facts,
}

/// Worlds that fail a gate or leave it unknown, with the reason that it must give.
/// [`World::passing`] passes all.
pub(crate) struct Worlds {
    pub(crate) fail: Vec<(&'static str, World)>,
    pub(crate) unknown: Vec<(&'static str, World)>,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self {
            spec: spec(),
            facts: Facts::default(),
        }
    }

    /// A run that passes every gate.
    pub fn passing() -> Self {
        Self {
            spec: spec(),
            facts: facts(),
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Facts)) -> Self {
        let mut world = Self::passing();
        change(&mut world.facts);
        world
    }

    pub(crate) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            spec: &self.spec,
            facts: &self.facts,
            uid: UID,
        }
    }
}

pub(crate) fn spec() -> DryRunSpec {
    serde_json::from_value(serde_json::json!({
        "requestedBy": "alice",
        "source": {
            "host": "postgres.incomex.svc", "user": "dump_ro", "database": "directus", "systemIdentifier": PRODUCTION,
            "passwordSecretRef": {"name": "directus-production", "key": "password"},
            "network": {"namespace": "incomex", "podSelector": {"app": "postgres"}},
        },
        "images": {"allowTags": true},
        "postgres": {"image": "postgres:17", "storage": {"size": "2Gi", "minimumFree": "1Gi"}},
        "privileges": {
            "roles": {"cutter_exec": {"login": true, "connectionLimit": 2}, "cutter_verify": {"login": true}},
            "grants": [{"to": "cutter_exec", "object": "table:iu.unit", "privileges": ["SELECT", "INSERT"]}],
        },
        "harness": {
            "image": "python:3",
            "inputs": [{"configMapRef": {"name": "iu-cutter", "key": "source.tar"}, "mountPath": "/opt/iu-cutter", "sha256": "a".repeat(64)}],
            "scenarios": [
                {"name": "S2", "as": {"login": "cutter_exec"}, "command": ["python", "S2"]},
                {"name": "S9", "as": {"login": "cutter_verify"}, "command": ["python", "S9"], "expect": {"sqlstate": "42501", "object": "iu.unit"}, "twin": "S2"},
                {"name": "S10", "as": {"login": "cutter_exec"}, "steps": [{"sql": "DELETE FROM iu.unit", "expect": {"sqlstate": "42501"}}], "twin": "S2"},
            ],
        },
        "isolation": {"outsideAddress": "192.0.2.1:443"},
        "verification": {"tables": ["iu.unit"], "rowDeltas": [{"table": "iu.unit", "delta": 3}]},
        "protected": [{"namespace": "incomex", "selector": {"app": "directus"}}],
    }))
    .unwrap()
}

/// A denial of this login by the server's own check.
pub(crate) fn denied(login: &str, object: &str) -> LoggedError {
    LoggedError {
        sqlstate: "42501".into(),
        severity: "ERROR".into(),
        statement: "INSERT".into(),
        user: login.into(),
        function: "aclcheck_error".into(),
        message: format!(
            "permission denied for table {}",
            object.rsplit('.').next().unwrap()
        ),
        count: 1,
    }
}

/// A search that found a credential.
pub(crate) fn leaking(place: &str) -> LeakFacts {
    LeakFacts {
        found: vec![Leak {
            credential: "superuser".into(),
            form: "base64".into(),
            place: place.into(),
            count: 1,
        }],
        found_count: 1,
        ..searched()
    }
}

fn searched() -> LeakFacts {
    LeakFacts {
        texts: 3,
        bytes: 1 << 20,
        canary: true,
        ..LeakFacts::default()
    }
}

fn inspection(pod: RunPod) -> PodInspection {
    let role = pod.role();
    let image = format!("image-of-{role}@sha256:{role}");
    let image = (image, format!("sha256:{role}"));
    PodInspection {
        uid: format!("uid-{role}"),
        images: BTreeMap::from([(role.to_owned(), image)]),
        ..PodInspection::default()
    }
}

fn pod(name: &str, container: &str) -> PodFingerprint {
    PodFingerprint {
        namespace: "incomex".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        containers: BTreeMap::from([(
            container.into(),
            ContainerFingerprint {
                container_id: format!("containerd://{name}"),
                image_id: format!("sha256:{container}"),
                started_at: "2026-01-01T00:00:00Z".into(),
                restarts: 0,
            },
        )]),
    }
}

/// Attempts at a target of this class.
fn tried(from: RunPod, class: TargetClass, tally: Tally) -> Probe {
    let address = match class {
        TargetClass::Production => "192.0.2.10",
        TargetClass::Copy | TargetClass::CopyOtherPort => "10.244.1.7",
        _ => "10.96.0.1",
    };
    Probe {
        from,
        target: Target {
            class,
            address: address.into(),
            port: 5432,
            protocol: Protocol::Tcp,
            greeting: Greeting::Nothing,
            on_own_node: false,
        },
        tally,
    }
}

fn blocked(from: RunPod, class: TargetClass) -> Probe {
    let tally = Tally {
        attempts: 3,
        silent: 3,
        ..Tally::default()
    };
    tried(from, class, tally)
}

/// Positive controls of all classes.
fn controls() -> Vec<Probe> {
    let reached = Tally {
        attempts: 2,
        connected: 2,
        answered: 2,
        ..Tally::default()
    };
    let open = FORBIDDEN.iter().map(|class| {
        let from = if *class == TargetClass::Production {
            RunPod::Dump
        } else {
            RunPod::Canary
        };
        tried(from, *class, reached.clone())
    });
    let copy = [TargetClass::Copy, TargetClass::CopyOtherPort]
        .map(|class| tried(RunPod::Restore, class, reached.clone()));
    open.chain(copy).collect()
}

/// A phase in which all these pods tried every target without a connection.
fn phase(pods: &[RunPod], others: &[(RunPod, TargetClass)]) -> Phase {
    Phase {
        node: "n1".into(),
        controls_before: controls(),
        probes: probes(pods, others),
        controls_after: controls(),
        ..Phase::default()
    }
}

fn probes(pods: &[RunPod], others: &[(RunPod, TargetClass)]) -> Vec<Probe> {
    let all = pods
        .iter()
        .flat_map(|pod| FORBIDDEN.iter().map(|class| blocked(*pod, *class)));
    all.chain(others.iter().map(|(pod, class)| blocked(*pod, *class)))
        .collect()
}

fn probed() -> IsolationFacts {
    use RunPod::{Canary, Harness, Intruder, Postgres};
    let copy = [(Intruder, TargetClass::Copy), (Canary, TargetClass::Copy)];
    let other_port = (Harness, TargetClass::CopyOtherPort);
    IsolationFacts {
        before: Some(phase(&[Postgres, Intruder], &copy)),
        harness: Some(phase(&[Harness], &[other_port])),
        during: probes(&[Postgres, Harness], &[]),
        watch_error: None,
        after: Some(phase(
            &[Postgres, Harness, Intruder],
            &[copy[0], copy[1], other_port],
        )),
    }
}

pub(crate) fn facts() -> Facts {
    let identity = SourceIdentity {
        system_identifier: PRODUCTION.into(),
        version_num: 170_005,
        started_at: "2026-01-01T00:00:00.000000Z".into(),
        timeline: 1,
        address: "192.0.2.1".into(),
        in_recovery: false,
    };
    let reading = |before: Reading| CopyIdentity {
        before,
        system_identifier: "7611578671664250000".into(),
        cluster_name: UID.into(),
        in_recovery: false,
        refused: None,
    };
    let scenario = |name: &str,
                    exit_code: Option<i32>,
                    steps: Vec<StepClaim>,
                    errors: Vec<LoggedError>| ScenarioFacts {
        claim: ScenarioClaim {
            name: name.into(),
            exit_code,
            steps,
            ..ScenarioClaim::default()
        },
        window: LogWindow {
            enclosed: true,
            end_offset: 0,
            sessions: 1,
            statements: 4,
            errors,
            ..LogWindow::default()
        },
        access: Vec::new(),
        effects: Some(ScenarioEffects::default()),
    };
    let inserted = RowEffects {
        inserted: 3,
        ..RowEffects::default()
    };
    let inputs = InputFacts {
        inputs: vec![InputFact {
            destination: "/unpacked/0".into(),
            sha256: "a".repeat(64),
            files: 3,
            tree_digest: format!("sha256:{}", "c".repeat(64)),
            problem: None,
        }],
    };
    let set = |rows| SetSummary {
        rows,
        digest: format!("sha256:{}", "b".repeat(64)),
    };
    Facts {
        preflight: Some(PreflightFacts {
            names: 15,
            storage_class: Some(StorageClassFacts {
                name: "local-path".into(),
                reclaim_policy: "Delete".into(),
            }),
            protected: vec![pod("directus", "app")],
            ..PreflightFacts::default()
        }),
        secrets: Some(SecretFacts {
            uid: "s".into(),
            immutable: true,
            keys: vec!["superuser".into()],
            malformed: Vec::new(),
        }),
        node: "n1".into(),
        dump: Some(DumpFacts {
            disk: Some(DiskFacts {
                free_bytes: 40 << 30,
                source_bytes: 200 << 20,
            }),
            identity: Some(identity.clone()),
            rights: Some(RightsFacts::default()),
            locks: Some(LockFacts {
                needed: 400,
                held: 10,
                slots: 100,
                per_slot: 64,
            }),
            sessions: Some(SessionFacts {
                read_only: true,
                xid_assigned: false,
                dump_options: vec!["--lock-wait-timeout=5000".into()],
            }),
            requirements: Some(SourceRequirements::default()),
            archive: Some(ArchiveFacts {
                bytes: 50 << 20,
                ..ArchiveFacts::default()
            }),
            ..DumpFacts::default()
        }),
        restore: Some(RestoreFacts {
            claim: crate::run::facts::RestoreClaim {
                free_bytes: 30 << 30,
                lowest_free_bytes: 29 << 30,
                copy: CopyFacts {
                    version_num: 170_005,
                    catalog: set(400),
                    counts: set(52),
                    ..CopyFacts::default()
                },
                ..Default::default()
            },
            ..RestoreFacts::default()
        }),
        roles: Some(RolesFacts {
            applied: MatrixDifference {
                declared: 60,
                found: 60,
                ..MatrixDifference::default()
            },
            ..RolesFacts::default()
        }),
        copy_identity: Reading::ALL.map(reading).into(),
        inputs: Some(inputs.clone()),
        scenarios: vec![
            ScenarioFacts {
                effects: Some(ScenarioEffects {
                    rows: BTreeMap::from([("iu.unit".into(), inserted)]),
                    ..ScenarioEffects::default()
                }),
                ..scenario("S2", Some(0), Vec::new(), Vec::new())
            },
            ScenarioFacts {
                access: vec![Access {
                    object: "iu.unit".into(),
                    kind: "relation".into(),
                    missing: vec!["INSERT".into(), "DELETE".into(), "OWNER".into()],
                }],
                ..scenario(
                    "S9",
                    Some(0),
                    Vec::new(),
                    vec![denied("cutter_verify", "iu.unit")],
                )
            },
            scenario(
                "S10",
                None,
                vec![StepClaim {
                    sqlstate: "42501".into(),
                    rows: 0,
                }],
                vec![denied("cutter_exec", "iu.unit")],
            ),
        ],
        verification: Some(VerificationFacts {
            tables: BTreeMap::from([("iu.unit".into(), Some(3))]),
            matrix: MatrixDifference {
                declared: 60,
                found: 60,
                ..MatrixDifference::default()
            },
            pods: vec![pod("demo-harness", "harness")],
            inputs,
            config_maps: BTreeMap::from([("iu-cutter/source.tar".into(), "a".repeat(64))]),
            objects: LeakFacts {
                canary: false,
                ..searched()
            },
            ..VerificationFacts::default()
        }),
        search: Some(searched()),
        container_logs: RunPod::LOGGED
            .iter()
            .map(|pod| (*pod, searched()))
            .collect(),
        evidence: Some(EvidenceFacts {
            seal: SealFacts {
                archive: "sha256:archive".into(),
                manifest: "sha256:manifest".into(),
                files: vec![SealedFile::default()],
                search: searched(),
                ..SealFacts::default()
            },
            stored: "sha256:archive".into(),
            config_maps: vec!["demo-0f1e2d3c-evidence-0".into()],
            ..EvidenceFacts::default()
        }),
        inspections: RunPod::INSPECTED.map(|pod| (pod, inspection(pod))).into(),
        copy_pod_after: Some(inspection(RunPod::Postgres)),
        isolation: probed(),
        watched_since: vec![jiff::Timestamp::UNIX_EPOCH],
        teardown: Some(TeardownFacts {
            protected: Some(vec![pod("directus", "app")]),
            identity: Some(identity),
            proven: true,
            ..TeardownFacts::default()
        }),
        ..Facts::default()
    }
}
