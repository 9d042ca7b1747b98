//! Synchronises the kernel with the caches.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Namespace, Pod as ApiPod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use tracing::{info, warn};

use super::socket::Waiting;
use crate::model::{Pod, Policy, World};
use crate::nft::Kernel;
use crate::table::{Node, Table};

/// The caches, and the state of the kernel.
pub(super) struct Enforcer {
    node: Node,
    pods: Store<ApiPod>,
    namespaces: Store<Namespace>,
    policies: Store<NetworkPolicy>,
    /// Sandbox addresses announced by the CNI plugin, by pod UID.
    addresses: BTreeMap<String, Ipv4Addr>,
    waiting: Vec<Waiting>,
    kernel: Kernel,
    /// The table in the kernel; `None` before the first load.
    loaded: Option<Table>,
}

impl Enforcer {
    pub(super) fn new(
        node: Node,
        pods: Store<ApiPod>,
        namespaces: Store<Namespace>,
        policies: Store<NetworkPolicy>,
    ) -> Self {
        let (addresses, waiting, kernel, loaded) =
            (BTreeMap::new(), Vec::new(), Kernel::new(), None);
        Self {
            node,
            pods,
            namespaces,
            policies,
            addresses,
            waiting,
            kernel,
            loaded,
        }
    }

    /// Queues a sandbox, to be admitted by an update.
    pub(super) fn admit(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// Brings the kernel up to date with the caches, and admits the sandboxes whose rules are then
    /// in force.
    pub(super) async fn update(&mut self) -> Result<()> {
        let started = Instant::now();
        let pods: BTreeMap<_, _> = self
            .pods
            .state()
            .into_iter()
            .filter_map(|pod| Some((pod.metadata.uid.clone()?, pod)))
            .collect();
        self.addresses.retain(|uid, _| pods.contains_key(uid));
        self.waiting.retain(|waiting| !waiting.is_late());
        // The labels of a pod that is not in the cache are unknown: its sandbox waits for the
        // watch.
        let known = |waiting: &mut Waiting| pods.contains_key(&waiting.sandbox.uid);
        let admissible: Vec<_> = self.waiting.extract_if(.., known).collect();
        self.addresses.extend(
            admissible
                .iter()
                .map(|Waiting { sandbox, .. }| (sandbox.uid.clone(), sandbox.address)),
        );

        let table = Table::compile(&self.node, &self.world(&pods));
        if self.loaded.as_ref() != Some(&table) {
            if let Err(error) = self.kernel.replace(&table).await {
                self.waiting.extend(admissible);
                return Err(error);
            }
            info!(
                pods = table.pods.len(),
                took_us = started.elapsed().as_micros(),
                "table loaded"
            );
            self.loaded = Some(table);
        }
        admissible.into_iter().for_each(Waiting::admit);
        Ok(())
    }

    fn world(&self, pods: &BTreeMap<String, Arc<ApiPod>>) -> World {
        let policies = self.policies.state().into_iter().map(|policy| {
            Policy::try_from(policy.as_ref()).unwrap_or_else(|error| {
                warn!(policy = %ObjectRef::from_obj(policy.as_ref()), %error, "policy not understood: its namespace is isolated");
                Policy::isolating(&policy)
            })
        });
        World::new(
            pods.iter()
                .filter_map(|(uid, pod)| Pod::read(pod, self.addresses.get(uid).copied())),
            self.namespaces
                .state()
                .iter()
                .map(|namespace| (namespace.name_any(), namespace.labels().clone())),
            policies,
        )
    }
}
