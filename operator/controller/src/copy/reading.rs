//! What the operator reads of the copy: catalog, counts, privileges.

use dryrun_core::postgres::matrix::{EscalationPath, Reading};
use dryrun_core::postgres::row_set::Rows;
use dryrun_core::postgres::sql;
use dryrun_core::problem::TaskError;
use dryrun_core::run::facts::PrivilegeRow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use tokio_postgres::GenericClient;

use super::Session;
use super::session::failed;
use super::statements::{BASELINE_CREATE, BASELINE_READ, BASELINE_WRITE, BASELINE_WRITE_FIRST};

/// Every definition of the database.
pub(crate) async fn catalog(client: &impl GenericClient) -> Result<Rows, TaskError> {
    let mut rows = Rows::default();
    for row in client
        .query(sql::CATALOG, &[])
        .await
        .map_err(|e| failed("read the catalog", &e))?
    {
        let definition: Option<String> = row.get(2);
        rows.insert(&[row.get(0), row.get(1)], &definition.unwrap_or_default());
    }
    Ok(rows)
}

/// The exact number of rows of every table.
pub(crate) async fn counts(client: &impl GenericClient) -> Result<Rows, TaskError> {
    let mut rows = Rows::default();
    for statement in client
        .query(sql::COUNTS, &[])
        .await
        .map_err(|e| failed("list tables", &e))?
    {
        let statement: String = statement.get(0);
        for row in client
            .query(&statement, &[])
            .await
            .map_err(|e| failed("count rows", &e))?
        {
            rows.insert(&[row.get(0)], &row.get::<_, i64>(1).to_string());
        }
    }
    Ok(rows)
}

/// Every privilege, granted or otherwise.
pub(crate) async fn privileges(client: &impl GenericClient) -> Result<Reading, TaskError> {
    let mut reading = Reading::default();
    for query in [sql::PRIVILEGES, sql::ATTRIBUTES] {
        for row in client
            .query(query, &[])
            .await
            .map_err(|e| failed("read privileges", &e))?
        {
            let found = PrivilegeRow {
                class: row.get(0),
                object: row.get(1),
                grantee: row.get(2),
                privilege: row.get(3),
                grantable: row.get(4),
                sign: row.get(5),
            };
            reading.insert(found, row.get(6));
        }
    }
    Ok(reading)
}

/// Rights of roles that no dump of a database carries.
pub(crate) async fn role_rights(
    client: &impl GenericClient,
) -> Result<Vec<PrivilegeRow>, TaskError> {
    let rows = client
        .query(sql::ROLE_RIGHTS, &[])
        .await
        .map_err(|e| failed("read the rights of roles", &e))?;
    let right = |row: &tokio_postgres::Row| PrivilegeRow {
        class: row.get(0),
        object: row.get(1),
        grantee: row.get(2),
        privilege: row.get(3),
        grantable: row.get(4),
        sign: "+".into(),
    };
    Ok(rows.iter().map(right).collect())
}

/// Every way in which a role could get more than its privileges say.
pub(crate) async fn escalations(
    client: &impl GenericClient,
) -> Result<BTreeSet<EscalationPath>, TaskError> {
    let rows = client
        .query(sql::ESCALATIONS, &[])
        .await
        .map_err(|e| failed("read escalation paths", &e))?;
    let path = |row: &tokio_postgres::Row| EscalationPath {
        role: row.get(0),
        why: row.get(1),
        what: row.get(2),
    };
    Ok(rows.iter().map(path).collect())
}

/// Keeps a set in the maintenance database, where it outlives the operator and no declared role sees it.
pub(crate) async fn keep(maintenance: &Session, kind: &str, rows: &str) -> Result<(), TaskError> {
    make_room(maintenance).await?;
    maintenance
        .client
        .execute(BASELINE_WRITE, &[&kind, &rows])
        .await
        .map_err(|e| failed("keep the baseline", &e))?;
    Ok(())
}

/// A set that was kept.
pub(crate) async fn kept(maintenance: &Session, kind: &str) -> Result<String, TaskError> {
    let row = maintenance
        .client
        .query_opt(BASELINE_READ, &[&kind])
        .await
        .map_err(|e| failed("read the baseline", &e))?;
    row.map(|row| row.get(0))
        .ok_or_else(|| permanent("BaselineMissing", format!("{kind} was never kept")))
}

/// What was kept first under this name: this value, or that of an earlier attempt, after which the copy may have changed.
pub(crate) async fn first<T: Serialize + DeserializeOwned>(
    maintenance: &Session,
    kind: &str,
    value: T,
) -> Result<T, TaskError> {
    make_room(maintenance).await?;
    let text = as_text(&value)?;
    maintenance
        .client
        .execute(BASELINE_WRITE_FIRST, &[&kind, &text])
        .await
        .map_err(|e| failed("keep the baseline", &e))?;
    parse(&kept(maintenance, kind).await?)
}

async fn make_room(maintenance: &Session) -> Result<(), TaskError> {
    maintenance
        .client
        .batch_execute(BASELINE_CREATE)
        .await
        .map_err(|e| failed("keep the baseline", &e))
}

/// A value in the form that is kept.
pub(super) fn as_text(value: &impl Serialize) -> Result<String, TaskError> {
    serde_json::to_string(value).map_err(|e| permanent("BaselineUnreadable", e.to_string()))
}

/// A value that was kept.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TaskError> {
    serde_json::from_str(text).map_err(|e| permanent("BaselineUnreadable", e.to_string()))
}

fn permanent(reason: &str, message: String) -> TaskError {
    TaskError {
        reason: reason.into(),
        message,
        transient: false,
    }
}
