//! `dryrun-agent serve`: the control channel of [`dryrun_core::agent_api`].

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use dryrun_core::{
    agent_api::{protocol::Task, tasks::WatchTask},
    isolation::target::Tally,
    problem::Problem,
    run::layout,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    children::Children,
    door::Door,
    echo,
    probe::watch::Watch,
    registry::{Refused, Registry, TaskDigest},
    scratch::Scratch,
    task::Agent,
};

/// Bytes of a request: a task carries at most the SQL of one scenario.
const REQUEST: usize = 8 << 20;
/// Connections at a time that have not shown the token yet: code of the user's may share the pod's
/// loopback.
const STRANGERS: usize = 64;
/// Maximum time for a connection to show the token, and for the head of each request. The operator,
/// which may have to wait for this long behind unauthenticated connections, needs some milliseconds
/// itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exit code after SIGTERM, as a shell would report it.
const TERMINATED: i32 = 128 + 15;

/// Paths and addresses of the agent.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Loopback port of the control channel.
    #[arg(long, default_value_t = layout::PORT)]
    port: u16,
    /// Directories to make, for mounts of later pods.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    layout: Vec<PathBuf>,
    /// Directory with the pod's keys of the run secret.
    #[arg(long, value_name = "DIR", default_value = layout::SECRETS_DIR)]
    secrets: PathBuf,
    /// Directory for the output of commands.
    #[arg(long, value_name = "DIR", default_value = layout::HARNESS_LOGS_DIR)]
    logs: PathBuf,
    /// Working directory and HOME of commands.
    #[arg(long, value_name = "DIR", default_value = layout::SCRATCH_DIR)]
    scratch: PathBuf,
    /// Port of every address that sends back everything it receives over TCP or UDP.
    #[arg(long, value_name = "PORT")]
    echo: Option<u16>,
    /// Probe and do nothing else. No token is asked for: the pod has no secret, and what it can be
    /// asked is worth none.
    #[arg(long)]
    probes_only: bool,
}

/// Serves until the operator requests the exit, and returns the exit code.
pub(crate) async fn run(options: Serve) -> Result<i32> {
    // First of all: PID 1 ignores a signal that it has no handler for.
    let mut terminate = signal(SignalKind::terminate())?;
    let children = Children::adopt()?;
    options
        .layout
        .iter()
        .try_for_each(|directory| make(directory))?;
    let token = if options.probes_only {
        None
    } else {
        let path = options.secrets.join(layout::TOKEN_FILE);
        let token = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the token in {}", path.display()))?;
        Some(token)
    };
    let agent = Agent {
        children,
        secrets: options.secrets,
        logs: options.logs,
        scratch: Scratch::new(options.scratch),
        archive: Mutex::default(),
    };
    let service = Arc::new(Service::new(agent, token.as_deref().map(str::trim)));
    if let Some(port) = options.echo {
        echo::start(port).await?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    tracing::info!(port = listener.local_addr()?.port(), "serving");
    let room = Arc::new(Semaphore::new(STRANGERS));
    let door = Door { listener, room };
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(TERMINATED),
            () = service.exit.notified() => return Ok(0),
            entered = door.next() => {
                let (stream, place) = entered?;
                tokio::spawn(Arc::clone(&service).connection(stream, place));
            }
        }
    }
}

/// A directory that every container of the run's group may write to: the kubelet would make it for
/// root alone.
fn make(directory: &Path) -> Result<()> {
    let says = || format!("cannot make {}", directory.display());
    fs::create_dir_all(directory).with_context(says)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o2770)).with_context(says)
}

struct Service {
    agent: Arc<Agent>,
    /// The token. None: only probes are made, for every caller.
    token: Option<String>,
    registry: Registry,
    watch: Watch,
    exit: Notify,
}

