//! One connection to the copy.

use dryrun_core::gate::DeniedObject;
use dryrun_core::postgres::sql::{identifier, literal};
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{Access, CopyIdentity, Reading};
use dryrun_core::run::layout::POSTGRES_PORT;
use dryrun_postgres::statements::{LOCK_ROLE, NO_PASSWORD, PASSWORD, RESTORE_ROLE, UNLOGGED};
use dryrun_postgres::{Class, Options};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// Timeout of opening a session, with the first queries on it.
const OPEN: Duration = Duration::from_secs(10);
/// Timeout of a statement with little work.
const SHORT: Duration = Duration::from_secs(20);
/// The maintenance database: there before the restore, and closed to declared roles.
const MAINTENANCE: &str = "postgres";

/// Address of the copy, and the operator's login there.
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

/// A session with the copy as its superuser. Its server was identified before any other request.
pub(crate) struct Session {
    postgres: dryrun_postgres::Session,
    identity: CopyIdentity,
    version_num: u32,
    forward: Portforwarder,
}

impl Session {
    /// Connects to the maintenance database, in which nothing of production is restored.
    ///
    /// # Errors
    /// Transient while the server is not up; permanent when the server that answers is production,
    /// or another run's copy.
    pub(crate) async fn maintenance(endpoint: &Endpoint) -> Result<Self, Problem> {
        Self::open(endpoint, MAINTENANCE, &Options::superuser(0)).await
    }

    /// Connects to the maintenance database with the settings that the server gives to every
    /// session, to read them.
    pub(crate) async fn plain(endpoint: &Endpoint) -> Result<Self, Problem> {
        Self::open(endpoint, MAINTENANCE, &Options::plain()).await
    }

    /// Connects to the restored database of the server that this session has identified.
    pub(crate) async fn restored(
        &self,
        endpoint: &Endpoint,
        database: &str,
    ) -> Result<Self, Problem> {
        Self::open(endpoint, database, &Options::superuser(self.version_num)).await
    }

    async fn open(endpoint: &Endpoint, database: &str, options: &Options) -> Result<Self, Problem> {
        tokio::time::timeout(OPEN, Self::connect(endpoint, database, options))
            .await
            .map_err(|e| unreachable(format!("the copy does not answer: {e}")))?
    }

    async fn connect(
        endpoint: &Endpoint,
        database: &str,
        options: &Options,
    ) -> Result<Self, Problem> {
        let cannot = |cause: &dyn std::fmt::Display| {
            unreachable(format!("cannot forward to the copy: {cause}"))
        };
        let mut forward = endpoint
            .pods
            .portforward(&endpoint.pod, &[POSTGRES_PORT])
            .await
            .map_err(|e| cannot(&e))?;
        let stream = forward
            .take_stream(POSTGRES_PORT)
            .ok_or_else(|| cannot(&"no stream"))?;
        let mut config = Config::new();
        config
            .user(&endpoint.user)
            .password(&endpoint.password)
            .dbname(database)
            .application_name("dryrun-operator");
        // Any error may come from a server that is still starting.
        let postgres = dryrun_postgres::Session::over(
            "connect to the copy",
            &mut config,
            options,
            stream,
            NoTls,
        )
        .await
        .map_err(|e| unreachable(e.terse()))?;
        let found = dryrun_postgres::identity(&postgres.client)
            .await
            .map_err(failed)?;
        let session = Self {
            postgres,
            version_num: found.server.version_num,
            identity: CopyIdentity {
                before: Reading::default(),
                system_identifier: found.server.system_identifier,
                cluster_name: found.cluster_name,
                in_recovery: found.server.in_recovery,
                refused: None,
            },
            forward,
        };
        session.refuse_strangers(endpoint)?;
        Ok(session)
    }

    /// Runs requests.
    pub(crate) fn client(&self) -> &Client {
        &self.postgres.client
    }

