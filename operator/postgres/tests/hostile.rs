//! Hostile objects of production's owners do not reach the operator's superuser sessions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dryrun_postgres::testing::{Server, installations, skip};
use dryrun_postgres::{Options, Session, identity, run};
use tokio_postgres::NoTls;

/// A function for each name that a reading of the identity uses, and settings that would end a
/// session, take its rights, or put these functions before the server's own.
const HOSTILE: &str = "
    CREATE ROLE owner;
    CREATE SCHEMA evil;
    CREATE TABLE evil.called (role text);
    CREATE FUNCTION evil.note() RETURNS void LANGUAGE sql AS
      'INSERT INTO evil.called VALUES (session_user)';
    CREATE FUNCTION evil.pg_control_system(OUT system_identifier bigint) LANGUAGE plpgsql AS
      'BEGIN PERFORM evil.note(); system_identifier := 4242424242; END';
    CREATE FUNCTION evil.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$SELECT '1'$$;
    CREATE DOMAIN evil.int4 AS pg_catalog.int4;
    ALTER DATABASE shop SET search_path = evil, pg_catalog;
    ALTER DATABASE shop SET statement_timeout = '1ms';
    ALTER DATABASE shop SET idle_session_timeout = '1ms';
    ALTER DATABASE shop SET lock_timeout = '1ms';
    ALTER DATABASE shop SET default_transaction_read_only = on;
    ALTER DATABASE shop SET role = owner;";

/// From 17 on: code at every login.
const LOGIN_TRIGGER: &str = "
    CREATE FUNCTION evil.at_login() RETURNS event_trigger LANGUAGE plpgsql AS
      'BEGIN RAISE EXCEPTION ''no entry''; END';
    CREATE EVENT TRIGGER login ON login EXECUTE FUNCTION evil.at_login();
    ALTER EVENT TRIGGER login ENABLE ALWAYS;";

#[tokio::test]
async fn settings_and_functions_of_a_database_do_not_reach_a_superusers_session() {
    let mut tested = false;
    for programs in installations() {
        let server = Server::start(&programs, &[]).unwrap();
        let options = Options::superuser(0);
        let mut config = server.config("postgres");
        let maintenance = Session::connect("connect", &mut config, &options, NoTls)
            .await
            .unwrap();
        let expected = identity(&maintenance.client).await.unwrap().server;
        run(&maintenance.client, "create", "CREATE DATABASE shop")
            .await
            .unwrap();
        let (client, connection) = server.config("shop").connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(HOSTILE).await.unwrap();
        if expected.version_num >= 170_000 {
            client.batch_execute(LOGIN_TRIGGER).await.unwrap();
        }

        let options = Options::superuser(expected.version_num);
        let mut config = server.config("shop");
        let session = Session::connect("connect", &mut config, &options, NoTls)
            .await
            .unwrap();
        let found = identity(&session.client).await.unwrap().server;
        assert_eq!(found, expected);
        let writes = "CREATE TABLE public.written ()";
        run(&session.client, "write", writes).await.unwrap();

        // The query alone withstands the search path, too: nothing else protects a session that
        // reads the server's own settings.
        let mut options = Options::plain()
            .with("search_path", "evil, pg_catalog")
            .with("statement_timeout", "0")
            .with("idle_session_timeout", "0")
            .with("default_transaction_read_only", "off")
            .with("role", "none");
        if expected.version_num >= 170_000 {
            options = options.with("event_triggers", "off");
        }
        let session = Session::connect("connect", &mut server.config("shop"), &options, NoTls)
            .await
            .unwrap();
        let found = identity(&session.client).await.unwrap().server;
        assert_eq!(found, expected);
        let called: i64 = client
            .query_one("SELECT count(*) FROM evil.called", &[])
            .await
            .unwrap()
            .try_get(0)
            .unwrap();
        assert_eq!(called, 0);
        tested = true;
    }
    if !tested {
        skip("no Postgres server is installed (on Debian: apt-get install postgresql)");
    }
}
