//! Probes of the targets that this pod can reach: once with [`run`], and repeatedly with
//! [`watch::Watch`].

mod attempt;
mod greeting;
pub(crate) mod watch;

use std::{sync::Arc, time::Duration};

use dryrun_core::{
    agent_api::tasks::ProbeTask,
    isolation::target::{Greeting, Tally},
    problem::Problem,
};
use futures::future::join_all;
use tokio::{
    sync::watch::Sender,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::failure::Result;

/// Targets of a task.
const TARGETS: usize = 100;
/// Rounds of a task.
const ROUNDS: u32 = 1000;
/// Milliseconds that one answer may be waited for.
const TIMEOUT: u64 = 60_000;
/// Milliseconds between two rounds.
const INTERVAL: u64 = 600_000;
/// Bytes of a nonce: with every header it fits into one datagram.
const NONCE: usize = 256;
/// Attempts at a time: each holds a socket, and the usual limit of 1024 open files must leave some
/// to the control channel.
const AT_A_TIME: u64 = 400;

/// Tries every target `rounds` times.
pub(crate) async fn run(task: ProbeTask) -> Result<Vec<Tally>> {
    if !(1..=ROUNDS).contains(&task.rounds) {
        return Err(invalid(format!(
            "{} rounds are not within 1 to {ROUNDS}",
            task.rounds
        )));
    }
    check(&task, task.rounds)?;
    let prober = Arc::new(Prober::new(task));
    let mut rounds = JoinSet::new();
    let mut next = Instant::now();
    for _ in 0..prober.task.rounds {
        sleep_until(next).await;
        next = Instant::now() + prober.interval();
        rounds.spawn(Arc::clone(&prober).round());
    }
    while rounds.join_next().await.is_some() {}
    Ok(prober.totals.borrow().clone())
}

/// A task's targets, with what came of them so far.
struct Prober {
    task: ProbeTask,
    totals: Sender<Vec<Tally>>,
}

impl Prober {
    fn new(task: ProbeTask) -> Self {
        let totals = Sender::new(vec![Tally::default(); task.targets.len()]);
        Self { task, totals }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.task.interval_ms)
    }

    /// Tries every target once, all at a time; an attempt counts as soon as it has ended.
    async fn round(self: Arc<Self>) {
        let limit = Duration::from_millis(self.task.timeout_ms);
        let attempts = self
            .task
            .targets
            .iter()
            .enumerate()
            .map(async |(place, target)| {
                let tally = attempt::attempt(target, &self.task.nonce, limit).await;
                self.totals.send_modify(|totals| totals[place].add(&tally));
            });
        join_all(attempts).await;
    }
}

/// Refuses what can only be a mistake, or would leave the agent without sockets.
fn check(task: &ProbeTask, rounds: u32) -> Result<()> {
    let targets = task.targets.len();
    if !(1..=TARGETS).contains(&targets) {
        return Err(invalid(format!(
            "{targets} targets are not within 1 to {TARGETS}"
        )));
    }
    if !(1..=TIMEOUT).contains(&task.timeout_ms) {
        return Err(invalid(format!(
            "a timeout of {} ms is not within 1 to {TIMEOUT}",
            task.timeout_ms
        )));
    }
    if task.interval_ms > INTERVAL {
        return Err(invalid(format!(
            "an interval of {} ms is above {INTERVAL}",
            task.interval_ms
        )));
    }
    let echoes = task
        .targets
        .iter()
        .any(|target| target.greeting == Greeting::Echo);
    if task.nonce.len() > NONCE || (echoes && task.nonce.is_empty()) {
        return Err(invalid(format!(
            "a nonce of {} bytes is not within 1 to {NONCE}",
            task.nonce.len()
        )));
    }
    let overlapping = (task.timeout_ms / task.interval_ms.max(1) + 1).min(rounds.into());
    let at_a_time = overlapping * targets as u64;
    if at_a_time > AT_A_TIME {
        return Err(invalid(format!(
            "{at_a_time} attempts at a time are more than {AT_A_TIME}: take a longer interval, a shorter timeout or fewer targets"
        )));
    }
    Ok(())
}

fn invalid(message: String) -> Problem {
    Problem::permanent("InvalidTask", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::api::TargetClass;
    use dryrun_core::isolation::target::{Protocol, Target};

    fn task(targets: usize, change: impl FnOnce(&mut ProbeTask)) -> ProbeTask {
        let target = Target {
            class: TargetClass::Outside,
            address: "127.0.0.1".into(),
            port: 1,
            protocol: Protocol::Tcp,
            greeting: Greeting::Echo,
            on_own_node: false,
        };
        let mut task = ProbeTask {
            targets: vec![target; targets],
            rounds: 3,
            interval_ms: 200,
            timeout_ms: 1000,
            nonce: "nonce".into(),
        };
        change(&mut task);
        task
    }

    #[test]
    fn usual_tasks_are_taken() {
        for task in [
            task(1, |_| {}),
            task(50, |_| {}),
            task(TARGETS, |task| task.rounds = 1),
            task(1, |task| task.interval_ms = 0),
            task(1, |task| {
                task.nonce.clear();
                task.targets[0].greeting = Greeting::Nothing;
            }),
        ] {
            assert_eq!(check(&task, task.rounds), Ok(()));
        }
    }

    #[tokio::test]
    async fn mistakes_are_named() {
        for (task, says) in [
            (task(0, |_| {}), "0 targets"),
            (task(TARGETS + 1, |_| {}), "101 targets"),
            (task(1, |task| task.rounds = 0), "0 rounds"),
            (task(1, |task| task.rounds = ROUNDS + 1), "1001 rounds"),
            (task(1, |task| task.timeout_ms = 0), "timeout of 0 ms"),
            (task(1, |task| task.timeout_ms = TIMEOUT + 1), "timeout"),
            (task(1, |task| task.interval_ms = INTERVAL + 1), "interval"),
            (task(1, |task| task.nonce.clear()), "nonce of 0 bytes"),
            (
                task(1, |task| task.nonce = "x".repeat(NONCE + 1)),
                "nonce of 257 bytes",
            ),
            (
                task(TARGETS, |task| {
                    task.interval_ms = 0;
                    task.rounds = 5;
                }),
                "500 attempts",
            ),
        ] {
            let error = run(task).await.unwrap_err();
            assert_eq!((error.reason.as_str(), error.retry), ("InvalidTask", false));
            assert!(error.message.contains(says), "{says} in {error}");
        }
    }
}