    /// Begins transactions.
    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.postgres.client
    }

    /// Identity of the server, as read first of all on this connection.
    pub(crate) fn identity(&self, before: Reading) -> CopyIdentity {
        CopyIdentity {
            before,
            ..self.identity.clone()
        }
    }

    fn refuse_strangers(&self, endpoint: &Endpoint) -> Result<(), Problem> {
        let found = &self.identity;
        let reason = if found.system_identifier.is_empty() {
            "CopyUnreadable"
        } else if found.system_identifier == endpoint.forbidden {
            "CopyIsProduction"
        } else if found.cluster_name != endpoint.uid {
            "CopyIsUnexpected"
        } else {
            return Ok(());
        };
        Err(Problem::permanent(
            reason,
            format!(
                "the server that answered has identifier {} and cluster_name {:?}",
                found.system_identifier, found.cluster_name
            ),
        ))
    }

    /// Gives a role this password. What travels and what the server stores is a verifier.
    pub(crate) async fn set_password(&self, role: &str, password: &str) -> Result<(), Problem> {
        let statement = PASSWORD.fill([&identifier(role), &verifier(password)]);
        self.unlogged("set a password", &statement).await
    }

    /// Takes their passwords from these roles, so that none of them gets in.
    pub(crate) async fn clear_passwords(&self, roles: &[String]) -> Result<(), Problem> {
        let statements: Vec<String> = roles
            .iter()
            .map(|role| NO_PASSWORD.fill([&identifier(role)]))
            .collect();
        self.unlogged("clear passwords", &statements.join(";\n"))
            .await
    }

    /// Asks the catalog what a login lacks on all objects of a name.
    pub(crate) async fn access(
        &self,
        login: &str,
        denied: &DeniedObject,
    ) -> Result<Vec<Access>, Problem> {
        short(dryrun_postgres::access(self.client(), login, denied)).await
    }

    /// Runs a statement that the copy's log must not show. Each part is sent by itself, see
    /// [`UNLOGGED`]; after a failure the session is unusable, since its transaction is open.
    async fn unlogged(&self, doing: &str, statement: &str) -> Result<(), Problem> {
        for part in [UNLOGGED, statement, "COMMIT"] {
            short(dryrun_postgres::run(self.client(), doing, part)).await?;
        }
        Ok(())
    }

    /// Makes the superuser that restores, unless an earlier attempt has made it.
    pub(crate) async fn create_restore_role(
        &self,
        role: &str,
        password: &str,
    ) -> Result<(), Problem> {
        if self.role_exists(role).await? {
            return Ok(());
        }
        let statement = RESTORE_ROLE.fill([&identifier(role), &verifier(password)]);
        self.unlogged("create the restore role", &statement).await
    }

    /// Takes every right from the superuser that restored.
    pub(crate) async fn lock_role(&self, role: &str) -> Result<(), Problem> {
        let statement = LOCK_ROLE.fill([&identifier(role)]);
        short(dryrun_postgres::run(
            self.client(),
            "lock the restore role",
            &statement,
        ))
        .await
    }

    /// Returns whether there is a role of this name.
    pub(crate) async fn role_exists(&self, role: &str) -> Result<bool, Problem> {
        short(dryrun_postgres::role_exists(self.client(), role)).await
    }

    /// Waits until no backend of these roles is left; ends those that do not go by themselves
    /// within `patience`.
    pub(crate) async fn quiesce(
        &self,
        roles: &[String],
        patience: Duration,
    ) -> Result<(), Problem> {
        let begin = tokio::time::Instant::now();
        let limit = patience + Duration::from_secs(10);
        loop {
            if short(dryrun_postgres::backends(self.client(), roles)).await? == 0 {
                return Ok(());
            }
            if begin.elapsed() > limit {
                return Err(Problem::permanent(
                    "BackendsLeft",
                    "backends of declared roles do not end",
                ));
            }
            if begin.elapsed() > patience {
                short(dryrun_postgres::end_backends(self.client(), roles)).await?;
            }
            // Postgres has no notification of a backend's end.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.forward.abort();
    }
}

/// A SCRAM verifier as a SQL literal (RFC 5803).
fn verifier(password: &str) -> String {
    literal(&postgres_protocol::password::scram_sha_256(
        password.as_bytes(),
    ))
}

fn unreachable(message: String) -> Problem {
    Problem::transient("CopyUnreachable", message)
}

/// A request that neither reads a catalog nor counts rows: if it takes longer than [`SHORT`], its
/// connection is lost.
pub(super) async fn short<T>(
    request: impl Future<Output = dryrun_postgres::Result<T>>,
) -> Result<T, Problem> {
    tokio::time::timeout(SHORT, request)
        .await
        .map_err(|e| unreachable(format!("the copy does not answer: {e}")))?
        .map_err(failed)
}

/// A request that failed. The server's words may quote rows or a password, so only the SQLSTATE
/// travels. A server that goes down is no fault of the request: its pod shows why it does.
pub(crate) fn failed(error: dryrun_postgres::Error) -> Problem {
    let class = error.class();
    match class {
        Class::Lost | Class::Unavailable => unreachable(error.terse()),
        Class::Locked | Class::Conflict | Class::Refused => Problem {
            reason: "StatementFailed".into(),
            message: error.terse(),
            retry: class.is_transient(),
        },
    }
}
