//! Parser and runner of the truth table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bench::{Bench, Place};

/// Deadline for a scene's policies to be active on all nodes. The delay of a single policy is
/// measured elsewhere.
const SETTLE: Duration = Duration::from_secs(10);

/// Connection timeout of the host, equal to the probe's.
const PATIENCE: Duration = Duration::from_millis(500);

/// Policies, and the expected results of connections: "from > to:port to:port …" each.
#[derive(Deserialize)]
pub struct Scene {
    #[serde(rename = "scene")]
    pub name: String,
    policies: Vec<NetworkPolicySpec>,
    #[serde(default)]
    open: Vec<String>,
    #[serde(default)]
    blocked: Vec<String>,
}

/// One line of the table.
struct Check {
    place: Option<Place>,
    from: String,
    to: String,
    /// The target in the probe's syntax.
    target: String,
    open: bool,
}

/// Reads the table and fills in its variables.
pub fn scenes(bench: &Bench, addresses: &BTreeMap<String, String>) -> Result<Vec<Scene>> {
    let namespaces = [("a", &bench.a), ("b", &bench.b)];
    let mut variables: Vec<_> = addresses
        .iter()
        .map(|(name, address)| (name.as_str(), address))
        .chain(namespaces)
        .collect();
    // Longer names first, so that no name replaces the beginning of another.
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let text = include_str!("table.yaml").to_owned();
    let text = variables.into_iter().fold(text, |text, (name, value)| {
        text.replace(&format!("${name}"), value)
    });
    serde_saphyr::from_str(&text).context("table.yaml")
}

impl Scene {
    /// Repeats the checks until all give the expected result, then once more, and prints the
    /// results. Returns the numbers of right and of wrong lines.
    pub async fn check(
        &self,
        bench: &Bench,
        addresses: &BTreeMap<String, String>,
    ) -> Result<(usize, usize)> {
        let checks = self.checks(addresses)?;
        bench.set_policies(&bench.a, &self.policies).await?;
        let started = Instant::now();
        let mut settled = false;
        let seen = loop {
            let seen = look(bench, &checks).await?;
            let right = checks
                .iter()
                .zip(&seen)
                .all(|(check, seen)| check.open == (seen == "open"));
            if (right && settled) || started.elapsed() > SETTLE {
                break seen;
            }
            settled = right;
        };
        println!("\n{}", self.name);
        let mut wrong = 0;
        for (check, seen) in checks.iter().zip(seen) {
            let (place, expected) = (
                check.place.map_or("", Place::name),
                if check.open { "open" } else { "blocked" },
            );
            let verdict = if check.open == (seen == "open") {
                "ok"
            } else {
                "WRONG"
            };
            wrong += usize::from(verdict == "WRONG");
            println!(
                "  {place:4} {:8} > {:18} {expected:8} {seen:8} {verdict}",
                check.from, check.to
            );
        }
        Ok((checks.len() - wrong, wrong))
    }

    fn checks(&self, addresses: &BTreeMap<String, String>) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for (lines, open) in [(&self.open, true), (&self.blocked, false)] {
            for line in lines {
                let (from, targets) = line
                    .split_once(" > ")
                    .with_context(|| format!("no \" > \" in {line:?}"))?;
                let places = if Bench::is_placed(from) {
                    Place::ALL.map(Some).to_vec()
                } else {
                    vec![None]
                };
                for place in places {
                    for to in targets.split_whitespace() {
                        let target = target(to, place.unwrap_or(Place::Near), addresses)
                            .with_context(|| format!("target {to:?}"))?;
                        checks.push(Check {
                            place,
                            from: from.to_owned(),
                            to: to.to_owned(),
                            target,
                            open,
                        });
                    }
                }
            }
        }
        Ok(checks)
    }
}

/// "udp/name:port" with an address in place of the name. For a pod at both locations, the one at
/// `place`.
fn target(text: &str, place: Place, addresses: &BTreeMap<String, String>) -> Option<String> {
    let (protocol, endpoint) = text.split_once('/').unwrap_or(("tcp", text));
    let (name, port) = endpoint.split_once(':')?;
    let address = addresses
        .get(&place.pod(name))
        .or_else(|| addresses.get(name))?;
    Some(format!("{protocol}/{address}:{port}"))
}

/// Current result of each check. Each pod makes its connections in one batch, all pods
/// concurrently.
async fn look(bench: &Bench, checks: &[Check]) -> Result<Vec<String>> {
    let mut by_pod = BTreeMap::<_, Vec<&str>>::new();
    for check in checks {
        by_pod.entry(check.pod()).or_default().push(&check.target);
    }
    let seen = by_pod.into_iter().map(async |(pod, targets)| {
        let seen = match pod.split_once('/') {
            Some((namespace, name)) => {
                connect(bench, bench.namespace_of(namespace), name, &targets).await?
            }
            None => connect_from_here(&targets).await,
        };
        anyhow::Ok(
            targets
                .into_iter()
                .zip(seen)
                .map(move |(target, seen)| ((pod.clone(), target), seen))
                .collect::<Vec<_>>(),
        )
    });
    let seen: BTreeMap<_, _> = try_join_all(seen).await?.into_iter().flatten().collect();
    checks
        .iter()
        .map(|check| {
            seen.get(&(check.pod(), &*check.target))
                .cloned()
                .context("a check was left out")
        })
        .collect()
}

impl Check {
    /// "role/pod", or "host".
    fn pod(&self) -> String {
        match (self.place, self.from.as_str()) {
            (None, "host") => "host".to_owned(),
            (None, role) => format!("{role}/{role}"),
            (Some(place), role) => format!("{role}/{}", place.pod(role)),
        }
    }
}

async fn connect(
    bench: &Bench,
    namespace: &str,
    pod: &str,
    targets: &[&str],
) -> Result<Vec<String>> {
    let arguments: Vec<_> = ["connect"]
        .into_iter()
        .chain(targets.iter().copied())
        .collect();
    let output = bench.probe(namespace, pod, &arguments).await?;
    output
        .lines()
        .map(|line| {
            Ok(line
                .split_once(' ')
                .context("not \"TARGET SEEN\"")?
                .1
                .to_owned())
        })
        .collect()
}

async fn connect_from_here(targets: &[&str]) -> Vec<String> {
    let mut seen = Vec::new();
    for target in targets {
        let attempt = timeout(
            PATIENCE,
            TcpStream::connect(target.trim_start_matches("tcp/")),
        )
        .await;
        seen.push(match attempt {
            Ok(Ok(_)) => "open".to_owned(),
            Ok(Err(_)) => "refused".to_owned(),
            Err(_) => "timeout".to_owned(),
        });
    }
    seen
}
