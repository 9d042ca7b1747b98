//! Helpers of all tests.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use dryrun_netpol::{Node, Pod, Policy, World};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Node nK has the pods 10.244.K.0/24.
pub fn node(name: &str) -> Node {
    let pod_cidr = format!("10.244.{}.0/24", name.trim_start_matches('n'))
        .parse()
        .unwrap();
    Node {
        name: name.to_owned(),
        pod_cidr,
    }
}

/// The objects of a cluster, as returned by the API server.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub pods: Vec<core::Pod>,
    pub namespaces: Vec<core::Namespace>,
    pub policies: Vec<NetworkPolicy>,
}

impl Objects {
    pub fn world(&self) -> World {
        World::new(
            self.pods.iter().filter_map(|pod| Pod::read(pod, None)),
            self.namespaces
                .iter()
                .map(|namespace| (namespace.name_any(), namespace.labels().clone())),
            self.policies
                .iter()
                .map(|policy| Policy::try_from(policy).unwrap()),
        )
    }
}

/// A world from manifests.
pub fn parse(manifests: &str) -> World {
    let mut objects = Objects::default();
    for object in serde_saphyr::from_multiple::<Value>(manifests).unwrap() {
        match object["kind"].as_str() {
            Some("Pod") => objects.pods.push(read(object)),
            Some("Namespace") => objects.namespaces.push(read(object)),
            Some("NetworkPolicy") => objects.policies.push(read(object)),
            other => panic!("unexpected kind {other:?}"),
        }
    }
    objects.world()
}

fn read<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

/// True if rulesets can be loaded on this machine. Prints a message if not, or fails if tests must
/// not be skipped.
pub static ABLE: LazyLock<bool> = LazyLock::new(|| {
    let able = unshare(&["nft", "list", "ruleset"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !able {
        assert!(
            std::env::var_os("DRYRUN_TESTS_MUST_RUN").is_none(),
            "what loads tables into the kernel needs root, unshare and nft"
        );
        eprintln!("skipped: what loads tables into the kernel needs root, unshare and nft");
    }
    able
});

/// A command in a temporary network namespace.
pub fn unshare(command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net").args(command);
    unshare
}

/// Loads a ruleset into a temporary kernel namespace. Does nothing if that is not possible.
pub fn load(ruleset: &str) {
    if !*ABLE {
        return;
    }
    let mut nft = unshare(&["nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    nft.stdin
        .take()
        .unwrap()
        .write_all(ruleset.as_bytes())
        .unwrap();
    let output = nft.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{ruleset}");
}
