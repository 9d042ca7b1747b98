//! Probes at intervals, in parallel to a running task.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use dryrun_core::{agent_api::tasks::WatchTask, isolation::target::Tally};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{INTERVAL, Prober, check, invalid};
use crate::failure::Result;

/// The fewest milliseconds between two rounds: a watch has no end.
const LEAST_INTERVAL: u64 = 100;

/// The agent's one watch, when it has begun.
#[derive(Default)]
pub(crate) struct Watch(OnceLock<Begun>);

struct Begun {
    prober: Arc<Prober>,
    excused: Vec<bool>,
}

impl Watch {
    /// Begins the watch, for as long as the agent lives. A running one continues unchanged.
    pub(crate) fn begin(&self, task: WatchTask) -> Result<()> {
        admit(&task)?;
        self.0.get_or_init(|| {
            let prober = Arc::new(Prober::new(task.probe));
            tokio::spawn(probe(Arc::clone(&prober), task.jitter_ms));
            Begun {
                prober,
                excused: task.excused,
            }
        });
        Ok(())
    }

    /// The totals so far, in the task's order.
    pub(crate) fn totals(&self) -> Option<Vec<Tally>> {
        Some(self.0.get()?.prober.totals.borrow().clone())
    }

    /// The totals, as soon as a target has been reached that is not excused.
    pub(crate) async fn breach(&self) -> Option<Vec<Tally>> {
        let Begun { prober, excused } = self.0.get()?;
        let mut totals = prober.totals.subscribe();
        let breached = totals.wait_for(|totals| is_breached(totals, excused)).await;
        breached.ok().map(|totals| totals.clone())
    }
}

async fn probe(prober: Arc<Prober>, jitter: u64) {
    let mut rounds = JoinSet::new();
    loop {
        let next =
            Instant::now() + prober.interval() + Duration::from_millis(fastrand::u64(0..=jitter));
        rounds.spawn(Arc::clone(&prober).round());
        sleep_until(next).await;
        while rounds.try_join_next().is_some() {}
    }
}

fn is_breached(totals: &[Tally], excused: &[bool]) -> bool {
    totals
        .iter()
        .zip(excused)
        .any(|(tally, excused)| tally.connected > 0 && !excused)
}

fn admit(task: &WatchTask) -> Result<()> {
    check(&task.probe, u32::MAX)?;
    let interval = task.probe.interval_ms;
    if interval < LEAST_INTERVAL {
        return Err(invalid(format!(
            "an interval of {interval} ms is below {LEAST_INTERVAL}"
        )));
    }
    if task.jitter_ms > INTERVAL {
        return Err(invalid(format!(
            "a jitter of {} ms is above {INTERVAL}",
            task.jitter_ms
        )));
    }
    let (excused, targets) = (task.excused.len(), task.probe.targets.len());
    if excused != targets {
        return Err(invalid(format!(
            "excused says something of {excused} targets, and there are {targets}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_is_a_target_that_was_reached_without_excuse() {
        let blocked = Tally {
            attempts: 9,
            refused: 4,
            silent: 3,
            failed: 2,
            ..Tally::default()
        };
        let reached = Tally {
            attempts: 10,
            connected: 1,
            ..blocked.clone()
        };
        let totals = [blocked.clone(), reached];
        assert!(!is_breached(&totals, &[false, true]));
        assert!(is_breached(&totals, &[true, false]));
        assert!(!is_breached(&[blocked], &[false]));
    }
}
