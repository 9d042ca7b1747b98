//! The environment shared by all cases: production, the operator, the users, and the limit on
//! concurrent runs.

use dryrun_core::run::id::RunRef;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use dryrun_e2e::{
    cluster::{Cluster, apply},
    fixture::{APPROVER, Fixture, Kubectl, PRODUCTION, REHEARSAL, REQUESTER, demo},
    toolchain::progress::Progress,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::{OnceCell, Semaphore, SemaphorePermit, watch},
    time::{Instant, sleep},
};

use crate::{complete::Complete, leftovers};

/// The rehearsal namespace of these cases.
pub(crate) const NAMESPACE: &str = "operator-rehearsal";
/// A rehearsal namespace that is deleted under a run.
pub(crate) const DOOMED: &str = "operator-doomed";
/// A namespace in which users may create DryRuns, but that is not prepared for runs.
pub(crate) const UNPREPARED: &str = "operator-unprepared";
/// The database of production that most runs dump.
pub(crate) const DATABASE: &str = "stock";

/// All databases of production that cases dump.
const DATABASES: [&str; 10] = [
    "directus",
    DATABASE,
    "disordered",
    "generous",
    "held",
    "meddling",
    "napping",
    "priced",
    "regional",
    "swelling",
];

/// Concurrent runs: each takes up to five pods and two volumes, and all share the machine's cores.
const SLOTS: usize = 4;
/// Cases of this module share one run, which takes one slot.
const SHARED: &str = "complete::";
/// Cases that must run alone, because they change or inspect the whole cluster.
const ALONE: [&str; 4] = [
    "isolation::end_of_enforcement_is_detected",
    "isolation::missing_enforcement_is_detected",
    "approval::does_not_count_without_policies",
    "waiting::nothing_is_created_without_approval",
];
/// Time until all cases have requested a slot.
const GATHER: Duration = Duration::from_secs(1);
/// Deadline of conditions, except those of a run.
const DEADLINE: Duration = Duration::from_secs(60);
/// Polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Password of the dump role `dump_ro`, as in the demo's manifests.
pub(crate) const PASSWORD: &str = "h8Tz3VqLw6NcB1yRk9XfPm4DsJ7gUa2E";
/// Password of the dump role `dump_lacking`.
const LACKING_PASSWORD: &str = "mT5vXk2QzLr8HnWc4JpYd7BsGf9NaUe3";
/// A password that no role of production has.
const WRONG_PASSWORD: &str = "Zs6GhT1wVb9KpRm3XcNf8LyQd4JeUa7T";

/// A case's slot, until it is dropped.
pub(crate) struct Slot<'a> {
    permit: Option<SemaphorePermit<'a>>,
    others: Option<&'a watch::Sender<usize>>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        if let Some(others) = self.others {
            others.send_modify(|others| *others -= 1);
        }
    }
}

/// A cluster in which runs can be requested.
pub(crate) struct Environment {
    pub(crate) fixture: Fixture,
    /// A client with the administrator's credentials.
    pub(crate) client: Client,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    /// `kubectl` as alice.
    pub(crate) kubectl: Kubectl,
    /// The run that the cases of [`SHARED`] inspect.
    pub(crate) complete: OnceCell<Complete>,
    request: Value,
    kinds: Vec<ApiResource>,
    production: BTreeMap<String, String>,
    slots: Semaphore,
    /// Number of waiting or running cases that are not in [`ALONE`].
    others: watch::Sender<usize>,
    figures: Mutex<Vec<(String, String)>>,
    /// Start of these cases: an earlier execution on the same cluster may have left traces.
    pub(crate) since: Timestamp,
}

