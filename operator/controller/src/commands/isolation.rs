//! C-04, C-08 and C-11: positive controls, what must be out of reach, positive controls again; and
//! the watch between them.

mod targets;

use dryrun_core::agent_api::tasks::{ProbeTask, WatchTask};
use dryrun_core::api::TargetClass;
use dryrun_core::commands::{Moment, Probed};
use dryrun_core::isolation::judge;
use dryrun_core::isolation::target::{Greeting, Tally, Target};
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::{IsolationFacts, Phase, Probe};
use futures::future::{BoxFuture, try_join_all};
use std::time::{Duration, Instant};

use self::targets::Places;
use crate::jobs::{Scope, millis, nonce};

/// Timeout of an answer. A SYN that was lost is sent again after a second (RFC 6298).
const ANSWER: Duration = Duration::from_secs(1);
/// Number of attempts at a target that must be out of reach, and their interval.
const ROUNDS: (u32, Duration) = (3, Duration::from_millis(200));
/// The same of positive controls.
const CONTROLS: (u32, Duration) = (2, Duration::from_millis(50));
/// Time for an allowed connection to be let through: plugins may put allowances in force late.
const ALLOWED: Duration = Duration::from_secs(20);
/// Time for other servers to answer a positive control: a busy one may be slow once.
const OTHERS: Duration = Duration::from_secs(5);
/// Interval between attempts of a positive control.
const AGAIN: Duration = Duration::from_millis(100);
/// Minimum interval of the watch, and the random part that is added.
const WATCH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));

/// Attempts of a phase, by container.
struct Attempts {
    controls: Vec<(Container, Vec<Target>)>,
    probes: Vec<(Container, Vec<Target>)>,
}

/// One phase.
pub(super) async fn probe(scope: &Scope, moment: Moment) -> Result<Probed, Problem> {
    let started = Instant::now();
    let greeting = match moment {
        // The server is not there yet: in its place the waiting agent answers.
        Moment::Before => Greeting::Echo,
        Moment::Harness | Moment::After => Greeting::Postgres,
    };
    let places = targets::find(scope, greeting).await?;
    let attempts = attempts(moment, &places);
    let controls_before = controls(scope, &attempts.controls, ALLOWED).await?;
    let probes = all(scope, &attempts.probes, ROUNDS).await?;
    let controls_after = controls(scope, &attempts.controls, OTHERS).await?;
    let during = match moment {
        Moment::Before | Moment::Harness => Vec::new(),
        Moment::After => watched(scope).await?,
    };
    let phase = Phase {
        node: places.node,
        other_node: places.other_node,
        controls_before,
        probes,
        controls_after,
        milliseconds: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
    };
    Ok(Probed {
        moment,
        phase,
        during,
    })
}

fn attempts(moment: Moment, places: &Places) -> Attempts {
    let (production, copy) = (vec![places.production.clone()], places.copy.clone());
    let forbidden = [&places.open[..], &production].concat();
    let to_copy = [&forbidden[..], &copy].concat();
    let other_port = places.copy_other_port.clone();
    let from_harness = [&forbidden[..], &other_port].concat();
    let mut far = Vec::new();
    if !places.other_node.is_empty() {
        far.push((Container::Listener, copy.clone()));
    }
    let open = (Container::Canary, places.open.clone());
    // That the copy's pod reaches its own address proves that a server listens there.
    let own = (Container::CopyProbe, other_port);
    match moment {
        Moment::Before => Attempts {
            controls: vec![
                open,
                (Container::Dump, production),
                (Container::Restore, copy.clone()),
            ],
            probes: [
                vec![
                    (Container::Isolate, forbidden),
                    (Container::Intruder, to_copy),
                    (Container::Canary, copy),
                ],
                far,
            ]
            .concat(),
        },
        Moment::Harness => Attempts {
            controls: vec![
                open,
                (Container::Identity, production),
                (Container::Observer, copy),
                own,
            ],
            probes: vec![(Container::Observer, from_harness)],
        },
        Moment::After => Attempts {
            controls: vec![
                open,
                (Container::Identity, production),
                (Container::Observer, copy.clone()),
                own,
            ],
            probes: [
                vec![
                    (Container::CopyProbe, forbidden),
                    (Container::Observer, from_harness),
                    (Container::Intruder, to_copy),
                    (Container::Canary, copy),
                ],
                far,
            ]
            .concat(),
        },
    }
}

