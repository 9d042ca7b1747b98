//! Bring-up and teardown of the local cluster. Each test brings up its own cluster, so tests run
//! one at a time, and no other cluster may be running.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test a panic is the report"
)]

mod machine;

use std::{
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dryrun_e2e::{
    cluster::{Cluster, METADATA, OUTSIDE, apply},
    images::Image,
    toolchain::{cache::Cache, packages, progress::Progress},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::AttachParams,
    runtime::wait::{await_condition, conditions},
};
use tokio::{
    io::AsyncReadExt,
    sync::{Mutex, MutexGuard},
    time::timeout,
};

/// Serialises the tests, as a machine has room for one cluster. Installs the required programs
/// before the first snapshot, which uses some of them.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    packages::ensure_for_cluster(&Cache::open().unwrap(), &Progress::new())
        .await
        .unwrap();
    alone
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dryrun-e2e"));
    command
        .arg("cluster")
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end and returns its standard error.
fn run(arguments: &[&str]) -> Result<String, String> {
    let output = program(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        Ok(text)
    } else {
        Err(text)
    }
}

/// Starts a command and waits until it has printed `phase`.
fn run_until(arguments: &[&str], phase: &str) -> Child {
    let mut child = program(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(phase)),
        "it never printed {phase:?}"
    );
    child
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    println!("{what}: {:.1}s", started.elapsed().as_secs_f64());
    done
}

/// Removes the cluster even if the test fails, so that the next test starts without one.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(error) = run(&["down"]) {
            eprintln!("{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn down_leaves_the_machine_unchanged() {
    let _alone = alone().await;
    run(&["down"]).unwrap();
    let before = machine::snapshot();
    let down = Down;
    timed("up, one node", || run(&["up"])).unwrap();
    let cluster = Cluster::running(&Progress::new()).await.unwrap().unwrap();
    let client = cluster.client().await.unwrap();
    apply(&client, include_str!("workload.yaml")).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "busy");
    ready(&pods, "writer").await;
    assert!(
        Cluster::leftovers().await.unwrap().len() > 10,
        "a running cluster is all leftovers"
    );
    let running = machine::snapshot();
    for kind in [
        "process", "mount", "link", "address", "route", "cgroup", "file", "setting",
    ] {
        let of_it = |line: &&String| line.starts_with(kind) && !before.contains(*line);
        assert!(
            running.iter().any(|line| of_it(&line)),
            "a {kind} of a running cluster is not seen, so what is left of one is not either"
        );
    }
    let processes = machine::processes();
    drop(down);
    machine::assert_ended(&processes);
    machine::assert_same(&before, &machine::snapshot());
    timed("down, nothing there", || run(&["down"])).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_is_refused() {
    let _alone = alone().await;
    let _down = Down;
    let mut first = run_until(&["up"], "network, keys");
    assert!(
        run(&["up"]).unwrap_err().contains(
            "another `cargo cluster up` or `cargo cluster down` is running on this machine"
        )
    );
    assert!(
        run(&["down"])
            .unwrap_err()
            .contains("is running on this machine")
    );
    assert!(first.wait().unwrap().success());
    assert!(run(&["up"]).unwrap_err().contains("running already"));
}

