//! The pods of a bench, and their probe.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::bench::{Bench, DEADLINE, Place};

impl Bench {
    /// Starts a pod that serves all ports, and waits until it is ready, as probed from the node.
    /// Returns its address.
    pub async fn serve(
        &self,
        namespace: &str,
        name: String,
        role: &str,
        place: Place,
    ) -> Result<String> {
        let arguments = [
            "serve", "--tcp", "8080", "--tcp", "8081", "--tcp", "8105", "--udp", "7000",
        ];
        let pod = json!({
            "ports": [{"name": "web", "containerPort": 8080}, {"name": "data", "containerPort": 7000, "protocol": "UDP"}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        });
        self.start(namespace, &name, role, place, &arguments, pod)
            .await?;
        let pod = self
            .until(namespace, &name, |pod| condition(pod, "Ready"))
            .await?;
        pod.status
            .and_then(|status| status.pod_ip)
            .context("a ready pod without address")
    }

    /// Starts a pod that runs the probe with these arguments.
    pub async fn start(
        &self,
        namespace: &str,
        name: &str,
        role: &str,
        place: Place,
        arguments: &[&str],
        mut container: Value,
    ) -> Result<()> {
        container["name"] = json!("probe");
        container["image"] = json!(self.image);
        container["imagePullPolicy"] = json!("Never");
        container["args"] = json!(arguments);
        container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true});
        let (node, _) = self.node(place);
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": role}},
            "spec": {
                "containers": [container],
                "nodeSelector": {"kubernetes.io/hostname": node},
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?)
            .await
            .with_context(|| format!("creating {name}"))?;
        Ok(())
    }

    /// Waits until a pod satisfies a condition.
    pub async fn until(
        &self,
        namespace: &str,
        name: &str,
        done: impl Fn(&Pod) -> bool,
    ) -> Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = timeout(
            DEADLINE,
            await_condition(pods, name, |pod: Option<&Pod>| pod.is_some_and(&done)),
        );
        pod.await
            .with_context(|| format!("waiting for {name}"))??
            .with_context(|| format!("{name} is gone"))
    }

    /// Runs the probe in a pod and returns its output.
    pub async fn probe(&self, namespace: &str, pod: &str, arguments: &[&str]) -> Result<String> {
        let mut process = self.spawn(namespace, pod, arguments).await?;
        let (mut output, mut errors) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (
            process.stdout().context("no output")?,
            process.stderr().context("no errors")?,
        );
        let status = process.take_status().context("no status")?;
        tokio::try_join!(
            stdout.read_to_string(&mut output),
            stderr.read_to_string(&mut errors)
        )?;
        let status = status.await.and_then(|status| status.status);
        ensure!(
            status.as_deref() == Some("Success"),
            "netprobe {} in {pod}: {errors}",
            arguments.join(" ")
        );
        Ok(output)
    }

    /// Starts the probe in a pod.
    pub async fn spawn(
        &self,
        namespace: &str,
        pod: &str,
        arguments: &[&str],
    ) -> Result<AttachedProcess> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let command = ["/netprobe"].into_iter().chain(arguments.iter().copied());
        Ok(pods
            .exec(
                pod,
                command,
                &AttachParams::default().stdout(true).stderr(true),
            )
            .await?)
    }

    /// Runs the probe as the main program of a pod; returns the two numbers of its last line.
    pub async fn run(
        &self,
        namespace: &str,
        name: &str,
        place: Place,
        arguments: &[&str],
    ) -> Result<[u64; 2]> {
        self.start(namespace, name, "probe", place, arguments, json!({}))
            .await?;
        self.until(namespace, name, |pod| {
            matches!(phase(pod), Some("Succeeded" | "Failed"))
        })
        .await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let log = pods.logs(name, &LogParams::default()).await?;
        let numbers = log
            .lines()
            .last()
            .unwrap_or_default()
            .split(' ')
            .filter_map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect();
        numbers
            .try_into()
            .ok()
            .with_context(|| format!("no two numbers at the end of {log:?}"))
    }
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Returns whether a pod has a condition.
fn condition(pod: &Pod, name: &str) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == name && condition.status == "True")
}
