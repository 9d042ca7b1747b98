//! Does what was decided. Every effect on the cluster is here, but status and report.

use dryrun_core::api::{DryRun, DryRunReport, DryRunReportSpec, PlanSummary};
use dryrun_core::plan;
use dryrun_core::plan::approval::Approval;
use dryrun_core::run::facts::Facts;
use dryrun_core::run::id::{self, FINALIZER};
use dryrun_core::run::object::Object;
use dryrun_core::step::{Action, Observed};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, call};
use crate::jobs::{PodAccess, Scope, Supervisor};
use crate::objects::{self, Plan, belongs, key};
use crate::pinned_operator::PinnedOperator;

/// What actions work with.
pub(crate) struct Actor<'a> {
    pub(crate) client: &'a Client,
    /// Access to the run's pods, for jobs.
    pub(crate) access: &'a Arc<dyn PodAccess>,
    pub(crate) jobs: &'a Supervisor,
    pub(crate) run: &'a DryRun,
    pub(crate) facts: &'a Facts,
    pub(crate) objects: &'a BTreeMap<Object, Observed>,
    pub(crate) approval: &'a Approval,
    /// The plan that was approved; absent once the run has begun.
    pub(crate) plan: Option<&'a PlanSummary>,
    /// The operator as the run's plan pins it.
    pub(crate) operator: &'a PinnedOperator,
}