/// SIGKILL after each phase leaves no time for cleanup; `down`, or another `up`, must clean up.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_up_leaves_nothing_after_down() {
    let _alone = alone().await;
    run(&["down"]).unwrap();
    let before = machine::snapshot();
    for phase in [
        "removing the remains of an earlier cluster",
        "network, keys",
        "API server",
        "images into",
        "nodes ready",
    ] {
        let mut up = run_until(&["up", "--nodes", "2"], phase);
        up.kill().unwrap();
        up.wait().unwrap();
        let processes = machine::processes();
        timed(
            &format!("down after a kill in the phase after {phase:?}"),
            || run(&["down"]),
        )
        .unwrap();
        machine::assert_ended(&processes);
        machine::assert_same(&before, &machine::snapshot());
    }
    let mut up = run_until(&["up"], "API server");
    up.kill().unwrap();
    up.wait().unwrap();
    run(&["up"]).unwrap();
    let mut down = program(&["down"]).spawn().unwrap();
    down.kill().unwrap();
    down.wait().unwrap();
    run(&["down"]).unwrap();
    machine::assert_same(&before, &machine::snapshot());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_up_cleans_up_after_itself() {
    let _alone = alone().await;
    run(&["down"]).unwrap();
    let before = machine::snapshot();
    let mut up = run_until(&["up"], "API server");
    let processes = machine::processes();
    let interrupt = Command::new("kill")
        .args(["-INT", &up.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    assert_eq!(up.wait().unwrap().code(), Some(130));
    machine::assert_ended(&processes);
    machine::assert_same(&before, &machine::snapshot());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_cluster_and_no_packet_leaves_it() {
    let _alone = alone().await;
    let _down = Down;
    timed("up, two nodes", || run(&["up", "--nodes", "2"])).unwrap();
    let cluster = Cluster::running(&Progress::new()).await.unwrap().unwrap();
    let client = cluster.client().await.unwrap();
    let probe = &cluster.load_images(&[Image::Netprobe]).await.unwrap()[0].name;
    apply(
        &client,
        &include_str!("two-nodes.yaml").replace("NETPROBE", probe),
    )
    .await
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "pair");
    for pod in ["server", "client"] {
        ready(&pods, pod).await;
    }
    let server = pods
        .get("server")
        .await
        .unwrap()
        .status
        .unwrap()
        .pod_ip
        .unwrap();
    for address in [server.as_str(), "server.pair.svc.cluster.local"] {
        assert_eq!(
            shell(
                &pods,
                "client",
                &format!("wget -q -T 5 -O - http://{address}:8080/name")
            )
            .await
            .trim(),
            "n1"
        );
    }
    assert_eq!(
        shell(&pods, "client", "cat /data/node").await.trim(),
        "n2",
        "each node has volumes of its own"
    );
    assert_eq!(shell(&pods, "server", "cat /data/node").await.trim(), "n1");

    for (protocol, port) in [("tcp", 80), ("udp", 53)] {
        for inside in [OUTSIDE, METADATA] {
            answers(&pods, protocol, inside, port).await;
        }
        for outside in outsiders() {
            assert_eq!(
                seen(&pods, protocol, outside, port).await,
                "timeout",
                "{protocol} {outside}"
            );
        }
    }
}

/// Waits until an address answers; on a busy machine datagrams may be late.
async fn answers(pods: &Api<Pod>, protocol: &str, address: Ipv4Addr, port: u16) {
    let open = async { while seen(pods, protocol, address, port).await != "open" {} };
    timeout(Duration::from_secs(60), open)
        .await
        .unwrap_or_else(|_| panic!("{protocol} {address} does not answer"));
}

/// The probe's result in the pod `client`: "open", "refused" or "timeout".
async fn seen(pods: &Api<Pod>, protocol: &str, address: Ipv4Addr, port: u16) -> String {
    let container = AttachParams::default().container("probe").stderr(false);
    let target = format!("{protocol}/{address}:{port}");
    let output = output(
        pods,
        "client",
        ["/netprobe", "connect", &target],
        &container,
    )
    .await;
    output.trim().trim_start_matches(&target).trim().to_owned()
}

/// Addresses that only the machine could reach: documentation networks, and the machine's own
/// addresses and gateways.
fn outsiders() -> Vec<Ipv4Addr> {
    let routes = Command::new("ip")
        .args(["-4", "route", "show"])
        .output()
        .unwrap();
    let routes = String::from_utf8(routes.stdout).unwrap();
    let machine = routes
        .lines()
        .filter(|route| !route.contains("dryrun-e2e"))
        .flat_map(|route| {
            let words: Vec<&str> = route.split(' ').collect();
            let after = |key: &str| {
                words
                    .windows(2)
                    .find(|pair| pair[0] == key)
                    .and_then(|pair| pair[1].parse().ok())
            };
            [after("src"), after("via")]
                .into_iter()
                .flatten()
                .collect::<Vec<Ipv4Addr>>()
        });
    let documentation = [
        Ipv4Addr::new(198, 51, 100, 1),
        Ipv4Addr::new(203, 0, 113, 1),
    ];
    machine
        .chain(documentation)
        .filter(|address| ![OUTSIDE, METADATA].contains(address))
        .collect()
}

async fn ready(pods: &Api<Pod>, name: &str) {
    let wait = await_condition(pods.clone(), name, conditions::is_pod_running());
    timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("{name} does not run"))
        .unwrap();
}

/// Standard output of a shell command in a pod.
async fn shell(pods: &Api<Pod>, pod: &str, script: &str) -> String {
    let container = AttachParams::default().container("main").stderr(false);
    output(pods, pod, ["sh", "-c", script], &container).await
}

async fn output(
    pods: &Api<Pod>,
    pod: &str,
    command: [&str; 3],
    parameters: &AttachParams,
) -> String {
    let mut process = pods.exec(pod, command, parameters).await.unwrap();
    let mut output = String::new();
    process
        .stdout()
        .unwrap()
        .read_to_string(&mut output)
        .await
        .unwrap();
    output
}
