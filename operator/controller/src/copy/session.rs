//! One connection to the copy.

use dryrun_core::postgres::sql::{self, identifier, literal};
use dryrun_core::problem::TaskError;
use dryrun_core::run::facts::CopyIdentity;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use super::statements::{
    BACKENDS, LOCK_ROLE, PASSWORD, RESTORE_ROLE, ROLE_EXISTS, TERMINATE, UNLOGGED,
};
use crate::objects::POSTGRES_PORT;

/// How long opening a session may take, with the first questions on it.
const OPEN: Duration = Duration::from_secs(10);
/// How long a statement may take that has next to nothing to do.
const SHORT: Duration = Duration::from_secs(20);
/// The maintenance database: there before the restore, and closed to declared roles.
const MAINTENANCE: &str = "postgres";
/// admin_shutdown, crash_shutdown, cannot_connect_now.
const GOING_DOWN: [&str; 3] = ["57P01", "57P02", "57P03"];

/// Where the copy is, and who the operator is there.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) pods: Api<Pod>,
    pub(crate) pod: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// UID of the run: what the server must answer as its `cluster_name`.
    pub(crate) uid: String,
    /// Production's identifier: what the server must not answer.
    pub(crate) forbidden: String,
}

/// A connection to the copy. Its server was asked who it is before anything else was said to it.
pub(crate) struct Session {
    pub(crate) client: Client,
    identity: CopyIdentity,
    connection: JoinHandle<()>,
}

impl Session {
    /// Connects to the maintenance database.
    pub(crate) async fn maintenance(endpoint: &Endpoint) -> Result<Self, TaskError> {
        Self::open(endpoint, MAINTENANCE).await
    }

    /// Connects to a database of the copy.
    ///
    /// # Errors
    /// Transient while the server is not up; for good when the server that answers is production, or another run's copy.
    pub(crate) async fn open(endpoint: &Endpoint, database: &str) -> Result<Self, TaskError> {
        tokio::time::timeout(OPEN, Self::connect(endpoint, database))
            .await
            .map_err(|e| unreachable("the copy does not answer", e))?
    }

