//! The operator's end of the control channel: HTTP to an agent on loopback of its pod, through a
//! port-forward.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::{ProbeTask, WatchTask};
use dryrun_core::isolation::target::Tally;
use dryrun_core::problem::Problem;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::sync::Arc;
use std::time::Duration;

use crate::jobs::PodAccess;

/// Timeout of the agent's greeting.
const HELLO: Duration = Duration::from_secs(2);
/// Timeout of opening the channel.
const OPEN: Duration = Duration::from_secs(10);
/// Maximum wait on one channel. One whose far end is gone may stay silent for ever; a repeated
/// request on another one joins the running task.
const WAIT: Duration = Duration::from_secs(60);

/// Path of the archive that the agent has sealed.
const ARCHIVE_PATH: &str = "/v1/archive";
/// Bytes of an answer. Agents bound what they say; pods of a run may be taken over by what runs
/// there, and the operator holds an answer whole.
const ANSWER: usize = 8 << 20;
/// The same of an archive: the ConfigMaps of a report hold no more.
const ARCHIVE: usize = 64 << 20;

/// Address of an agent, and the token that it accepts.
pub struct AgentAddress {
    /// Pods of the namespace.
    pub pods: Api<Pod>,
    /// Name of the pod.
    pub pod: String,
    /// Loopback port.
    pub port: u16,
    /// Token of the run.
    pub token: String,
}

/// A request of the control channel.
pub struct AgentRequest {
    /// HTTP method.
    pub method: Method,
    /// Path, such as `/v1/watch`.
    pub path: String,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// An agent in a pod.
pub(crate) struct Agent {
    access: Arc<dyn PodAccess>,
    address: AgentAddress,
}

impl Agent {
    /// An agent that is reached this way.
    pub(crate) fn new(access: Arc<dyn PodAccess>, address: AgentAddress) -> Self {
        Self { access, address }
    }

    /// As [`Agent::ask`], with what the agent failed for as an error.
    ///
    /// # Errors
    /// Those of [`Agent::ask`], and what the agent itself says.
    pub(crate) async fn run(&self, id: &str, task: &Task) -> Result<TaskResult, Problem> {
        match self.ask(id, task).await? {
            TaskResult::Failed(error) => Err(error),
            result => Ok(result),
        }
    }

    /// Gives the agent a task, or joins it if the agent has it already, and waits for its end.
    ///
    /// # Errors
    /// Transient when the channel could not be opened or broke.
    pub(crate) async fn ask(&self, id: &str, task: &Task) -> Result<TaskResult, Problem> {
        let body = serde_json::to_vec(task).map_err(|e| Problem::permanent("InvalidTask", e))?;
        let answer = self
            .request(Method::POST, &format!("/v1/tasks/{id}"), body)
            .await?;
        serde_json::from_slice(&answer).map_err(|e| Problem::permanent("InvalidAnswer", e))
    }

    /// Lets the agent probe: one tally for each target.
    pub(crate) async fn probe(&self, task: &ProbeTask) -> Result<Vec<Tally>, Problem> {
        let id = format!("probe-{}", task.nonce);
        match self.run(&id, &Task::Probe(task.clone())).await? {
            TaskResult::Probe { tallies } if tallies.len() == task.targets.len() => Ok(tallies),
            other => {
                tracing::debug!(?other, "no tallies");
                Err(Problem::permanent(
                    "InvalidAnswer",
                    "the agent answered another task than it was given",
                ))
            }
        }
    }

    /// Lets the agent probe at intervals from now on.
    pub(crate) async fn watch(&self, task: &WatchTask) -> Result<(), Problem> {
        let body = serde_json::to_vec(task).map_err(|e| Problem::permanent("InvalidTask", e))?;
        self.request(Method::PUT, "/v1/watch", body).await.map(drop)
    }

    /// Returns the tallies of the watch so far.
    pub(crate) async fn watched(&self) -> Result<Vec<Tally>, Problem> {
        self.tallies("/v1/watch").await
    }

    /// The same, as soon as something was reached.
    pub(crate) async fn breach(&self) -> Result<Vec<Tally>, Problem> {
        self.tallies("/v1/watch/breach").await
    }

    async fn tallies(&self, path: &str) -> Result<Vec<Tally>, Problem> {
        let answer = self.request(Method::GET, path, Vec::new()).await?;
        serde_json::from_slice(&answer).map_err(|e| Problem::permanent("InvalidAnswer", e))
    }

