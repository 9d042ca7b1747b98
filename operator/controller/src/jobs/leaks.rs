//! Searches for credentials in what only the operator sees: containers' logs, objects, events.

use dryrun_core::api::{DryRun, DryRunApproval, DryRunReport};
use dryrun_core::leak::{Credential, Scanner, TooMany};
use dryrun_core::problem::Problem;
use dryrun_core::run::credentials::scenario_password;
use dryrun_core::run::facts::LeakFacts;
use dryrun_core::run::key;
use dryrun_core::run::layout::SOURCE_FILE;
use dryrun_core::run::object::{Object, RunPod};
use futures::{AsyncRead, AsyncReadExt};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams, LogParams};
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;

use super::Scope;

/// Bytes of one container's log that are read. The agents say little; what commands print goes to
/// the evidence volume instead. A kubelet begins a new file at 10 MiB by default
/// (`containerLogMaxSize`), and hands out the last one alone: a longer log could not be read in
/// whole either.
const LOG_LIMIT: i64 = 4 << 20;

/// Roles whose name may be part of a form of a password.
pub(crate) fn roles(scope: &Scope) -> Vec<String> {
    let own = [
        scope.run.bootstrap_role(),
        scope.run.restore_role(),
        scope.spec.source.user.clone(),
    ];
    let declared = scope.spec.privileges.roles.keys().cloned();
    declared.chain(own).collect()
}

/// Every credential of the run, and production's password. They are read for one search, and not
/// kept.
async fn credentials(scope: &Scope) -> Result<Vec<Credential>, Problem> {
    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let unreadable = |e: kube::Error| Problem::transient("SecretUnreadable", e);
    let name = scope.run.name_of(Object::Secret);
    let reference = &scope.spec.source.password_secret_ref;
    let (run, source) =
        futures::try_join!(secrets.get(&name), secrets.get(&reference.name)).map_err(unreadable)?;
    let values = |secret: Secret| {
        let data = secret.data.unwrap_or_default();
        data.into_iter()
            .filter_map(|(key, bytes)| Some((key, String::from_utf8(bytes.0).ok()?)))
    };
    let run: BTreeMap<String, String> = values(run).collect();
    let superuser = run.get(key::SUPERUSER).cloned().unwrap_or_default();
    let scenarios = (0..scope.spec.harness.scenarios.len()).map(|i| {
        let password = scenario_password(&superuser, &scope.run.uid, i);
        Credential::new(format!("scenario-{i}"), password)
    });
    let source = values(source).find(|(key, _)| *key == reference.key);
    Ok(run
        .iter()
        .map(|(name, value)| Credential::new(name, value.as_bytes()))
        .chain(scenarios)
        .chain(source.map(|(_, value)| Credential::new(SOURCE_FILE, value)))
        .collect())
}

/// Searches texts. What of them was not read stands in the facts.
async fn search(scope: &Scope, texts: Vec<Text>) -> Result<LeakFacts, Problem> {
    let (credentials, roles) = (credentials(scope).await?, roles(scope));
    let _turn = scope.scanners.acquire().await;
    let searching = tokio::task::spawn_blocking(move || {
        let scanner = Scanner::new(credentials, &roles)?;
        let mut facts = LeakFacts::default();
        for Text { place, bytes, cut } in texts {
            scanner.search(&place, &bytes[..], &mut facts);
            if cut {
                let why = format!("only its first {} bytes were searched", bytes.len());
                scanner.unread(&place, &why, &mut facts);
            }
        }
        Ok::<_, TooMany>(facts)
    });
    match searching.await {
        Ok(found) => found.map_err(|e| Problem::permanent("SearchFailed", e.to_string())),
        Err(e) => Err(Problem::permanent("SearchFailed", e.to_string())),
    }
}