/// Status, media type and body.
type Answer = (StatusCode, &'static str, Bytes);

/// Path that is always answered.
const HEALTH: &str = "/v1/healthz";
const JSON: &str = "application/json";
const ZSTD: &str = "application/zstd";

impl Service {
    fn new(agent: Agent, token: Option<&str>) -> Self {
        Self {
            agent: Arc::new(agent),
            token: token.map(str::to_owned),
            registry: Registry::default(),
            watch: Watch::default(),
            exit: Notify::new(),
        }
    }

    /// Answers the requests of one connection, which has its place until it shows the token, and
    /// does not stay without that. A task continues when its connection is lost.
    async fn connection(self: Arc<Self>, stream: TcpStream, place: OwnedSemaphorePermit) {
        let leaving = AtomicBool::new(false);
        let admitted = Notify::new();
        let service = service_fn(|request: Request<Incoming>| async {
            let exit = request.method() == Method::POST && request.uri().path() == "/v1/exit";
            let greets = request.uri().path() == HEALTH;
            let (status, media_type, body) = self.answer(request, &admitted).await;
            let mut response = Response::builder()
                .status(status)
                .header(CONTENT_TYPE, media_type);
            if !greets {
                // A request that was sent behind this one, by code that has ended, is never read.
                response = response.header(CONNECTION, "close");
            }
            if exit && status == StatusCode::OK {
                // The agent ends with the connection.
                leaving.store(true, Ordering::Relaxed);
            }
            response.body(Full::new(body))
        });
        let mut serving = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
        );
        let served = tokio::select! {
            served = &mut serving => served,
            known = timeout(PATIENCE, admitted.notified()) => {
                drop(place);
                if known.is_err() {
                    tracing::debug!("a stranger was sent away");
                    return;
                }
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection was lost");
        }
        if leaving.load(Ordering::Relaxed) {
            self.exit.notify_one();
        }
    }

    /// Answers a request, and says so to `admitted` when its token is the right one.
    async fn answer(&self, request: Request<Incoming>, admitted: &Notify) -> Answer {
        let path = request.uri().path().to_owned();
        if (request.method(), path.as_str()) == (&Method::GET, HEALTH) {
            return done();
        }
        if let Some(token) = &self.token
            && !admits(token, &request)
        {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "the bearer token is missing or wrong",
            );
        }
        admitted.notify_one();
        match (request.method().as_str(), path.strip_prefix("/v1/tasks/")) {
            ("POST", Some(id)) if !id.is_empty() => self.task(id, request).await,
            ("POST", None) if path == "/v1/exit" => done(),
            ("GET", None) if path == "/v1/archive" => match self.agent.archive() {
                Some(archive) => (StatusCode::OK, ZSTD, archive),
                None => refuse(StatusCode::NOT_FOUND, "NotSealed", "nothing was sealed yet"),
            },
            ("PUT", None) if path == "/v1/watch" => self.begin_watch(request).await,
            ("GET", None) if path == "/v1/watch" => watched(self.watch.totals()),
            ("GET", None) if path == "/v1/watch/breach" => watched(self.watch.breach().await),
            _ => refuse(
                StatusCode::NOT_FOUND,
                "NotFound",
                "there are POST /v1/tasks/{id}, POST /v1/exit, GET /v1/archive, PUT and GET /v1/watch, GET /v1/watch/breach and GET /v1/healthz",
            ),
        }
    }

    async fn task(&self, id: &str, request: Request<Incoming>) -> Answer {
        let task: Task = match read(request).await {
            Ok(task) => task,
            Err(answer) => return answer,
        };
        if let Task::Probe(task) = task {
            // It runs in parallel to any task, and making it twice does no harm.
            return json(StatusCode::OK, &Agent::probe(task).await);
        }
        if self.token.is_none() {
            return refuse(
                StatusCode::FORBIDDEN,
                "ProbesOnly",
                "this agent makes probes and nothing else",
            );
        }
        let digest = match TaskDigest::of(&task) {
            Ok(digest) => digest,
            Err(error) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "InvalidRequest",
                    &error.to_string(),
                );
            }
        };
        match self
            .registry
            .run(id, digest, || Arc::clone(&self.agent).run(task))
            .await
        {
            Ok(result) => json(StatusCode::OK, &*result),
            // Not its id: code of the user's can ask as well.
            Err(Refused::Busy) => refuse(StatusCode::CONFLICT, "Busy", "another task is running"),
            Err(Refused::Taken) => refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Taken",
                "the id belongs to another task",
            ),
        }
    }

    async fn begin_watch(&self, request: Request<Incoming>) -> Answer {
        let task: WatchTask = match read(request).await {
            Ok(task) => task,
            Err(answer) => return answer,
        };
        match self.watch.begin(task) {
            Ok(()) => done(),
            Err(error) => json(StatusCode::BAD_REQUEST, &error),
        }
    }
}

fn admits(token: &str, request: &Request<Incoming>) -> bool {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| given.ct_eq(token.as_bytes()).into())
}

/// Returns the request's body, or the answer that says why it cannot be read.
async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    let refuse = |message: &str| refuse(StatusCode::BAD_REQUEST, "InvalidRequest", message);
    let body = Limited::new(request.into_body(), REQUEST)
        .collect()
        .await
        .map_err(|error| refuse(&error.to_string()))?
        .to_bytes();
    // serde_json quotes what it does not understand, which may be a password: only its position is
    // shown.
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        refuse(&format!(
            "line {line} column {column} is not part of a task"
        ))
    })
}

fn watched(totals: Option<Vec<Tally>>) -> Answer {
    match totals {
        Some(totals) => json(StatusCode::OK, &totals),
        None => refuse(
            StatusCode::NOT_FOUND,
            "NotWatching",
            "no watch was begun yet",
        ),
    }
}

fn done() -> Answer {
    (StatusCode::OK, JSON, Bytes::from_static(b"{}"))
}

fn refuse(status: StatusCode, reason: &str, message: &str) -> Answer {
    json(
        status,
        &Problem {
            retry: status == StatusCode::CONFLICT,
            ..Problem::permanent(reason, message)
        },
    )
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => (status, JSON, body.into()),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            JSON,
            error.to_string().into(),
        ),
    }
}
