//! Errors of a real server in their classes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dryrun_postgres::testing::{Server, installations, skip};
use dryrun_postgres::{Class, Error, Options, Session, run};
use tokio_postgres::NoTls;

async fn open(server: &Server, database: &str) -> Result<Session, Error> {
    let options = Options::plain();
    Session::connect("connect", &mut server.config(database), &options, NoTls).await
}

#[tokio::test]
async fn an_error_is_transient_only_if_it_may_go_away() {
    let Some(programs) = installations().pop() else {
        return skip("no Postgres server is installed (on Debian: apt-get install postgresql)");
    };
    let server = Server::start(
        &programs,
        &["max_connections=4", "superuser_reserved_connections=0"],
    )
    .unwrap();
    let session = open(&server, "postgres").await.unwrap();
    let client = &session.client;
    let class = |error: &tokio_postgres::Error| Error::new("try", error).class();

    // Mistakes of the caller, which no server reports.
    let wrong_type = client
        .query("SELECT $1::int", &[&"text"])
        .await
        .unwrap_err();
    assert_eq!(class(&wrong_type), Class::Refused);
    let no_row = client
        .query_one("SELECT 1 WHERE false", &[])
        .await
        .unwrap_err();
    assert_eq!(class(&no_row), Class::Refused);
    let row = client.query_one("SELECT 1::int8", &[]).await.unwrap();
    let wrong_column = row.try_get::<_, String>(0).unwrap_err();
    assert_eq!(class(&wrong_column), Class::Refused);
    let no_text = client.batch_execute("SELECT '\0'").await.unwrap_err();
    assert_eq!(class(&no_text), Class::Refused);

    let missing = run(client, "read", "TABLE missing").await.unwrap_err();
    assert_eq!(missing.class(), Class::Refused);
    assert_eq!(missing.terse(), "cannot read: SQLSTATE 42P01");
    let row_data = run(client, "read", "SELECT 'alice@example.com'::int")
        .await
        .unwrap_err();
    assert_eq!(row_data.to_string(), "cannot read: ERROR 22P02");
    let nowhere = open(&server, "nowhere").await.unwrap_err();
    assert_eq!(nowhere.class(), Class::Refused);

    for statements in ["CREATE TABLE t ()", "BEGIN; LOCK t"] {
        run(client, "set up", statements).await.unwrap();
    }
    let other = open(&server, "postgres").await.unwrap();
    let locked = run(&other.client, "read", "SET lock_timeout = 10; TABLE t")
        .await
        .unwrap_err();
    assert_eq!(locked.class(), Class::Locked);

    let others = [
        open(&server, "postgres").await,
        open(&server, "postgres").await,
    ];
    assert!(others.iter().all(Result::is_ok));
    let full = open(&server, "postgres").await.unwrap_err();
    assert_eq!(full.class(), Class::Unavailable);
    drop(others);

    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    run(client, "end the others", end).await.unwrap();
    let lost = run(&other.client, "read", "TABLE t").await.unwrap_err();
    assert_eq!(lost.class(), Class::Lost);
    let gone = run(&other.client, "read", "TABLE t").await.unwrap_err();
    assert_eq!(
        (gone.class(), gone.to_string().as_str()),
        (Class::Lost, "cannot read: connection closed")
    );
}

#[tokio::test]
async fn no_server_at_all_may_be_one_that_starts() {
    let mut config = tokio_postgres::Config::new();
    config.host_path("/nonexistent").user("bootstrap");
    let options = Options::plain();
    let error = Session::connect("connect", &mut config, &options, NoTls)
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Lost);
}
