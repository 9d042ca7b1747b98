//! C-10: SQL steps as a login, without any code of the user's.

use std::time::{Duration, Instant};

use dryrun_core::{
    agent_api::tasks::SqlTask,
    api::SqlStep,
    run::facts::{ScenarioClaim, StepClaim},
};
use futures::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::{Agent, log::Log};
use crate::{
    connection,
    failure::{self, Result},
};

/// `application_name` of the session.
const RUNNING: &str = "dryrun-sql";
/// SQLSTATE of a success.
const SUCCESS: &str = "00000";

/// Runs the steps in one session, each in its own transaction. A session that is refused gives its
/// SQLSTATE to every step.
pub(super) async fn run(agent: &Agent, task: SqlTask) -> Result<ScenarioClaim> {
    let mut log = Log::create(&agent.logs, &task.name)?;
    let mut claim = ScenarioClaim {
        name: task.name.clone(),
        ..ScenarioClaim::default()
    };
    let started = Instant::now();
    let finished = timeout(
        Duration::from_millis(task.timeout_ms),
        session(&task, &mut claim.steps),
    )
    .await;
    match finished {
        Ok(result) => {
            result?;
            claim.exit_code = Some(0);
        }
        // Its connection is closed; the copy notices within client_connection_check_interval.
        Err(_) => claim.timed_out = true,
    }
    claim.milliseconds = started.elapsed().as_millis() as u64;
    for (number, step) in claim.steps.iter().enumerate() {
        let line =
            serde_json::json!({"step": number + 1, "sqlstate": step.sqlstate, "rows": step.rows});
        log.append(format!("{line}\n").as_bytes())
            .map_err(|error| failure::file(&agent.logs, &error))?;
    }
    log.finish(&mut claim)
        .map_err(|error| failure::file(&agent.logs, &error))?;
    Ok(claim)
}

/// No part of it continues when it is given up: the connection is driven here and not in the
/// background, where it would wait for the pending answer.
async fn session(task: &SqlTask, claims: &mut Vec<StepClaim>) -> Result<()> {
    let login = &task.login;
    let mut config = connection::base(&login.address, login.port, &login.user, &login.password)?;
    config.dbname(&login.database).application_name(RUNNING);
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            let steps = async {
                for step in &task.steps {
                    claims.push(run_step(&client, step).await);
                }
                drop(client);
            };
            // Any end of the connection is the outcome of a step.
            let ((), _) = tokio::join!(steps, connection);
        }
        Err(error) => {
            let refused = StepClaim {
                sqlstate: sqlstate(&error),
                rows: 0,
            };
            claims.resize(task.steps.len(), refused);
        }
    }
    Ok(())
}

async fn run_step(client: &Client, step: &SqlStep) -> StepClaim {
    let mut rows = 0;
    let outcome = async {
        client.batch_execute("BEGIN").await?;
        let mut messages = Box::pin(client.simple_query_raw(&step.sql).await?);
        while let Some(message) = messages.try_next().await? {
            if let SimpleQueryMessage::CommandComplete(affected) = message {
                rows += affected;
            }
        }
        client.batch_execute("COMMIT").await
    };
    let sqlstate = match outcome.await {
        Ok(()) => SUCCESS.to_owned(),
        Err(error) => {
            // A session that is lost has nothing to roll back, and says so at the next step.
            let _ = client.batch_execute("ROLLBACK").await;
            sqlstate(&error)
        }
    };
    StepClaim {
        rows: if sqlstate == SUCCESS { rows } else { 0 },
        sqlstate,
    }
}

/// Empty when the connection failed without a word of the server.
fn sqlstate(error: &Error) -> String {
    error
        .code()
        .map_or_else(String::new, |code| code.code().to_owned())
}