/// Positive controls: those without an answer are tried again, `patience` long if the run itself
/// allows them or listens there. A class that may be inconclusive is not waited for.
async fn controls(
    scope: &Scope,
    attempts: &[(Container, Vec<Target>)],
    patience: Duration,
) -> Result<Vec<Probe>, Problem> {
    let started = Instant::now();
    let excused = &scope.spec.isolation.may_be_inconclusive;
    loop {
        let found = all(scope, attempts, CONTROLS).await?;
        let open = found.iter().filter(|probe| probe.tally.answered == 0);
        let longest = open
            .map(|probe| {
                if ours(probe.target.class) {
                    patience
                } else if excused.contains(&probe.target.class) {
                    Duration::ZERO
                } else {
                    OTHERS
                }
            })
            .max();
        if longest.is_none_or(|longest| started.elapsed() >= longest) {
            return Ok(found);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Classes whose positive control depends on the run's own pods and policies alone.
fn ours(class: TargetClass) -> bool {
    matches!(
        class,
        TargetClass::Production
            | TargetClass::OtherNamespace
            | TargetClass::Copy
            | TargetClass::CopyOtherPort
    )
}

/// All pods try their targets at a time.
async fn all(
    scope: &Scope,
    attempts: &[(Container, Vec<Target>)],
    (rounds, interval): (u32, Duration),
) -> Result<Vec<Probe>, Problem> {
    let one = async |container: Container, targets: &[Target]| {
        let agent = scope.agent(container).await?;
        let tallies = agent.probe(&task(targets, rounds, interval)).await?;
        Ok::<_, Problem>(named(container, targets, tallies))
    };
    let found = try_join_all(
        attempts
            .iter()
            .map(|(prober, targets)| one(*prober, targets)),
    )
    .await?;
    Ok(found.concat())
}

fn task(targets: &[Target], rounds: u32, interval: Duration) -> ProbeTask {
    ProbeTask {
        targets: targets.to_vec(),
        rounds,
        interval_ms: millis(interval),
        timeout_ms: millis(ANSWER),
        nonce: nonce(),
    }
}

fn named(container: Container, targets: &[Target], tallies: Vec<Tally>) -> Vec<Probe> {
    let pairs = targets.iter().zip(tallies);
    pairs
        .map(|(target, tally)| Probe {
            from: container.pod(),
            target: target.clone(),
            tally,
        })
        .collect()
}

/// Containers that run the watch: neither may reach anything but the copy.
const WATCHERS: [Container; 2] = [Container::CopyProbe, Container::Observer];

/// Returns the targets of the watch: what was tried from the harness before the scenarios, except
/// the copy itself.
///
/// It is taken from the facts and not looked up again. An agent's watch continues as it began, also
/// when a name means another address by now; its tallies, which name no target, must not be taken
/// for those of that address. That production moved is seen by its positive controls.
fn watched_targets(isolation: &IsolationFacts) -> Vec<Target> {
    let tried = isolation.harness.iter().flat_map(|phase| &phase.probes);
    tried
        .filter(|probe| probe.from == Container::Observer.pod())
        .map(|probe| &probe.target)
        .filter(|target| target.class != TargetClass::CopyOtherPort)
        .cloned()
        .collect()
}

/// Lets the copy and the harness probe at intervals, and ends when one of them has reached
/// something.
pub(super) async fn watch(scope: &Scope) -> Result<Vec<Probe>, Problem> {
    let targets = watched_targets(&scope.facts.isolation);
    let excused = |target: &Target| judge::is_excused(&scope.spec.isolation, target);
    let mut breaches: Vec<BoxFuture<'_, Result<(), Problem>>> = Vec::new();
    for container in WATCHERS {
        let agent = scope.agent(container).await?;
        let task = WatchTask {
            probe: task(&targets, 1, WATCH.0),
            excused: targets.iter().map(excused).collect(),
            jitter_ms: millis(WATCH.1),
        };
        agent.watch(&task).await?;
        breaches.push(Box::pin(async move { agent.breach().await.map(drop) }));
    }
    let (first, _, _) = futures::future::select_all(breaches).await;
    first?;
    watched(scope).await
}

/// Returns the probes of the watch so far.
async fn watched(scope: &Scope) -> Result<Vec<Probe>, Problem> {
    let targets = watched_targets(&scope.facts.isolation);
    let mut found = Vec::new();
    for container in WATCHERS {
        let agent = scope.agent(container).await?;
        let tallies = agent.watched().await?;
        if tallies.len() != targets.len() {
            let message = "the watch has other targets than the harness was probed with";
            return Err(Problem::permanent("TargetsMoved", message));
        }
        if tallies.iter().any(|tally| tally.attempts == 0) {
            return Err(Problem::transient(
                "NotTriedYet",
                "the watch has only begun",
            ));
        }
        found.extend(named(container, &targets, tallies));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::isolation::target::Protocol;

    fn probe(from: Container, class: TargetClass, address: &str) -> Probe {
        let target = Target {
            class,
            address: address.into(),
            port: 1,
            protocol: Protocol::Tcp,
            greeting: Greeting::Nothing,
            on_own_node: false,
        };
        named(from, &[target], vec![Tally::default()]).remove(0)
    }

    #[test]
    fn what_is_watched_is_what_the_harness_was_probed_with() {
        assert!(watched_targets(&IsolationFacts::default()).is_empty());
        let isolation = IsolationFacts {
            harness: Some(Phase {
                probes: vec![
                    probe(Container::Observer, TargetClass::Dns, "10.0.0.1"),
                    probe(Container::Canary, TargetClass::Outside, "10.0.0.2"),
                    probe(Container::Observer, TargetClass::Production, "10.0.0.3"),
                    probe(Container::Observer, TargetClass::CopyOtherPort, "10.0.0.4"),
                ],
                ..Phase::default()
            }),
            ..IsolationFacts::default()
        };
        let addresses = watched_targets(&isolation).into_iter().map(|t| t.address);
        assert!(addresses.eq(["10.0.0.1", "10.0.0.3"]));
    }
}