impl Actor<'_> {
    /// Does one action. All can be done twice: a create that finds its own object is a success, a delete that finds nothing too.
    pub(crate) async fn act(&self, action: Action) -> Result<(), Error> {
        let (namespace, name, uid) = key(self.run);
        match action {
            Action::AddFinalizer => self.finalizer(true).await,
            Action::RemoveFinalizer => self.finalizer(false).await,
            Action::CreateReport => self.create_report().await,
            Action::Create(object) => self.create(object).await,
            Action::Delete(object) => self.delete(object).await,
            Action::Start(job, deadline) => {
                let scope = Scope {
                    client: self.client.clone(),
                    access: Arc::clone(self.access),
                    namespace,
                    probes_namespace: self.operator.probes_namespace.clone(),
                    name,
                    uid,
                    spec: Arc::new(self.run.spec.clone()),
                    facts: Arc::new(self.facts.clone()),
                    deadline,
                };
                self.jobs.start(job, scope);
                Ok(())
            }
            Action::CancelJobs => {
                self.jobs.cancel(&uid, |job| !job.is_teardown());
                Ok(())
            }
            Action::End(ending) => {
                self.jobs.cancel(&uid, |job| job == ending);
                Ok(())
            }
            Action::EndJobs => {
                self.jobs.cancel(&uid, |_| true);
                Ok(())
            }
        }
    }

    /// Adds or removes our finalizer, only on the very version that was read: a list that somebody else changed in between is left alone.
    async fn finalizer(&self, wanted: bool) -> Result<(), Error> {
        let (namespace, name, uid) = key(self.run);
        let mut finalizers: Vec<String> = self.run.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = serde_json::json!({
            "metadata": {"uid": uid, "resourceVersion": self.run.resource_version(), "finalizers": finalizers},
        });
        let api: Api<DryRun> = Api::namespaced(self.client.clone(), &namespace);
        let patched = call(
            "change the finalizer",
            api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)),
        )
        .await;
        match patched {
            Err(Error::Kube {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() && !wanted => Ok(()),
            other => other.map(drop),
        }
    }

    async fn create_report(&self) -> Result<(), Error> {
        let (namespace, name, uid) = key(self.run);
        let Approval::Valid {
            name: approval_name,
            uid: approval_uid,
            approved_by,
        } = self.approval.clone()
        else {
            return Ok(());
        };
        let Some(plan) = self.plan else {
            return Ok(());
        };
        let mut report = DryRunReport::new(
            &id::report(&name, &uid),
            DryRunReportSpec {
                dry_run_name: name.clone(),
                dry_run_uid: uid.clone(),
                plan_hash: plan.hash.clone(),
                plan: plan::document(&namespace, &name, &self.run.spec, &plan.resolved)?,
                requested_by: self.run.spec.requested_by.clone(),
                approved_by,
                approval_name,
                approval_uid,
            },
        );
        report.metadata.namespace = Some(namespace.clone());
        report.metadata.labels = Some(id::retained_labels(&name, &uid));
        let api: Api<DryRunReport> = Api::namespaced(self.client.clone(), &namespace);
        let created = call(
            "create the report",
            api.create(&PostParams::default(), &report),
        )
        .await;
        match created {
            Err(error) if error.is_already_exists() => {
                // A lost answer of an earlier create, or what another run has left under this name.
                let found = call("read the report", api.get(&report.name_any())).await?;
                if found.spec.dry_run_uid == uid {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other.map(drop),
        }
    }

    async fn create(&self, object: Object) -> Result<(), Error> {
        let (namespace, name, uid) = key(self.run);
        let plan = Plan {
            name: &name,
            namespace: &namespace,
            probes_namespace: &self.operator.probes_namespace,
            uid: &uid,
            spec: &self.run.spec,
            facts: self.facts,
            operator_image: &self.operator.image,
        };
        match object {
            Object::Secret => self.post(object, objects::secret(&plan)).await,
            Object::DataVolume | Object::EvidenceVolume => {
                self.post(object, objects::claim(&plan, object)).await
            }
            Object::ProductionEgress | Object::CopyEgress | Object::CopyIngress => {
                self.post(object, objects::policy(&plan, object)).await
            }
            Object::DumpPod
            | Object::PostgresPod
            | Object::RestorePod
            | Object::HarnessPod
            | Object::SealPod
            | Object::IdentityPod
            | Object::IntruderPod
            | Object::ListenerPod
            | Object::CanaryPod => self.post(object, objects::pod(&plan, object)).await,
        }
    }

    /// Where the object lives.
    fn api<K>(&self, object: Object) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        let (namespace, _, _) = key(self.run);
        let namespace = if object.is_outside() {
            &self.operator.probes_namespace
        } else {
            &namespace
        };
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn post<K>(&self, object: Object, desired: K) -> Result<(), Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize
            + Sync,
    {
        let (_, name, uid) = key(self.run);
        let api: Api<K> = self.api(object);
        let doing = format!("create {}", object.reference(&name, &uid));
        match call(doing.clone(), api.create(&PostParams::default(), &desired)).await {
            Err(Error::Kube {
                doing,
                source: kube::Error::Api(status),
            }) if status.is_already_exists() => {
                // A lost answer of an earlier create, or somebody else's object.
                let found =
                    call(doing.clone(), api.get_metadata(&object.name(&name, &uid))).await?;
                let ours = belongs(&found, &uid);
                if ours {
                    Ok(())
                } else {
                    Err(Error::Kube {
                        doing,
                        source: kube::Error::Api(status),
                    })
                }
            }
            other => other.map(drop),
        }
    }

    async fn delete(&self, object: Object) -> Result<(), Error> {
        match object {
            Object::Secret => self.remove::<Secret>(object).await,
            Object::DataVolume | Object::EvidenceVolume => {
                self.remove::<PersistentVolumeClaim>(object).await
            }
            Object::ProductionEgress | Object::CopyEgress | Object::CopyIngress => {
                self.remove::<NetworkPolicy>(object).await
            }
            Object::DumpPod
            | Object::PostgresPod
            | Object::RestorePod
            | Object::HarnessPod
            | Object::SealPod
            | Object::IdentityPod
            | Object::IntruderPod
            | Object::ListenerPod
            | Object::CanaryPod => self.remove::<Pod>(object).await,
        }
    }

    /// Deletes by name and UID, so that a stranger of the same name is never touched.
    async fn remove<K>(&self, object: Object) -> Result<(), Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let (_, name, uid) = key(self.run);
        let Some(observed) = self.objects.get(&object) else {
            return Ok(());
        };
        let api: Api<K> = self.api(object);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(observed.uid.clone()),
            resource_version: None,
        });
        match call(
            format!("delete {}", object.reference(&name, &uid)),
            api.delete(&object.name(&name, &uid), &params),
        )
        .await
        {
            Err(Error::Kube {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
