//! A cluster that is prepared for runs, its users, and an operator that can be killed and started
//! again.

use dryrun_controller::admission_policies::AdmissionPolicies;
use dryrun_controller::pinned_operator::PinnedOperator;
use dryrun_controller::{Settings, operate};
use dryrun_core::api::{DryRun, DryRunReport, DryRunStatus, Outcome, crds};
use dryrun_core::commands::Facts;
use dryrun_core::digest;
use dryrun_core::run::container::Container;
use dryrun_core::test_support::World;
use futures::future::{Either, join_all, select};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::model_apiserver::Model;
use crate::model_apiserver::faults::Call;
use crate::model_apiserver::store::Key;
use crate::oracle;
use crate::scripted::Scripted;

/// Namespace of the runs.
pub const NAMESPACE: &str = "rehearsal";
/// Namespace of canaries and listeners.
pub const PROBES: &str = "dryrun-probes";
/// Name of the one DryRun of most tests.
pub const NAME: &str = "demo";
/// The one input of the harness.
const INPUT: &[u8] = b"an input";
/// The time at which everything was installed.
pub const INSTALLED: &str = "2026-01-01T00:00:00Z";
/// The longest time that a run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster.
pub struct Cluster {
    pub model: Model,
    pub pods: Scripted,
    /// Namespaces that the operator watches.
    pub namespaces: Vec<String>,
    /// Sources that the chart lists.
    pub sources: Vec<String>,
    spec: Value,
}

impl Cluster {
    /// A cluster in which a run passes all gates.
    pub fn new() -> Self {
        Self::finding(|_| {})
    }

    /// A cluster in which a run finds something else.
    pub fn finding(change: impl FnOnce(&mut Facts)) -> Self {
        let model = Model::new();
        for crd in crds() {
            model.define(&crd);
        }
        let mut world = World::passing();
        world.spec.source.host = "192.0.2.10".into();
        for object in prepared(&world.spec.source.uri()) {
            model.seed(object);
        }
        let digest = digest::hex(&Sha256::digest(INPUT));
        let facts = &mut world.facts;
        facts.inputs.as_mut().unwrap().inputs[0].sha256 = digest.clone();
        let verification = facts.verification.as_mut().unwrap();
        verification.inputs.inputs[0].sha256 = digest.clone();
        for container in verification
            .pods
            .iter_mut()
            .flat_map(|p| p.containers.values_mut())
        {
            container.image_id = "sha256:python:3".into();
        }
        change(facts);
        let mut spec = serde_json::to_value(&world.spec).unwrap();
        spec["harness"]["inputs"][0]["sha256"] = json!(digest);
        spec["harness"]["setup"] = json!([{"command": ["true"]}]);
        // The operator's own pod says where these are, and here there is none.
        spec["isolation"]["mayBeInconclusive"] = json!(["ApiServer", "Dns"]);
        model.state().pods.waiting = Container::GATED.map(|gated| gated.name().to_owned()).into();
        Self {
            pods: Scripted::new(model.clone(), world.facts),
            namespaces: vec![NAMESPACE.into()],
            sources: Vec::new(),
            model,
            spec,
        }
    }

    /// Changes what is asked for.
    pub fn spec(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self
    }

    /// The operator watches no namespace.
    pub fn without_namespaces(self) -> Self {
        Self {
            namespaces: Vec::new(),
            ..self
        }
    }

    /// The DryRun that alice asks for.
    pub fn request(&self) -> Value {
        json!({
            "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRun",
            "metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": self.spec,
        })
    }

    /// Configuration of the operator.
    pub fn settings(&self) -> Settings {
        let directory = tempfile::tempdir().unwrap();
        for (n, policy) in policies().iter().enumerate() {
            let path = directory.path().join(format!("{n}.yaml"));
            std::fs::write(path, policy.to_string()).unwrap();
        }
        Settings {
            operator: PinnedOperator {
                image: "operator:1".into(),
                probes_namespace: PROBES.into(),
            },
            namespaces: self.namespaces.clone(),
            sources: self.sources.clone(),
            policies: AdmissionPolicies::load(directory.path()).unwrap(),
            instance: None,
        }
    }

    /// Starts an operator, and runs it until `done`, or until a fault kills it, which gives
    /// nothing.
    pub fn operate<T>(&self, done: impl Future<Output = T>) -> Option<T> {
        self.operate_all(1, done)
    }

    /// The same with several operators, each of which believes that it is the only one.
    pub fn operate_all<T>(&self, operators: usize, done: impl Future<Output = T>) -> Option<T> {
        let _patience = self.patience();
        runtime().block_on(async {
            let operators = (0..operators).map(|_| {
                let client = self.model.operator();
                operate(client, self.settings(), Arc::new(self.pods.clone()))
            });
            let done = async {
                match select(pin!(done), pin!(self.model.killed())).await {
                    Either::Left((found, _)) => Some(found),
                    Either::Right(_) => None,
                }
            };
            tokio::select! {
                found = done => found,
                _ = join_all(operators) => panic!("the operator has ended"),
            }
        })
    }