impl Environment {
    /// Prepares the cluster, over the remains of an earlier execution.
    pub(crate) async fn prepare() -> Result<Self> {
        let progress = Progress::new();
        let cluster = Cluster::find(&progress)
            .await?
            .context("no cluster: set KUBECONFIG, or run `cargo cluster up`")?;
        let client = cluster.client().await?;
        let fixture = Fixture::new(cluster, progress.clone());
        let namespaces = format!("--set=rehearsalNamespaces={{{REHEARSAL},{NAMESPACE},{DOOMED}}}");
        fixture
            .prepare(&[&namespaces, "--set=quota.persistentvolumeclaims=20"])
            .await?;
        let request = progress
            .phase("preparing databases and namespaces of the cases", async |_| {
                let unprepared = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": UNPREPARED}});
                apply(&client, &unprepared.to_string()).await?;
                for namespace in [NAMESPACE, DOOMED, UNPREPARED] {
                    clear(&fixture.administrator, namespace).await?;
                }
                fixture.query("postgres", include_str!("sql/remove.sql")).await?;
                let create = format!("\\set password {LACKING_PASSWORD}\n{}", include_str!("sql/create.sql"));
                fixture.query("postgres", &create).await?;
                fixture.query("postgres", include_str!("sql/databases.sql")).await?;
                let request = fixture.request().await?;
                for namespace in [NAMESPACE, DOOMED, UNPREPARED] {
                    seed_namespace(&client, namespace, &request.inputs).await?;
                }
                serde_saphyr::from_str(&request.manifest).context("reading the demo's DryRun")
            })
            .await?;
        let people = ["system:authenticated"];
        Ok(Self {
            alice: fixture.cluster.client_as(REQUESTER, &people).await?,
            bob: fixture.cluster.client_as(APPROVER, &people).await?,
            kubectl: Kubectl::user(&fixture.cluster, REQUESTER)?,
            complete: OnceCell::new(),
            kinds: leftovers::kinds(&client).await?,
            production: production(&client).await?,
            slots: Semaphore::new(SLOTS),
            others: watch::Sender::new(0),
            figures: Mutex::default(),
            since: Timestamp::now(),
            fixture,
            client,
            request,
        })
    }

    /// Waits for a case's slot. Cases in [`ALONE`] come last, because waiting for all others blocks
    /// every slot, which should happen only once.
    pub(crate) async fn slot(&self, case: &str) -> Result<Slot<'_>> {
        if ALONE.contains(&case) {
            let mut others = self.others.subscribe();
            sleep(GATHER).await;
            others.wait_for(|others| *others == 0).await?;
            let all = u32::try_from(SLOTS)?;
            return Ok(Slot {
                permit: Some(self.slots.acquire_many(all).await?),
                others: None,
            });
        }
        self.others.send_modify(|others| *others += 1);
        let mut slot = Slot {
            permit: None,
            others: Some(&self.others),
        };
        if !case.starts_with(SHARED) {
            slot.permit = Some(self.acquire().await?);
        }
        Ok(slot)
    }

    /// Waits for a slot.
    pub(crate) async fn acquire(&self) -> Result<SemaphorePermit<'_>> {
        Ok(self.slots.acquire().await?)
    }

    /// The demo's DryRun with another name.
    pub(crate) fn demo(&self, name: &str) -> Value {
        let mut request = self.request.clone();
        request["metadata"] = json!({"name": name, "namespace": NAMESPACE});
        request
    }

    /// The demo's DryRun on a small database, with one reading scenario.
    pub(crate) fn small(&self, name: &str) -> Value {
        let mut request = self.demo(name);
        let spec = &mut request["spec"];
        spec["source"]["database"] = json!(DATABASE);
        spec["postgres"]["storage"] = json!({"size": "1Gi", "minimumFree": "64Mi"});
        spec["privileges"] = json!({
            "roles": {"keeper": {"login": true}, "reader": {"login": true}},
            "grants": [
                {"to": "keeper", "object": "database:stock", "privileges": ["CONNECT"]},
                {"to": "keeper", "object": "table:public.item", "privileges": ["SELECT", "INSERT"]},
            ],
        });
        spec["harness"]["inputs"] = json!([]);
        spec["harness"]["env"] = json!({});
        spec["harness"]["scenarios"] = json!([steps("reads", "SELECT FROM item LIMIT 1")]);
        spec["verification"] = json!({"tables": ["public.item"]});
        spec["deadlines"] = json!({"total": "10m", "start": "3m", "dump": "2m", "restore": "2m", "scenarios": "5m"});
        request
    }

    /// Remaining objects of a run.
    pub(crate) async fn leftovers(&self, run: &RunRef, foreign: &[String]) -> Result<Vec<String>> {
        leftovers::find(&self.client, &self.kinds, run, foreign).await
    }

    /// All kinds of namespaced objects.
    pub(crate) fn kinds(&self) -> &[ApiResource] {
        &self.kinds
    }

    /// The apiserver's audit log, if it is accessible.
    pub(crate) fn audit_log(&self) -> Option<PathBuf> {
        self.fixture.cluster.audit_log()
    }

    /// Waits until a query of production's superuser returns `expected`.
    pub(crate) async fn wait_for_query(
        &self,
        database: &str,
        query: &str,
        expected: &str,
    ) -> Result<()> {
        eventually(&format!("{expected:?} from {database}"), async || {
            let answer = self.fixture.query(database, query).await?;
            Ok((answer == expected).then_some(()).ok_or(answer))
        })
        .await
    }

    /// Adds a figure to the final table.
    pub(crate) fn note(&self, what: impl Into<String>, value: impl Into<String>) {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((what.into(), value.into()));
    }

    /// All figures, sorted by name.
    pub(crate) fn figures(&self) -> Vec<(String, String)> {
        let mut figures =
            std::mem::take(&mut *self.figures.lock().unwrap_or_else(PoisonError::into_inner));
        figures.sort();
        figures
    }

    /// Checks that production's pods are the same and have not restarted.
    pub(crate) async fn production_is_untouched(&self) -> Result<()> {
        let now = production(&self.client).await?;
        ensure!(
            now == self.production,
            "production changed: {:?} became {now:?}",
            self.production
        );
        Ok(())
    }

    /// Checks that production is unchanged, and removes the additions of these cases from it.
    pub(crate) async fn teardown(&self) -> Result<()> {
        self.production_is_untouched().await?;
        self.wait_for_query("postgres", include_str!("sql/sessions.sql"), "0")
            .await
            .context("sessions of runs are left")?;
        self.fixture
            .query("postgres", include_str!("sql/remove.sql"))
            .await
            .map(drop)
    }
}