    async fn connect(endpoint: &Endpoint, database: &str) -> Result<Self, TaskError> {
        let mut forward = endpoint
            .pods
            .portforward(&endpoint.pod, &[POSTGRES_PORT])
            .await
            .map_err(|e| unreachable("cannot forward to the copy", e))?;
        let stream = forward
            .take_stream(POSTGRES_PORT)
            .ok_or_else(|| unreachable("cannot forward to the copy", "no stream"))?;
        let (client, connection) = Config::new()
            .user(&endpoint.user)
            .password(&endpoint.password)
            .dbname(database)
            .application_name("dryrun-operator")
            .connect_raw(stream, NoTls)
            .await
            .map_err(|e| unreachable("the copy does not let the operator in", e))?;
        let connection = tokio::spawn(async move {
            // The session's owner sees the error in its own call; here it is only the end.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "session with the copy ended");
            }
            forward.abort();
        });
        // From here on whatever gives up ends the connection, too.
        let mut session = Self {
            client,
            identity: CopyIdentity::default(),
            connection,
        };
        session.identity = identity(&session.client).await?;
        session.refuse_strangers(endpoint)?;
        session
            .client
            .batch_execute(sql::SESSION)
            .await
            .map_err(|e| failed("prepare the session", &e))?;
        Ok(session)
    }

    /// Who the server is, as read first of all on this connection.
    pub(crate) fn identity(&self, before: &str) -> CopyIdentity {
        CopyIdentity {
            before: before.into(),
            ..self.identity.clone()
        }
    }

    fn refuse_strangers(&self, endpoint: &Endpoint) -> Result<(), TaskError> {
        let found = &self.identity;
        let reason = if found.system_identifier.is_empty() {
            "CopyUnreadable"
        } else if found.system_identifier == endpoint.forbidden {
            "CopyIsProduction"
        } else if found.cluster_name != endpoint.uid {
            "CopyIsStranger"
        } else {
            return Ok(());
        };
        Err(TaskError {
            reason: reason.into(),
            message: format!(
                "the server that answered has identifier {} and cluster_name {:?}",
                found.system_identifier, found.cluster_name
            ),
            transient: false,
        })
    }

    /// Gives a role this password. What travels and what the server stores is a verifier.
    pub(crate) async fn set_password(&self, role: &str, password: &str) -> Result<(), TaskError> {
        let statement = PASSWORD.fill([&identifier(role), &verifier(password)]);
        self.unlogged("set a password", &statement).await
    }

    /// Runs a statement that the copy's log must not show. Each part is sent by itself, see `unlogged.sql`; when one fails the session is of no more
    /// use, since its transaction is open.
    async fn unlogged(&self, doing: &str, statement: &str) -> Result<(), TaskError> {
        for part in [UNLOGGED, statement, "COMMIT"] {
            short(doing, self.client.batch_execute(part)).await?;
        }
        Ok(())
    }

    /// Makes the superuser that restores, unless an earlier attempt has made it.
    pub(crate) async fn create_restore_role(
        &self,
        role: &str,
        password: &str,
    ) -> Result<(), TaskError> {
        if self.role_exists(role).await? {
            return Ok(());
        }
        let statement = RESTORE_ROLE.fill([&identifier(role), &verifier(password)]);
        self.unlogged("create the restore role", &statement).await
    }

    /// Takes every right from the superuser that restored.
    pub(crate) async fn lock_role(&self, role: &str) -> Result<(), TaskError> {
        let statement = LOCK_ROLE.fill([&identifier(role)]);
        short(
            "lock the restore role",
            self.client.batch_execute(&statement),
        )
        .await
    }

    /// Whether there is a role of this name.
    pub(crate) async fn role_exists(&self, role: &str) -> Result<bool, TaskError> {
        let row = short(
            "look up a role",
            self.client.query_one(ROLE_EXISTS, &[&role]),
        )
        .await?;
        Ok(row.get::<_, i64>(0) > 0)
    }

    /// Waits until no backend of these roles is left; ends those that do not go by themselves within `patience`.
    pub(crate) async fn quiesce(
        &self,
        roles: &[String],
        patience: Duration,
    ) -> Result<(), TaskError> {
        let begin = tokio::time::Instant::now();
        let limit = patience + Duration::from_secs(10);
        loop {
            let row = short("count backends", self.client.query_one(BACKENDS, &[&roles])).await?;
            if row.get::<_, i64>(0) == 0 {
                return Ok(());
            }
            if begin.elapsed() > limit {
                return Err(TaskError {
                    reason: "BackendsLeft".into(),
                    message: "backends of declared roles do not end".into(),
                    transient: false,
                });
            }
            if begin.elapsed() > patience {
                short("end backends", self.client.query_one(TERMINATE, &[&roles])).await?;
            }
            // Postgres has no notification of a backend's end.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn identity(client: &Client) -> Result<CopyIdentity, TaskError> {
    let row = client
        .query_one(sql::IDENTITY, &[])
        .await
        .map_err(|e| failed("read the copy's identity", &e))?;
    Ok(CopyIdentity {
        before: String::new(),
        system_identifier: sql::system_identifier(row.get("system_identifier")),
        cluster_name: row.get("cluster_name"),
        in_recovery: row.get("in_recovery"),
        refused: None,
    })
}

/// A SCRAM verifier as a SQL literal (RFC 5803).
fn verifier(password: &str) -> String {
    literal(&postgres_protocol::password::scram_sha_256(
        password.as_bytes(),
    ))
}

fn unreachable(what: &str, cause: impl std::fmt::Display) -> TaskError {
    TaskError {
        reason: "CopyUnreachable".into(),
        message: format!("{what}: {cause}"),
        transient: true,
    }
}

/// A statement that neither reads a catalog nor counts rows: one that takes longer than [`SHORT`] has lost its connection.
pub(super) async fn short<T>(
    doing: &str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>> + Send,
) -> Result<T, TaskError> {
    tokio::time::timeout(SHORT, statement)
        .await
        .map_err(|e| unreachable(&format!("cannot {doing}"), e))?
        .map_err(|e| failed(doing, &e))
}

/// An error of a statement. Its text may quote rows or a password, so only the SQLSTATE travels; a lost connection may be tried again.
pub(crate) fn failed(doing: &str, error: &tokio_postgres::Error) -> TaskError {
    match error.code() {
        // The server is going down, which is no fault of the statement: whether it has broken down is seen by its pod.
        Some(code) if !GOING_DOWN.contains(&code.code()) => TaskError {
            reason: "StatementFailed".into(),
            message: format!("cannot {doing}: SQLSTATE {}", code.code()),
            transient: false,
        },
        _ => TaskError {
            reason: "CopyUnreachable".into(),
            message: format!("cannot {doing}: the connection was lost"),
            transient: true,
        },
    }
}
