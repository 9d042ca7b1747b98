//! C-10: one scenario, between two barriers.
//!
//! The barrier before it: no declared role has a password, none has a backend; then the scenario's
//! login gets a new password, and the copy's log a marker. The barrier after it: again no password
//! and no backend, and a marker. Entries between them are the scenario's, regardless of what its
//! code says; so is what was committed in the copy meanwhile. A restarted operator that finds the
//! first marker joins the scenario that runs: password and markers are derived from a secret of the
//! run, so they are the same again.

use dryrun_core::agent_api::protocol::Task;
use dryrun_core::agent_api::tasks::{CommandTask, Login, SqlTask};
use dryrun_core::api::Scenario;
use dryrun_core::gate;
use dryrun_core::postgres::matrix as privilege_rows;
use dryrun_core::postgres::server_log::{Markers, Who, WindowReader};
use dryrun_core::problem::Problem;
use dryrun_core::run::credentials::{scenario_password, scenario_secret, scenario_task};
use dryrun_core::run::facts::{Access, CopySummary, ScenarioFacts};
use dryrun_core::run::key;
use dryrun_core::run::layout::POSTGRES_PORT;
use std::time::Duration;

use super::stage;
use crate::copy::{self, Session, baseline as kept, failed, matrix};
use crate::jobs::{Scope, millis};

/// Time for backends to notice that their client is gone (`client_connection_check_interval` is 200
/// ms).
const PATIENCE: Duration = Duration::from_secs(3);

/// Records the copy before the scenarios, in the copy itself; from then on every statement is
/// logged.
pub(crate) async fn baseline(scope: &Scope) -> Result<CopySummary, Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let counts = dryrun_postgres::counts(session.client())
        .await
        .map_err(failed)?;
    let catalog = dryrun_postgres::catalog(session.client())
        .await
        .map_err(failed)?;
    let privileges = dryrun_postgres::privileges(session.client())
        .await
        .map_err(failed)?;
    for (kind, text) in [
        ("counts", counts.to_text()),
        ("catalog", catalog.to_text()),
        ("privileges", matrix::text(&privileges.rows)),
    ] {
        kept::keep(&maintenance, kind, &text).await?;
    }
    copy::settings::keep(&endpoint, &maintenance).await?;
    copy::effects::open(&session, &maintenance).await?;
    copy::log::trace(&maintenance).await?;
    Ok(CopySummary {
        counts: counts.summary(),
        catalog: catalog.summary(),
        privileges: privilege_rows::summary(&privileges.rows),
    })
}

/// Runs one scenario.
pub(crate) async fn run(scope: &Scope, index: usize) -> Result<ScenarioFacts, Problem> {
    let scenario = scope
        .spec
        .harness
        .scenarios
        .get(index)
        .ok_or_else(|| Problem::permanent("NoSuchScenario", "there is no such scenario"))?;
    let roles: Vec<String> = scope.spec.privileges.roles.keys().cloned().collect();
    let login = &scenario.identity.login;
    let session = Session::maintenance(&scope.copy().await?).await?;
    let superuser = scope.credential(key::SUPERUSER).await?;
    let secret = scenario_secret(&superuser, &scope.run.uid, index);
    let marker = |edge: &str| format!("dryrun scenario {index} {edge} {}", &secret[..16]);
    // The marker shows a half of the secret; the password is made from the whole.
    let password = scenario_password(&superuser, &scope.run.uid, index);
    let offset = scope
        .facts
        .scenarios
        .last()
        .map_or(0, |last| last.window.end_offset);
    let markers = Markers {
        begin: marker("begins"),
        end: marker("ends"),
    };
    let reader = || {
        let who = Who {
            login: login.clone(),
            roles: roles.iter().cloned().collect(),
            operator: scope.run.bootstrap_role(),
        };
        WindowReader::new(offset, &markers, who)
    };
    if !copy::log::has_marker(&session, reader()).await? {
        session.clear_passwords(&roles).await?;
        session.quiesce(&roles, Duration::ZERO).await?;
        session.set_password(login, &password).await?;
        if index == 0 {
            // The search for credentials must find it again, or it proves nothing.
            copy::log::mark(&session, &scope.credential(key::CANARY).await?).await?;
        }
        copy::log::mark(&session, &markers.begin).await?;
    }
    let task = task(scope, scenario, password).await?;
    let task_id = scenario_task(&superuser, &scope.run.uid, index);
    let claim = stage::claim(scope, &task_id, &scenario.name, &task).await?;
    session.clear_passwords(&roles).await?;
    session.quiesce(&roles, PATIENCE).await?;
    copy::log::mark(&session, &markers.end).await?;
    let mut reader = reader();
    copy::log::follow(&session, &mut reader).await?;
    let restored = session
        .restored(&scope.copy().await?, &scope.spec.source.database)
        .await?;
    let verification = &scope.spec.verification;
    let effects = copy::effects::close(&restored, &session, index, verification).await?;
    Ok(ScenarioFacts {
        claim,
        window: reader.finish(),
        access: access(scenario, &restored).await?,
        effects: Some(effects),
    })
}

/// Returns the privileges that the login lacks on the objects that it must be denied on.
async fn access(scenario: &Scenario, restored: &Session) -> Result<Vec<Access>, Problem> {
    let mut found = Vec::new();
    for object in gate::denied_objects(scenario) {
        found.extend(restored.access(&scenario.identity.login, &object).await?);
    }
    Ok(found)
}

async fn task(scope: &Scope, scenario: &Scenario, password: String) -> Result<Task, Problem> {
    let login = Login {
        address: scope.copy_address().await?,
        port: POSTGRES_PORT,
        database: scope.spec.source.database.clone(),
        user: scenario.identity.login.clone(),
        password,
    };
    let timeout_ms = millis(scenario.timeout.or(Duration::from_secs(120)));
    let name = scenario.name.clone();
    Ok(match (&scenario.command, &scenario.steps) {
        (Some(command), _) => Task::RunCommand(CommandTask {
            name,
            command: command.clone(),
            env: scope.spec.harness.env.clone(),
            login: Some(login),
            fresh: !scope.spec.harness.keep_scratch,
            timeout_ms,
        }),
        (None, steps) => Task::RunSql(SqlTask {
            name,
            steps: steps.clone().unwrap_or_default(),
            login,
            timeout_ms,
        }),
    })
}
