//! The operator on a real cluster, with a real production: what it refuses, where it stops, what it leaves behind, and what it never says.
//! A case that fails shows the verdict of its run; a table at the end shows how long each took, and how soon a deleted run was gone.
//!
//! All cases share one production and one operator, so this target has a `main` of its own. It takes the arguments of any other test program.

mod abandoned;
mod approval;
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

use environment::Stage;

/// One case.
type Case = for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, Result<()>>;

/// Cases by the names of their functions.
macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($case)), |stage| Box::pin($module::$case(stage)))),*]
    };
}

/// The longest first.
const CASES: [(&str, Case); 82] = cases![
    complete::passes_every_gate,
    complete::sql_goes_through_port_forwards,
    complete::status_is_written_at_most_twelve_times,
    complete::no_secret_is_anywhere,
    complete::the_audit_log_shows_what_it_did,
    complete::an_ended_run_is_left_alone,
    deleted::during_the_restore,
    deleted::during_the_dump,
    deleted::in_mid_scenario,
    deleted::with_its_namespace,
    deleted::during_teardown,
    deleted::its_report,
    abandoned::a_teardown_that_hangs,
    deleted::waiting_for_approval,
    isolation::foreign_policy_in_mid_run,
    isolation::foreign_policy,
    isolation::no_positive_control,
    isolation::excused_control,
    evidence::stands_alone,
    evidence::printed_secret,
    evidence::rewritten_log,
    evidence::swapped_config_map,
    evidence::expires,
    postgres_versions::postgres_18,
    postgres_versions::postgres_15,
    postgres_versions::a_newer_copy_leaves_the_catalog_open,
    copy::declared_migration,
    copy::rights_through_public,
    breakdowns::crash_in_a_scenario,
    breakdowns::last_words,
    breakdowns::protected_pod_restarts,
    breakdowns::physical_copy,
    denials::missing,
    denials::missing_in_a_command,
    denials::forged,
    denials::caught,
    denials::on_another_object,
    denials::of_a_read_only_transaction,
    denials::of_a_table_that_is_not_there,
    denials::twin_is_denied_too,
    copy::undeclared_change,
    copy::escalation_path,
    copy::changed_setting,
    copy::literal_matrix,
    copy::unused_tolerance,
    copy::tolerated_error,
    copy::restore_error,
    copy::lost_rows,
    copy::intolerable,
    copy::granted_by_a_trigger,
    copy::forgotten_ownership,
    copy::volume_fills_up,
    copy::full_volume,
    gates::protected_pod_is_deleted,
    gates::undeclared_rows,
    gates::granted_away,
    gates::failing_scenario,
    gates::changed_input,
    gates::unknown_table,
    gates::missing_right,
    gates::wrong_password,
    gates::wrong_identifier,
    gates::protected_selector_matches_nothing,
    gates::taken_name,
    waiting::missing_image,
    waiting::unschedulable,
    waiting::unprepared_namespace,
    waiting::missing_config_map,
    waiting::missing_config_map_key,
    waiting::missing_secret,
    waiting::missing_secret_key,
    waiting::config_map_comes_in_time,
    waiting::approval_of_another_plan,
    approval::config_map_changes_after_it,
    approval::secret_is_touched_after_it,
    approval::of_nothing,
    waiting::nobody_approves,
    waiting::bad_specs,
    waiting::spec_cannot_be_changed,
    isolation::enforcement_ends,
    isolation::nothing_is_enforced,
    approval::policies_are_not_in_force,
    waiting::nothing_is_done_without_approval,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The stage limits how many runs there are at a time; a case that waits for its turn takes nothing.
    arguments.test_threads.get_or_insert(CASES.len());
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let suite = Arc::new(Suite::new(runtime.handle().clone()));
    let trials = CASES.map(|(name, case)| {
        let suite = Arc::clone(&suite);
        Trial::test(name, move || suite.play(name, case))
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
    stage: OnceCell<Stage>,
    rows: Mutex<Vec<Row>>,
}

/// What became of a case.
struct Row {
    case: &'static str,
    passed: bool,
    took: Duration,
}

impl Suite {
    fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            stage: OnceCell::new(),
            rows: Mutex::default(),
        }
    }

    fn play(&self, name: &'static str, case: Case) -> Result<(), Failed> {
        let playing = async {
            let set = async || Box::pin(Stage::set()).await;
            let stage = self.stage.get_or_try_init(set).await?;
            // What all wait for is part of none's time.
            let turn = stage.turn(name).await?;
            let started = Instant::now();
            let played = case(stage).await;
            drop(turn);
            let (passed, took) = (played.is_ok(), started.elapsed());
            self.rows
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Row {
                    case: name,
                    passed,
                    took,
                });
            played
        };
        self.runtime
            .block_on(playing)
            .map_err(|error: anyhow::Error| Failed::from(format!("{error:?}")))
    }

    /// Prints the tables, and checks that production is as it was.
    async fn close(&self) -> Result<()> {
        let Some(stage) = self.stage.get() else {
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
        let figures = stage.figures();
        if !figures.is_empty() {
            println!("\n{:<60} {:>8}", "figure", "value");
        }
        for (what, value) in figures {
            println!("{what:<60} {value:>8}");
        }
        stage.strike().await
    }
}