    /// Lets the agent end.
    pub(crate) async fn release(&self) -> Result<(), Problem> {
        self.request(Method::POST, "/v1/exit", Vec::new())
            .await
            .map(drop)
    }

    /// The archive that the agent has sealed.
    pub(crate) async fn archive(&self) -> Result<Bytes, Problem> {
        self.request(Method::GET, ARCHIVE_PATH, Vec::new()).await
    }

    /// Asks until there is an answer. Every request to an agent may be repeated; the job decides
    /// for how long.
    async fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, Problem> {
        let request = AgentRequest {
            method,
            path: path.into(),
            body: body.into(),
        };
        loop {
            if let Some(answer) = self.access.request(&self.address, &request).await? {
                return Ok(answer);
            }
            tracing::debug!(pod = self.address.pod, path, "no answer yet, asking again");
        }
    }
}

/// Sends one request through a port-forward. Returns nothing if there is no answer yet.
pub(crate) async fn send(
    agent: &AgentAddress,
    request: &AgentRequest,
) -> Result<Option<Bytes>, Problem> {
    let limit = if request.path == ARCHIVE_PATH {
        ARCHIVE
    } else {
        ANSWER
    };
    let request = Request::builder()
        .method(&request.method)
        .uri(&request.path)
        .header("host", "agent")
        .header("authorization", format!("Bearer {}", agent.token))
        .header("content-type", "application/json")
        .body(Full::new(request.body.clone()))
        .map_err(|e| Problem::permanent("InvalidTask", e))?;
    let mut forward = tokio::time::timeout(OPEN, agent.pods.portforward(&agent.pod, &[agent.port]))
        .await
        .map_err(|e| unreachable("the port-forward was not opened in time", e))?
        .map_err(|e| unreachable("cannot forward to the agent", e))?;
    let answer =
        tokio::time::timeout(WAIT, exchange(&mut forward, agent.port, request, limit)).await;
    forward.abort();
    answer.ok().transpose()
}

async fn exchange(
    forward: &mut kube::api::Portforwarder,
    port: u16,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Bytes, Problem> {
    let stream = forward
        .take_stream(port)
        .ok_or_else(|| unreachable("cannot forward to the agent", "no stream"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable("the agent does not answer", e))?;
    let connection = tokio::spawn(connection);
    // A forward to a program that is only just starting may stay silent: a task is given to an
    // agent that has answered.
    let hello = tokio::time::timeout(HELLO, hello(&mut sender)).await;
    if let Err(error) = hello
        .map_err(|e| unreachable("the agent does not answer", e))
        .and_then(|answered| answered)
    {
        connection.abort();
        return Err(error);
    }
    let outcome = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| unreachable("the agent does not answer", e))?;
        let status = response.status();
        let body = answer(response.into_body(), limit).await?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Problem::permanent(
                "AgentRefused",
                "the agent does not accept the run's token",
            )),
            StatusCode::UNPROCESSABLE_ENTITY => Err(Problem::permanent(
                "TaskTaken",
                "the agent has another task under this id",
            )),
            other => Err(unreachable("the agent refused the task", other)),
        }
    }
    .await;
    connection.abort();
    outcome
}

async fn hello(sender: &mut SendRequest<Full<Bytes>>) -> Result<(), Problem> {
    let request = Request::get("/v1/healthz")
        .header("host", "agent")
        .body(Full::default())
        .map_err(|e| Problem::permanent("InvalidTask", e))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| unreachable("the agent does not answer", e))?;
    answer(response.into_body(), ANSWER).await.map(drop)
}

/// Reads an answer whole, unless it is longer than an agent's may be.
async fn answer<B>(body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(answer) => Ok(answer.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::permanent(
            "AnswerTooLarge",
            format!("the agent's answer has more than {} MiB", limit >> 20),
        )),
        Err(error) => Err(unreachable("the agent's answer broke off", error)),
    }
}

fn unreachable(what: &str, cause: impl std::fmt::Display) -> Problem {
    Problem::transient("AgentUnreachable", format!("{what}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_without_end_is_not_held() {
        let answered = |bytes: usize| answer(Full::new(Bytes::from(vec![b' '; bytes])), ANSWER);
        assert_eq!(answered(ANSWER).await.unwrap().len(), ANSWER);
        let problem = answered(ANSWER + 1).await.unwrap_err();
        assert_eq!(
            (problem.reason.as_str(), problem.retry),
            ("AnswerTooLarge", false)
        );
    }
}