    /// Ends the test when it takes too long. A separate thread looks at the time: the runtime's
    /// clock advances whenever the runtime is idle, and so says nothing, and an operator that never
    /// rests gives no other task a turn.
    fn patience(&self) -> std::sync::mpsc::Sender<()> {
        let (done, over) = std::sync::mpsc::channel::<()>();
        let model = self.model.clone();
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        std::thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let told = format!("{test}: no end after {PATIENCE:?}: {}\n", told(&model));
                // Past the capture of tests, which an abort would lose.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
                std::process::abort();
            }
        });
        done
    }

    /// Asks for a run, approves it, and waits for its end. Kept up by as many operators as it
    /// takes.
    pub fn complete(&self) -> DryRunStatus {
        let run = async || {
            self.begin().await;
            self.ended().await
        };
        loop {
            if let Some(status) = self.operate(run()) {
                return status;
            }
        }
    }

    /// alice asks for the run, unless she has.
    pub async fn ask(&self) {
        if self.run().is_none() {
            create::<DryRun>(&self.model.user(), self.request()).await;
        }
    }

    /// alice asks for the run, and bob approves it.
    pub async fn begin(&self) {
        self.ask().await;
        self.approve().await;
    }

    /// bob approves the plan as soon as it is shown, unless he has.
    pub async fn approve(&self) {
        let key = Key::new("dryrunapprovals", NAMESPACE, "by-bob");
        if self.model.state().store.read(&key).is_some() {
            return;
        }
        let shown = self.model.until("a plan", |_| {
            let run = self.stored()?;
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Some((
                text(&run["metadata"]["uid"])?,
                text(&run["status"]["plan"]["hash"])?,
            ))
        });
        let (uid, hash) = shown.await;
        create::<dryrun_core::api::DryRunApproval>(&self.model.user(), approval(&uid, &hash)).await;
    }

    /// The status of the run when it is over and its finalizer is removed.
    pub async fn ended(&self) -> DryRunStatus {
        self.model
            .until("the end of the run", |_| {
                // Looked at as it is stored: to read the whole of it at every change takes longer
                // than a run.
                let run = self.stored()?;
                let free = run["metadata"]["finalizers"].is_null();
                let over = run["status"]["outcome"].is_string();
                (free && over).then(|| self.run()?.status).flatten()
            })
            .await
    }

    /// Waits until a condition of the run has this reason. Returns its message.
    pub async fn condition(&self, type_: &str, reason: &str) -> String {
        let find = |_: &Model| {
            let run = self.stored()?;
            let mut all = run["status"]["conditions"].as_array()?.iter();
            let found = all.find(|c| c["type"] == type_ && c["reason"] == reason)?;
            found["message"].as_str().map(str::to_owned)
        };
        self.model.until(&format!("{type_} {reason}"), find).await
    }

    /// Waits until the operator has sent so many requests of this kind, and each was answered.
    pub async fn called(&self, times: usize, matches: impl Fn(&Call) -> bool) {
        let answered = |call: &Call| call.answer.is_some() && matches(call);
        let count = |model: &Model| (model.count(answered) >= times).then_some(());
        self.model.until("the operator's request", count).await
    }

    /// The number of requests of this kind that were carried out.
    pub fn done(&self, matches: impl Fn(&Call) -> bool) -> usize {
        self.model.count(|call| call.committed && matches(call))
    }

    /// Puts a pod of this name in place that is none of the run's.
    pub fn foreign_pod(&self, name: &str) {
        self.model.seed(foreign_pod(name));
    }

    /// alice deletes the run.
    pub async fn delete(&self) {
        let runs: Api<DryRun> = Api::namespaced(self.model.user(), NAMESPACE);
        runs.delete(NAME, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the run is gone.
    pub async fn gone(&self) {
        self.model
            .until("the run's deletion", |_| {
                self.stored().is_none().then_some(())
            })
            .await;
    }

    /// The run as the apiserver has it.
    fn stored(&self) -> Option<Arc<Value>> {
        let key = Key::new("dryruns", NAMESPACE, NAME);
        self.model.state().store.read(&key).cloned()
    }

    /// The run, as it is stored.
    pub fn run(&self) -> Option<DryRun> {
        self.model.get(NAMESPACE, NAME)
    }

    /// The one report.
    pub fn report(&self) -> Option<DryRunReport> {
        self.model.all::<DryRunReport>().pop()
    }

    /// The operator's requests, for the message of a test that fails.
    pub fn told(&self) -> String {
        told(&self.model)
    }

    /// Fails unless the run has passed and left nothing but what outlives it.
    pub fn assert_passed(&self, status: &DryRunStatus, what: &str) {
        assert_eq!(
            status.outcome,
            Some(Outcome::Passed),
            "{what}: {}",
            self.told()
        );
        assert_eq!(
            status.gates.as_deref(),
            Some("25/25"),
            "{what}: {}",
            self.told()
        );
        self.assert_nothing_left(what);
    }

    /// Fails unless every object of the run is gone, and went in order.
    pub fn assert_nothing_left(&self, what: &str) {
        oracle::assert_balanced(self, what);
        oracle::assert_lawful(self, what);
    }
}

fn told(model: &Model) -> String {
    let calls = model.calls();
    let writes = calls.iter().filter(|call| call.write.is_some());
    let line = |call: &Call| format!("{:>4?} {} {:?}", call.write, call.text(), call.answer);
    let mut lines: Vec<String> = writes.map(line).collect();
    lines.push(format!("the last of {} calls:", calls.len()));
    lines.extend(calls.iter().rev().take(20).map(line));
    let runs = model.state().store.objects("dryruns");
    let conditions = runs
        .iter()
        .flat_map(|run| run["status"]["conditions"].as_array());
    let open = conditions
        .flatten()
        .filter(|condition| condition["status"] != "True")
        .map(|c| {
            format!(
                "{} {} {}: {}",
                c["type"], c["status"], c["reason"], c["message"]
            )
        });
    lines.extend(open);
    lines.join("\n")
}

/// A runtime whose clock stands still while there is work to do.
pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

/// Creates an object as a user does.
pub async fn create<K>(client: &Client, object: Value) -> K
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let object: K = serde_json::from_value(object).unwrap();
    let api: Api<K> = Api::namespaced(client.clone(), &object.meta().namespace.clone().unwrap());
    api.create(&PostParams::default(), &object).await.unwrap()
}

