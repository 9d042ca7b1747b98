//! Sessions of the agent's own, and the environment of programs that open theirs.

use std::{
    io::Write,
    net::IpAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use dryrun_core::agent_api::tasks::Server;
use tempfile::NamedTempFile;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, config::SslMode as Tls, tls::MakeTlsConnect};

use crate::{
    directory,
    failure::{self, Result},
    tls,
};
use dryrun_core::api::SslMode;

/// How long a connection may take to come about.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that fails is tried again, and how soon: network plugins may let a pod through some time after it has started.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// A server with the password that its role has there.
pub(crate) struct Credentials<'a> {
    pub(crate) server: &'a Server,
    pub(crate) password: String,
}

impl<'a> Credentials<'a> {
    /// Reads the password from the pod's secrets.
    pub(crate) fn read(secrets: &Path, server: &'a Server) -> Result<Self> {
        let path = secrets.join(&server.password_file);
        let password =
            std::fs::read_to_string(&path).map_err(|error| failure::file(&path, &error))?;
        Ok(Self {
            server,
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
        })
    }

    /// Opens a session under the name `application`, with `options` as in PGOPTIONS. What may go away by itself is waited for.
    pub(crate) async fn connect(
        &self,
        database: &str,
        application: &str,
        options: &str,
    ) -> Result<Client> {
        let started = Instant::now();
        loop {
            match self.attempt(database, application, options).await {
                Err(error) if error.transient && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(&self, database: &str, application: &str, options: &str) -> Result<Client> {
        let server = self.server;
        let mut config = base(&server.address, server.port, &server.user, &self.password)?;
        config
            .host(&server.host)
            .dbname(database)
            .application_name(application)
            .options(options);
        let what = format!(
            "cannot connect to {} ({}:{}) as {}",
            server.host, server.address, server.port, server.user
        );
        let opening = async {
            let connected = match server.sslmode {
                SslMode::Disable => connect(config.ssl_mode(Tls::Disable), NoTls).await,
                SslMode::Prefer => {
                    connect(
                        config.ssl_mode(Tls::Prefer),
                        tls::connector(server.sslmode)?,
                    )
                    .await
                }
                SslMode::Require | SslMode::VerifyFull => {
                    connect(
                        config.ssl_mode(Tls::Require),
                        tls::connector(server.sslmode)?,
                    )
                    .await
                }
            };
            connected.map_err(|error| failure::connect(&what, &error))
        };
        within(TIMEOUT, &what, opening).await
    }

    /// Gives `command` what libpq needs for the same session; the password travels in a file of mode 0600, which lives as long as the returned value.
    pub(crate) fn lend(
        &self,
        command: &mut Command,
        application: &str,
        options: &str,
    ) -> Result<NamedTempFile> {
        let server = self.server;
        let passfile = passfile("*", &self.password)?;
        command
            .env("PGHOST", &server.host)
            .env("PGHOSTADDR", &server.address)
            .env("PGPORT", server.port.to_string())
            .env("PGUSER", &server.user)
            .env("PGDATABASE", &server.database)
            .env("PGSSLMODE", server.sslmode.as_libpq())
            .env("PGPASSFILE", passfile.path())
            .env("PGAPPNAME", application)
            .env("PGOPTIONS", options)
            .env("PGCONNECT_TIMEOUT", TIMEOUT.as_secs().to_string());
        if server.sslmode == SslMode::VerifyFull {
            // Only then: with it libpq would verify under `require` too.
            command.env("PGSSLROOTCERT", tls::bundle());
        }
        Ok(passfile)
    }
}

/// The part of a session's parameters that does not depend on who asks for it. Pods of a run have no name service.
pub(crate) fn base(address: &str, port: u16, user: &str, password: &str) -> Result<Config> {
    let address: IpAddr = address
        .parse()
        .map_err(|_| failure::lasting("InvalidAddress", format!("{address} is no IP address")))?;
    let mut config = Config::new();
    config
        .hostaddr(address)
        .port(port)
        .user(user)
        .password(password)
        .connect_timeout(TIMEOUT);
    Ok(config)
}

/// What comes of `opening`, unless it takes too long: tokio-postgres bounds the connection of the socket, and not TLS and authentication after it.
async fn within<T>(
    limit: Duration,
    what: &str,
    opening: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, opening).await.unwrap_or_else(|_| {
        let message = format!("{what}: no session within {} s", limit.as_secs());
        Err(failure::passing("ConnectFailed", message))
    })
}

/// Opens a session and drives it in the background until the client is dropped.
async fn connect<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<tokio_postgres::Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A passfile with one password, in the memory volume that `/tmp` is in run pods.
pub(crate) fn passfile(user: &str, password: &str) -> Result<NamedTempFile> {
    let mut file = directory::temporary("pgpass-")?;
    writeln!(file, "{}", passfile_line(user, password))
        .map_err(|error| failure::file(file.path(), &error))?;
    Ok(file)
}

/// libpq's format: fields separated by `:`, a `\` before each `:` and `\` in them.
fn passfile_line(user: &str, password: &str) -> String {
    let escape = |field: &str| field.replace('\\', r"\\").replace(':', r"\:");
    format!("*:*:*:{}:{}", escape(user), escape(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn passfile_fields_are_escaped() {
        assert_eq!(passfile_line("a:b", r"c\:d"), r"*:*:*:a\:b:c\\\:d");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = base("127.0.0.1", port, "dump_ro", "secret").unwrap();
        let opening = async {
            let connected = connect(&config, NoTls).await;
            connected.map_err(|error| failure::connect("cannot connect", &error))
        };
        let limit = Duration::from_secs(1);
        let error = within(limit, "cannot connect", opening).await.unwrap_err();
        assert_eq!(error.message, "cannot connect: no session within 1 s");
        assert!(error.transient);
    }

    #[test]
    fn a_passfile_is_for_its_owner_alone_and_does_not_outlive_its_use() {
        let file = passfile("*", "secret").unwrap();
        let path = file.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
