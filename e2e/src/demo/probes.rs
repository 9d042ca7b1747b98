//! Table of the connections that pods of a run could make.

use std::collections::{BTreeMap, BTreeSet};

use dryrun_core::run::object::RunPod;
use dryrun_core::{
    isolation::target::{Tally, Target},
    run::facts::{IsolationFacts, Phase},
};

/// The isolated pods, in the order of the table's columns.
const PODS: [RunPod; 5] = [
    RunPod::Postgres,
    RunPod::Harness,
    RunPod::Intruder,
    RunPod::Canary,
    RunPod::Listener,
];

/// Connections and attempts by target: first of the positive controls, then of each isolated pod.
pub(super) fn table(isolation: &IsolationFacts) -> Vec<String> {
    let mut controls = BTreeMap::<String, (BTreeSet<&str>, Tally)>::new();
    let mut probes = BTreeMap::<String, BTreeMap<&str, Tally>>::new();
    for probe in phases(isolation).flat_map(|p| p.controls_before.iter().chain(&p.controls_after)) {
        let (pods, sum) = controls.entry(name(&probe.target)).or_default();
        pods.insert(probe.from.role());
        sum.add(&probe.tally);
    }
    for probe in isolation.probes() {
        let sums = probes.entry(name(&probe.target)).or_default();
        sums.entry(probe.from.role()).or_default().add(&probe.tally);
    }
    let mut pods: Vec<&str> = PODS.iter().map(|pod| pod.role()).collect();
    pods.retain(|pod| probes.values().any(|sums| sums.contains_key(pod)));
    let header = format!("{:<40} {:<28}", "target", "positive control");
    let mut lines = vec![header + &columns(pods.iter().map(|pod| (*pod).to_owned()))];
    for (target, sums) in &probes {
        let control = controls
            .get(target)
            .map_or_else(String::new, |(pods, sum)| {
                let pods: Vec<&str> = pods.iter().copied().collect();
                format!("{} {}", pods.join(", "), cell(sum))
            });
        let cells = pods
            .iter()
            .map(|pod| sums.get(pod).map(cell).unwrap_or_default());
        lines.push(format!("{target:<40} {control:<28}") + &columns(cells));
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

/// Milliseconds spent on probes, apart from the continuous watch.
pub(super) fn milliseconds(isolation: &IsolationFacts) -> u64 {
    phases(isolation).map(|phase| phase.milliseconds).sum()
}

fn phases(isolation: &IsolationFacts) -> impl Iterator<Item = &Phase> {
    let phases = [&isolation.before, &isolation.harness, &isolation.after];
    phases.into_iter().flatten()
}

fn name(target: &Target) -> String {
    format!(
        "{} {}:{}/{}",
        target.class.as_str(),
        target.address,
        target.port,
        target.protocol.as_str()
    )
}

fn cell(tally: &Tally) -> String {
    format!("{}/{}", tally.connected, tally.attempts)
}

fn columns(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!(" {cell:<10}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::api::TargetClass;
    use dryrun_core::isolation::target::{Greeting, Protocol};
    use dryrun_core::run::facts::Probe;
    use dryrun_core::run::object::RunPod;

    fn probe(from: RunPod, class: TargetClass, connected: u64) -> Probe {
        Probe {
            from,
            target: Target {
                class,
                address: "10.0.0.1".into(),
                port: 53,
                protocol: Protocol::Udp,
                greeting: Greeting::Dns,
                on_own_node: false,
            },
            tally: Tally {
                attempts: 2,
                connected,
                ..Tally::default()
            },
        }
    }

    #[test]
    fn controls_and_pods_are_summed_by_target() {
        let control = vec![probe(RunPod::Canary, TargetClass::Dns, 2)];
        let isolation = IsolationFacts {
            before: Some(Phase {
                controls_before: control.clone(),
                probes: vec![
                    probe(RunPod::Postgres, TargetClass::Dns, 0),
                    probe(RunPod::Intruder, TargetClass::Dns, 1),
                ],
                controls_after: control,
                milliseconds: 7,
                ..Phase::default()
            }),
            during: vec![probe(RunPod::Postgres, TargetClass::Dns, 0)],
            ..IsolationFacts::default()
        };
        let lines = table(&isolation);
        let words: Vec<Vec<&str>> = lines
            .iter()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[0],
            ["target", "positive", "control", "postgres", "intruder"]
        );
        assert_eq!(
            words[1],
            ["Dns", "10.0.0.1:53/UDP", "canary", "4/4", "0/4", "1/2"]
        );
        assert_eq!(milliseconds(&isolation), 7);
    }
}