/// The logs of all containers of a pod.
pub(crate) async fn container_logs(scope: &Scope, pod: RunPod) -> Result<LeakFacts, Problem> {
    let unreadable = |e: kube::Error| Problem::transient("LogsUnreadable", e);
    let (pods, name) = (scope.pods(), scope.run.name_of(pod));
    let found = pods.get(&name).await.map_err(unreadable)?;
    let status = found.status.unwrap_or_default();
    let begun: Vec<String> = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
        .filter(|container| container.container_id.is_some())
        .map(|container| container.name.clone())
        .collect();
    let mut texts = Vec::new();
    for container in begun {
        let params = LogParams {
            container: Some(container.clone()),
            limit_bytes: Some(LOG_LIMIT),
            ..LogParams::default()
        };
        let log = pods.log_stream(&name, &params).await.map_err(unreadable)?;
        let text = log_text(format!("{name}/{container}"), log).await;
        texts.push(text.map_err(|e| Problem::transient("LogsUnreadable", e))?);
    }
    search(scope, texts).await
}

/// A log, as bytes: it need not be UTF-8, least of all at the place where it is cut.
async fn log_text(place: String, log: impl AsyncRead) -> io::Result<Text> {
    let mut bytes = Vec::new();
    let limit = LOG_LIMIT.unsigned_abs();
    pin!(log).take(limit).read_to_end(&mut bytes).await?;
    Ok(Text {
        place,
        cut: bytes.len() as u64 >= limit,
        bytes,
    })
}

/// Every object and event of the run, but the Secrets themselves.
pub(crate) async fn objects(scope: &Scope) -> Result<LeakFacts, Problem> {
    let labelled = ListParams::default().labels(&scope.run.selector());
    let all = ListParams::default();
    let texts = [
        texts::<Pod>(scope, "Pod", &labelled).await?,
        texts::<PersistentVolumeClaim>(scope, "PersistentVolumeClaim", &labelled).await?,
        texts::<NetworkPolicy>(scope, "NetworkPolicy", &labelled).await?,
        texts::<DryRunApproval>(scope, "DryRunApproval", &all).await?,
        texts::<Event>(scope, "Event", &all).await?,
        text::<DryRun>(scope, "DryRun", &scope.run.name).await?,
        text::<DryRunReport>(scope, "DryRunReport", &scope.run.report()).await?,
    ];
    search(scope, texts.into_iter().flatten().collect()).await
}

/// A text that is searched.
struct Text {
    /// Origin of the text.
    place: String,
    bytes: Vec<u8>,
    /// There may be more of it than this.
    cut: bool,
}

/// Objects of a kind as the apiserver has them, of any version of the operator.
fn objects_of<K>(scope: &Scope) -> Api<DynamicObject>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    Api::namespaced_with(scope.client.clone(), &scope.run.namespace, &resource)
}

async fn texts<K>(scope: &Scope, kind: &str, params: &ListParams) -> Result<Vec<Text>, Problem>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let found = objects_of::<K>(scope)
        .list(params)
        .await
        .map_err(|e| Problem::transient("ObjectsUnreadable", e))?;
    found.iter().map(|object| json(kind, object)).collect()
}

async fn text<K>(scope: &Scope, kind: &str, name: &str) -> Result<Vec<Text>, Problem>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let found = objects_of::<K>(scope)
        .get_opt(name)
        .await
        .map_err(|e| Problem::transient("ObjectsUnreadable", e))?;
    found.iter().map(|object| json(kind, object)).collect()
}

fn json(kind: &str, object: &DynamicObject) -> Result<Text, Problem> {
    let bytes = serde_json::to_vec(object)
        .map_err(|e| Problem::permanent("InvalidObject", e.to_string()))?;
    Ok(Text {
        place: format!("{kind}/{}", object.name_any()),
        bytes,
        cut: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_reaches_the_limit_is_not_whole() {
        let limit = usize::try_from(LOG_LIMIT).unwrap();
        for (length, cut) in [
            (0, false),
            (limit - 1, false),
            (limit, true),
            (limit + 1, true),
        ] {
            // It may not be UTF-8.
            let log = vec![0xff; length];
            let text = log_text("demo-harness/harness".into(), &log[..])
                .await
                .unwrap();
            assert_eq!((text.bytes.len(), text.cut), (length.min(limit), cut));
        }
    }
}
