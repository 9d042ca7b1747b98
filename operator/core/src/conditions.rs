//! Status conditions (`metav1.Condition`): one function sets them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that a condition gets, in characters.
const MESSAGE_LIMIT: usize = 200;
/// The same of `Approved`, whose messages have commands to run: a command that is cut is none.
const COMMAND_LIMIT: usize = 1000;

/// Content of a condition to write.
#[derive(Clone, Copy, Debug)]
pub struct DesiredCondition<'a> {
    /// Its type.
    pub type_: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// One CamelCase word.
    pub reason: &'a str,
    /// For people; cut at a limit.
    pub message: &'a str,
}

/// Sets the condition of this type. `lastTransitionTime` moves only when the status flips, and has
/// whole seconds.
///
/// A condition that speaks of a newer generation is left alone: its writer saw a newer spec
/// (Gateway API, GEP-1364).
pub fn upsert(
    conditions: &mut Vec<Condition>,
    desired: &DesiredCondition<'_>,
    generation: i64,
    now: Timestamp,
) {
    let DesiredCondition {
        type_,
        status,
        reason,
        message,
    } = *desired;
    let limit = match type_ {
        "Approved" => COMMAND_LIMIT,
        _ => MESSAGE_LIMIT,
    };
    let message = clip(message, limit);
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    if let Some(found) = conditions.iter_mut().find(|c| c.type_ == type_) {
        if found
            .observed_generation
            .is_some_and(|seen| seen > generation)
        {
            return;
        }
        if found.status != status {
            status.clone_into(&mut found.status);
            found.last_transition_time = Time(seconds);
        }
        reason.clone_into(&mut found.reason);
        found.message = message;
        found.observed_generation = Some(generation);
        return;
    }
    conditions.push(Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(seconds),
    });
}

/// Removes the condition of this type.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|c| c.type_ != type_);
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Cuts a message at a number of characters.
fn clip(message: &str, limit: usize) -> String {
    if message.chars().count() <= limit {
        return message.to_owned();
    }
    let mut cut: String = message.chars().take(limit - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired<'a>(
        type_: &'a str,
        status: &'a str,
        reason: &'a str,
        message: &'a str,
    ) -> DesiredCondition<'a> {
        DesiredCondition {
            type_,
            status,
            reason,
            message,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_with_the_status_only() {
        let mut conditions = Vec::new();
        upsert(
            &mut conditions,
            &desired("A", "Unknown", "Pending", ""),
            1,
            at(10),
        );
        upsert(
            &mut conditions,
            &desired("A", "Unknown", "Waiting", "x"),
            1,
            at(20),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(conditions[0].reason, "Waiting");
        upsert(
            &mut conditions,
            &desired("A", "True", "Passed", "x"),
            1,
            at(30),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_newer_view_is_left_alone() {
        let mut conditions = Vec::new();
        upsert(
            &mut conditions,
            &desired("A", "True", "Passed", ""),
            2,
            at(10),
        );
        upsert(
            &mut conditions,
            &desired("A", "False", "Failed", ""),
            1,
            at(20),
        );
        assert_eq!(conditions[0].status, "True");
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut conditions = Vec::new();
        upsert(
            &mut conditions,
            &desired("A", "True", "Passed", &"é".repeat(500)),
            1,
            at(1),
        );
        assert_eq!(conditions[0].message.chars().count(), 200);
        assert!(conditions[0].message.ends_with('…'));
    }
}
