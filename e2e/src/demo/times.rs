//! Duration of each command of a run.

use std::collections::BTreeMap;

use dryrun_core::commands::Command;
use jiff::Timestamp;

/// One line for each command in the order of their start: each lasts until the next one starts, the
/// last one until `finished`.
pub(super) fn table(began: &BTreeMap<Command, Timestamp>, finished: Timestamp) -> Vec<String> {
    let mut steps: Vec<(&str, Timestamp)> = began
        .iter()
        .map(|(command, at)| (command.id(), *at))
        .collect();
    steps.sort_by_key(|(step, at)| (*at, *step));
    let ends = steps.iter().skip(1).map(|(_, at)| *at).chain([finished]);
    let lines = steps.iter().zip(ends).map(|((step, at), end)| {
        format!("{step:<8} {:>8.2} s", at.duration_until(end).as_secs_f64())
    });
    let total = steps.first().map(|(_, first)| {
        format!(
            "{:<8} {:>8.2} s",
            "total",
            first.duration_until(finished).as_secs_f64()
        )
    });
    lines.chain(total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_lasts_until_the_next_begins() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let began = BTreeMap::from([
            (Command::Preflight, at(0)),
            (Command::Dump, at(4000)),
            (Command::Secrets, at(1500)),
        ]);
        assert_eq!(
            table(&began, at(9250)),
            [
                "C-01         1.50 s",
                "C-02         2.50 s",
                "C-03         5.25 s",
                "total        9.25 s"
            ]
        );
    }

    #[test]
    fn a_run_that_never_began_took_no_time() {
        assert!(table(&BTreeMap::new(), Timestamp::UNIX_EPOCH).is_empty());
    }
}