/// A pod of this name that is none of the run's.
pub fn foreign_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "creationTimestamp": INSTALLED},
        "spec": {"containers": [{"name": "app", "image": "app"}]}, "status": {"phase": "Running"},
    })
}

/// bob's approval of a plan.
pub fn approval(uid: &str, hash: &str) -> Value {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    json!({
        "apiVersion": "dryrun.dev/v1alpha1", "kind": "DryRunApproval",
        "metadata": {"name": "by-bob", "namespace": NAMESPACE},
        "spec": {"dryRunName": NAME, "dryRunUID": uid, "planHash": hash, "approvedBy": "bob", "expiresAt": expires},
    })
}

/// The admission policies of the chart, as far as approvals rest on them, with their bindings.
fn policies() -> Vec<Value> {
    let group = "admissionregistration.k8s.io/v1";
    let names = ["dryrun-requester", "dryrun-approver", "dryrun-records"];
    let policies = names.map(|name| {
        json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name, "creationTimestamp": INSTALLED}, "spec": {"failurePolicy": "Fail"},
        })
    });
    let bindings = names.map(|name| {
        json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "creationTimestamp": INSTALLED},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        })
    });
    policies.into_iter().chain(bindings).collect()
}

/// Everything that a run needs and does not make; `source` is production's name.
fn prepared(source: &str) -> Vec<Value> {
    let namespace = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "Namespace", "status": {"phase": "Active"},
            "metadata": {"name": name, "labels": labels, "creationTimestamp": INSTALLED},
        })
    };
    let node = |name: &str, address: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    let meta =
        |name: &str| json!({"name": name, "namespace": NAMESPACE, "creationTimestamp": INSTALLED});
    let input = base64(INPUT);
    let objects = vec![
        namespace(
            NAMESPACE,
            json!({
                "dryrun.dev/rehearsal": "true",
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "v1.36",
            }),
        ),
        namespace(PROBES, json!({"dryrun.dev/rehearsal": "probes"})),
        namespace("incomex", json!({})),
        node("n1", "192.0.2.101"),
        node("n2", "192.0.2.102"),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("deny-all"),
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
        }),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "reclaimPolicy": "Delete",
            "provisioner": "model", "metadata": {
                "name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": "directus-production", "namespace": NAMESPACE, "creationTimestamp": INSTALLED,
                "annotations": {"dryrun.dev/source": source},
            },
            "data": {"password": base64(b"correct-horse-battery-staple")},
        }),
        // Of another team, for another server.
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": "payroll-production", "namespace": NAMESPACE, "creationTimestamp": INSTALLED,
                "annotations": {"dryrun.dev/source": "postgresql://dump_ro@payroll.example:5432/payroll?sslmode=verify-full"},
            },
            "data": {"password": base64(b"nobody-may-have-this-one")},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("iu-cutter"),
            "binaryData": {"source.tar": input},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": "directus", "namespace": "incomex", "labels": {"app": "directus"}, "creationTimestamp": INSTALLED,
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "directus:11"}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "app", "image": "directus:11", "imageID": "sha256:app", "containerID": "containerd://app",
                "ready": true, "restartCount": 0, "state": {"running": {"startedAt": INSTALLED}},
            }]},
        }),
    ];
    objects.into_iter().chain(policies()).collect()
}

fn base64(bytes: &[u8]) -> String {
    let bytes = k8s_openapi::ByteString(bytes.to_vec());
    serde_json::to_value(bytes)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}