/// Annotation of a Secret with the sources that it is for.
pub(crate) const SOURCE: &str = "dryrun.dev/source";

/// The name of a source of these cases, none of which has TLS.
pub(crate) fn source(user: &str, host: &str, database: &str) -> String {
    format!("postgresql://{user}@{host}:5432/{database}?sslmode=prefer")
}

/// A scenario with one SQL step.
pub(crate) fn steps(name: &str, sql: &str) -> Value {
    json!({"name": name, "as": {"login": "keeper"}, "steps": [{"sql": sql}], "timeout": "10m"})
}

/// Polls until the attempt returns a value; until then it returns a description of the current
/// state.
pub(crate) async fn eventually<T>(
    what: &str,
    attempt: impl AsyncFn() -> Result<Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt().await? {
            Ok(found) => return Ok(found),
            Err(seen) => ensure!(
                Instant::now() < deadline,
                "{what}: not within {} s; seen: {seen}",
                DEADLINE.as_secs()
            ),
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Removes the objects of earlier cases from a namespace. Evidence is deleted with its report, and
/// users may not delete it.
async fn clear(administrator: &Kubectl, namespace: &str) -> Result<()> {
    for (kinds, which) in [
        ("dryruns", "--all"),
        ("dryrunreports", "--all"),
        (
            "dryrunapprovals,configmaps,persistentvolumeclaims",
            "--selector=!dryrun.dev/retained-run",
        ),
    ] {
        let arguments = [
            "delete",
            kinds,
            which,
            "--namespace",
            namespace,
            "--timeout=120s",
        ];
        administrator.run(&arguments).await?;
    }
    Ok(())
}

/// Creates the users' role bindings, production's password, two unsuitable ones, and the harness's
/// inputs.
async fn seed_namespace(client: &Client, namespace: &str, inputs: &[ConfigMap]) -> Result<()> {
    let people = "rehearsal/people.yaml";
    let people =
        std::fs::read_to_string(demo(people)).with_context(|| format!("reading {people}"))?;
    let here = people.replace(
        &format!("namespace: {REHEARSAL}"),
        &format!("namespace: {namespace}"),
    );
    apply(client, &here).await?;
    let bind = async |name: &str, user: &str, password: &str| {
        let host = format!("postgres.{PRODUCTION}.svc");
        let sources = DATABASES.map(|database| source(user, &host, database));
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"password": password},
            "metadata": {"name": name, "namespace": namespace, "annotations": {SOURCE: sources.join(" ")}},
        });
        apply(client, &secret.to_string()).await
    };
    bind("directus-production", "dump_ro", PASSWORD).await?;
    bind("lacking", "dump_lacking", LACKING_PASSWORD).await?;
    bind("wrong", "dump_ro", WRONG_PASSWORD).await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for input in inputs {
        let mut input = input.clone();
        input.metadata.namespace = Some(namespace.to_owned());
        api.create(&PostParams::default(), &input).await?;
    }
    Ok(())
}

/// Production's pods by name, each with the values that change on a restart or replacement.
async fn production(client: &Client) -> Result<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), PRODUCTION);
    let own = ListParams::default().labels("app in (postgres, directus, directus-worker, redis)");
    let state = |pod: &Pod| {
        let containers = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten());
        let containers = containers.map(|c| {
            format!(
                "{} {} {}",
                c.name,
                c.container_id.clone().unwrap_or_default(),
                c.restart_count
            )
        });
        format!(
            "{} {}",
            pod.uid().unwrap_or_default(),
            containers.collect::<Vec<_>>().join(", ")
        )
    };
    let pods = pods.list(&own).await?;
    Ok(pods
        .iter()
        .map(|pod| (pod.name_any(), state(pod)))
        .collect())
}
