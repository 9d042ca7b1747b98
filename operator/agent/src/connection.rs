//! Sessions of the agent's own, and the environment of programs that open theirs.

use dryrun_core::problem::Problem;
use std::{
    fmt::Display,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use dryrun_core::agent_api::tasks::Server;
use dryrun_postgres::{Class, Guarded, Login, Options, Refused, Session};
use tempfile::NamedTempFile;
use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::{
    Config, NoTls,
    config::{ChannelBinding, SslMode as Tls},
    tls::MakeTlsConnect,
};

use crate::{
    directory,
    failure::{self, Result},
    tls,
};
use dryrun_core::api::{Authentication, SslMode};

/// Timeout of connecting.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which a failing connection is retried, and the interval: network plugins may let a pod
/// through some time after it has started.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// A server with the password that its role has there.
pub(crate) struct Credentials<'a> {
    pub(crate) server: &'a Server,
    pub(crate) password: String,
    /// Certificates of authorities.
    authorities: PathBuf,
    /// With `prefer`: whether the server had TLS at the first session. All later ones are alike.
    tls: OnceLock<bool>,
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
            authorities: match &server.ca_file {
                // Programs may run in another directory.
                Some(file) => std::path::absolute(secrets.join(file))
                    .map_err(|error| failure::file(file, &error))?,
                None => tls::bundle(),
            },
            tls: OnceLock::new(),
        })
    }

    /// Opens a session under the name `application`. Transient failures are retried for a while.
    pub(crate) async fn connect(
        &self,
        database: &str,
        application: &str,
        options: &Options,
    ) -> Result<Session> {
        let started = Instant::now();
        loop {
            match self.attempt(database, application, options).await {
                Err(error) if error.retry && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(AGAIN).await;
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(
        &self,
        database: &str,
        application: &str,
        options: &Options,
    ) -> Result<Session> {
        let mut with_tls = self.mode() != SslMode::Disable;
        loop {
            match self.open(database, application, options, with_tls).await {
                // As libpq, and only at the first session: later ones cannot be talked out of it.
                Err(error)
                    if error.refused() == Some(Refused::NoTls)
                        && self.mode() == SslMode::Prefer =>
                {
                    with_tls = false;
                }
                opened => {
                    let session = opened.map_err(failure::connect)?;
                    self.tls.get_or_init(|| with_tls);
                    return Ok(session);
                }
            }
        }
    }

    /// The mode of the next session.
    fn mode(&self) -> SslMode {
        match (self.server.sslmode, self.tls.get()) {
            (SslMode::Prefer, Some(true)) => SslMode::Require,
            (SslMode::Prefer, Some(false)) => SslMode::Disable,
            (mode, _) => mode,
        }
    }

    async fn open(
        &self,
        database: &str,
        application: &str,
        options: &Options,
        with_tls: bool,
    ) -> Result<Session, dryrun_postgres::Error> {
        let server = self.server;
        let doing = format!(
            "connect to {} ({}:{}) as {}",
            server.host, server.address, server.port, server.user
        );
        let refused = |why: &dyn Display| {
            dryrun_postgres::Error::other(&doing, Class::Refused, why.to_string())
        };
        let address: IpAddr = server.address.parse().map_err(|e| refused(&e))?;
        let scram = server.authentication == Authentication::ScramSha256;
        let mut config = Config::new();
        config
            .user(&server.user)
            .password(&self.password)
            .dbname(database)
            .application_name(application)
            .ssl_mode(if with_tls { Tls::Require } else { Tls::Disable })
            .channel_binding(if with_tls && scram {
                ChannelBinding::Require
            } else {
                ChannelBinding::Prefer
            });
        let login = match (with_tls, scram) {
            (true, _) => Login::Tls,
            (false, true) => Login::Scram,
            (false, false) => Login::Any,
        };
        let lost =
            |why: &dyn Display| dryrun_postgres::Error::other(&doing, Class::Lost, why.to_string());
        let connecting = TcpStream::connect((address, server.port));
        let stream = timeout(TIMEOUT, connecting).await;
        let stream = stream
            .map_err(|_| lost(&"no answer"))?
            .map_err(|e| lost(&e))?;
        let stream = Guarded::new(stream, login);
        if !with_tls {
            return Session::over(&doing, &mut config, options, stream, NoTls).await;
        }
        let mut tls =
            tls::connector(self.mode(), &self.authorities).map_err(|e| refused(&e.message))?;
        let tls = MakeTlsConnect::<Guarded<TcpStream>>::make_tls_connect(&mut tls, &server.host);
        let tls = tls.map_err(|e| refused(&e))?;
        Session::over(&doing, &mut config, options, stream, tls).await
    }

    /// Gives `command` what libpq needs for the same session; the password travels in a file of
    /// mode 0600, which lives as long as the returned value.
    pub(crate) fn lend(
        &self,
        command: &mut Command,
        application: &str,
        options: &Options,
    ) -> Result<NamedTempFile> {
        let server = self.server;
        let passfile = passfile("*", &self.password)?;
        command
            .env("PGHOST", &server.host)
            .env("PGHOSTADDR", &server.address)
            .env("PGPORT", server.port.to_string())
            .env("PGUSER", &server.user)
            .env("PGDATABASE", &server.database)
            .env("PGSSLMODE", self.mode().as_libpq())
            .env("PGPASSFILE", passfile.path())
            .env("PGAPPNAME", application)
            .env("PGOPTIONS", options.to_string())
            .env("PGCONNECT_TIMEOUT", TIMEOUT.as_secs().to_string());
        if server.sslmode == SslMode::VerifyFull {
            // Only then: with it libpq would verify under `require` too.
            command.env("PGSSLROOTCERT", &self.authorities);
        }
        if server.authentication == Authentication::ScramSha256 {
            // A libpq before 16 does not know the first one, and then applies only the second one.
            command.env("PGREQUIREAUTH", "scram-sha-256");
            if self.mode() != SslMode::Disable {
                command.env("PGCHANNELBINDING", "require");
            }
        }
        Ok(passfile)
    }
}

/// The part of a session's parameters that does not depend on who asks for it. Pods of a run have
/// no name service.
pub(crate) fn base(address: &str, port: u16, user: &str, password: &str) -> Result<Config> {
    let address: IpAddr = address
        .parse()
        .map_err(|_| Problem::permanent("InvalidAddress", format!("{address} is no IP address")))?;
    let mut config = Config::new();
    config
        .hostaddr(address)
        .port(port)
        .user(user)
        .password(password)
        .connect_timeout(TIMEOUT);
    Ok(config)
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

    #[test]
    fn a_passfile_is_for_its_owner_alone_and_does_not_outlive_its_use() {
        let file = passfile("*", "secret").unwrap();
        let path = file.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
