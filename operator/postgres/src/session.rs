//! Sessions with a server, and the options that they begin with.

use std::{fmt, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{Client, Config, Connection, Socket, tls::MakeTlsConnect, tls::TlsConnect};

use crate::{
    error::{Class, Error, Result},
    sql::SESSION,
};

/// Time for a session to open. tokio-postgres bounds the connection of the socket, and not TLS and
/// authentication after it.
const OPEN: Duration = Duration::from_secs(10);

/// Version from which `event_triggers` and `transaction_timeout` exist.
const LOGIN_TRIGGERS: u32 = 170_000;

/// Options of a session's start-up message, as in PGOPTIONS. They are in force before anything of
/// the database runs, and over the settings of role and database.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<(&'static str, String)>,
    unprepared: bool,
}

impl Options {
    /// Options of a session with production, where nothing may be written. Without row security a
    /// table is read whole or not at all.
    pub fn read_only() -> Self {
        Self::default()
            .with("default_transaction_read_only", "on")
            .with("row_security", "off")
    }

    /// Options of a superuser's session with a copy of version `version_num`, 0 if that is not yet
    /// known.
    ///
    /// The restored database has settings and login triggers of production's owners, who are no
    /// superusers there. None of them takes effect on such a session: a search path of theirs would
    /// let functions of theirs stand for the server's own.
    pub fn superuser(version_num: u32) -> Self {
        let always = Self::default()
            .with("search_path", "pg_catalog")
            .with("role", "none")
            .with("default_transaction_read_only", "off")
            .with("row_security", "off")
            .with("statement_timeout", "0")
            .with("lock_timeout", "0")
            .with("idle_in_transaction_session_timeout", "0")
            .with("idle_session_timeout", "0");
        if version_num < LOGIN_TRIGGERS {
            return always;
        }
        always
            .with("transaction_timeout", "0")
            .with("event_triggers", "off")
    }

    /// Options of a session that keeps the server's own settings, to read them.
    pub fn plain() -> Self {
        Self {
            unprepared: true,
            ..Self::default()
        }
    }

    /// Adds a setting.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }
}

impl fmt::Display for Options {
    /// Writes the text of PGOPTIONS.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.settings.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace(' ', r"\ ");
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}-c {name}={value}")?;
        }
        Ok(())
    }
}

/// One connection to a server. It ends with its value, even with a pending request.
#[derive(Debug)]
pub struct Session {
    /// Runs requests.
    pub client: Client,
    driver: Driver,
}

/// The task that drives a connection.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Connects to the addresses of `config`; `doing` reads on from "cannot".
    pub async fn connect<T>(
        doing: &str,
        config: &mut Config,
        options: &Options,
        tls: T,
    ) -> Result<Self>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let open = async {
            let opened = config.options(options.to_string()).connect(tls).await;
            let (client, connection) = opened.map_err(|error| Error::of_login(doing, &error))?;
            Self::begin(client, connection, options).await
        };
        within(OPEN, doing, open).await
    }

    /// Opens a session over a stream that leads to the server.
    pub async fn over<S, T>(
        doing: &str,
        config: &mut Config,
        options: &Options,
        stream: S,
        tls: T,
    ) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsConnect<S>,
        T::Stream: Send + 'static,
    {
        let open = async {
            let opened = config
                .options(options.to_string())
                .connect_raw(stream, tls)
                .await;
            let (client, connection) = opened.map_err(|error| Error::of_login(doing, &error))?;
            Self::begin(client, connection, options).await
        };
        within(OPEN, doing, open).await
    }

    /// Drives the connection, and makes what the session reads comparable between servers.
    async fn begin<S, T>(
        client: Client,
        connection: Connection<S, T>,
        options: &Options,
    ) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let driver = tokio::spawn(async move {
            // The session's owner gets the error from its own request; here it is only the end.
            let _ = connection.await;
        });
        let session = Self {
            client,
            driver: Driver(driver),
        };
        if !options.unprepared {
            let prepared = session.client.batch_execute(SESSION).await;
            // The server is still one that answered at an address.
            prepared.map_err(|error| Error::of_login("set up the session", &error))?;
        }
        Ok(session)
    }

    /// Ends the session as the protocol has it, so that the server logs no lost connection.
    pub async fn close(self) {
        let Self { client, mut driver } = self;
        drop(client);
        let _ = (&mut driver.0).await;
    }
}

async fn within<T>(
    limit: Duration,
    doing: &str,
    open: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(limit, open).await.unwrap_or_else(|_| {
        let said = format!("no session within {} s", limit.as_secs());
        Err(Error::other(doing, Class::Unavailable, said))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::NoTls;

    #[test]
    fn options_are_escaped() {
        let options = Options::plain()
            .with("DateStyle", "ISO, MDY")
            .with("search_path", r"a\b");
        assert_eq!(
            options.to_string(),
            r"-c DateStyle=ISO,\ MDY -c search_path=a\\b"
        );
    }

    #[test]
    fn only_servers_that_have_login_triggers_are_told_to_ignore_them() {
        assert!(
            !Options::superuser(160_009)
                .to_string()
                .contains("event_triggers")
        );
        assert!(
            Options::superuser(170_000)
                .to_string()
                .contains("event_triggers=off")
        );
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(listener.local_addr().unwrap().port())
            .user("dump_ro");
        let options = Options::plain();
        let session = Session::connect("connect", &mut config, &options, NoTls);
        let error = within(Duration::from_secs(1), "connect", session)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot connect: no session within 1 s");
        assert!(error.class().is_transient());
    }
}
