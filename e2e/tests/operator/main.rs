//! The operator on a real cluster with a real production: refused requests, stopped runs, complete
//! teardowns and absent secrets. A failed case prints its run's verdict; the final tables show the
//! duration of each case and of each deletion.
//!
//! All cases share one production and one operator, so this target has its own `main`. It takes the
//! usual arguments of a test program.

mod abandoned;
mod approval;
mod attacks;
mod audit;
mod breakdowns;
mod complete;
mod copy;
mod deleted;
mod denials;
mod environment;
mod evidence;
mod gates;
mod host;
mod isolation;
mod leftovers;
mod postgres_versions;
mod run;
mod waiting;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{
    runtime::{Handle, Runtime},
    sync::OnceCell,
};

use environment::Environment;

/// A case.
type Case = for<'a> fn(&'a Environment) -> LocalBoxFuture<'a, Result<()>>;

/// Pairs cases with the names of their functions.
macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($case)), |env| Box::pin($module::$case(env)))),*]
    };
}

/// All cases, the longest first.
const CASES: [(&str, Case); 94] = cases![
    complete::passes_every_gate,
    complete::sql_goes_through_port_forwards,
    complete::status_is_written_at_most_twelve_times,
    complete::no_secret_appears_anywhere,
    complete::audit_log_contains_its_writes,
    complete::nothing_is_written_after_the_end,
    deleted::during_restore_leaves_nothing,
    deleted::during_dump_leaves_nothing,
    deleted::during_scenario_leaves_nothing,
    deleted::with_its_namespace_leaves_nothing,
    deleted::during_teardown_leaves_nothing,
    deleted::deleted_report_ends_the_run,
    abandoned::hanging_teardown_can_be_abandoned,
    deleted::before_approval_leaves_nothing,
    isolation::foreign_policy_during_run_is_detected,
    isolation::foreign_policy_before_run_is_detected,
    isolation::missing_positive_control_is_inconclusive,
    isolation::excused_control_passes,
    evidence::is_verifiable_without_the_cluster,
    evidence::printed_secret_is_found_and_removed,
    evidence::rewritten_log_is_detected,
    evidence::replaced_input_is_detected,
    evidence::is_deleted_after_retention,
    postgres_versions::postgres_18_passes,
    postgres_versions::postgres_15_passes,
    postgres_versions::newer_copy_leaves_catalog_match_unknown,
    copy::pinned_changes_pass,
    copy::declared_migration_passes,
    copy::declared_table_passes,
    copy::tolerated_error_passes,
    copy::privileges_through_public_fail,
    breakdowns::server_crash_ends_the_run,
    breakdowns::termination_log_is_not_repeated,
    breakdowns::protected_pod_restart_fails,
    breakdowns::physical_copy_is_never_started,
    denials::allowed_statement_fails,
    denials::printed_denial_fails,
    denials::forged_denial_fails,
    denials::caught_denial_fails,
    denials::denial_on_another_object_fails,
    denials::read_only_error_fails,
    denials::unknown_table_error_fails,
    denials::denied_twin_fails,
    denials::login_of_an_earlier_scenario_fails,
    denials::denied_role_passes,
    denials::idle_command_fails,
    denials::scratch_is_reset_between_scenarios,
    copy::undeclared_change_fails,
    copy::undeclared_escalation_path_fails,
    copy::changed_setting_fails,
    copy::literal_matrix_passes,
    copy::unused_tolerance_fails,
    copy::restore_error_fails,
    copy::lost_rows_fail,
    copy::intolerable_errors_are_refused,
    copy::grant_by_event_trigger_fails,
    copy::undeclared_ownership_fails,
    copy::restore_stops_before_volume_is_full,
    copy::missing_space_prevents_the_dump,
    gates::protected_pod_deletion_fails,
    gates::undeclared_rows_fail,
    gates::overwritten_rows_fail,
    gates::grant_in_scenario_fails,
    gates::failing_scenario_stops_the_rest,
    gates::changed_input_fails,
    gates::grant_on_unknown_table_fails,
    gates::missing_dump_privilege_fails,
    gates::wrong_password_fails,
    attacks::curious_server_gets_no_password,
    attacks::endless_errors_fail_a_gate,
    attacks::matrix_bomb_is_refused,
    gates::wrong_system_identifier_fails,
    gates::empty_protected_selector_fails,
    gates::existing_object_is_not_touched,
    waiting::missing_image_ends_at_the_deadline,
    waiting::unschedulable_pod_ends_at_the_deadline,
    waiting::unprepared_namespace_is_reported,
    waiting::missing_config_map_is_reported,
    waiting::missing_config_map_key_is_reported,
    waiting::missing_secret_is_reported,
    waiting::secret_of_another_source_is_reported,
    waiting::missing_secret_key_is_reported,
    waiting::late_config_map_is_resolved,
    waiting::approval_of_another_plan_is_refused,
    approval::config_map_change_voids_it,
    approval::secret_change_voids_it,
    approval::of_unknown_run_is_reported,
    waiting::unapproved_run_expires,
    waiting::bad_specs_are_refused,
    waiting::spec_change_is_refused,
    isolation::end_of_enforcement_is_detected,
    isolation::missing_enforcement_is_detected,
    approval::does_not_count_without_policies,
    waiting::nothing_is_created_without_approval,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The environment limits the number of concurrent runs; a waiting case costs nothing.
    arguments.test_threads.get_or_insert(CASES.len());
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let suite = Arc::new(Suite::new(runtime.handle().clone()));
    let trials = CASES.map(|(name, case)| {
        let suite = Arc::clone(&suite);
        Trial::test(name, move || suite.run_case(name, case))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    let closed = runtime.block_on(suite.close());
    if let Err(error) = &closed {
        eprintln!("after the last case: {error:?}");
    }
    if conclusion.has_failed() || closed.is_err() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

struct Suite {
    runtime: Handle,
    env: OnceCell<Environment>,
    rows: Mutex<Vec<Row>>,
}

/// Result of a case.
struct Row {
    case: &'static str,
    passed: bool,
    took: Duration,
}

impl Suite {
    fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            env: OnceCell::new(),
            rows: Mutex::default(),
        }
    }

    fn run_case(&self, name: &'static str, case: Case) -> Result<(), Failed> {
        let running = async {
            let set = async || Box::pin(Environment::prepare()).await;
            let env = self.env.get_or_try_init(set).await?;
            // Shared preparation is not part of a case's duration.
            let slot = env.slot(name).await?;
            let started = Instant::now();
            let ended = case(env).await;
            drop(slot);
            let (passed, took) = (ended.is_ok(), started.elapsed());
            self.rows
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Row {
                    case: name,
                    passed,
                    took,
                });
            ended
        };
        self.runtime
            .block_on(running)
            .map_err(|error: anyhow::Error| Failed::from(format!("{error:?}")))
    }

    /// Prints the tables, and checks that production is unchanged.
    async fn close(&self) -> Result<()> {
        let Some(env) = self.env.get() else {
            return Ok(());
        };
        let mut rows =
            std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        rows.sort_by_key(|row| CASES.iter().position(|(name, _)| *name == row.case));
        println!("\n{:<52} {:<7} {:>8}", "case", "outcome", "seconds");
        for Row { case, passed, took } in rows {
            println!(
                "{case:<52} {:<7} {:>8.1}",
                if passed { "ok" } else { "FAILED" },
                took.as_secs_f64()
            );
        }
        let figures = env.figures();
        if !figures.is_empty() {
            println!("\n{:<60} {:>8}", "figure", "value");
        }
        for (what, value) in figures {
            println!("{what:<60} {value:>8}");
        }
        env.teardown().await
    }
}
