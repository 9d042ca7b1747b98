//! C-05 and C-06: roles before the restore, the matrix after it.

use dryrun_core::api::DryRunSpec;
use dryrun_core::control::TaskError;
use dryrun_core::facts::{DumpFacts, MatrixDifference, RolesFacts};
use dryrun_core::matrix::{self, CatalogObject, Compiled, Inventory, Reading};
use dryrun_core::names;
use dryrun_core::rows::Rows;
use dryrun_core::sql::{self, identifier};
use std::collections::BTreeSet;
use std::time::Instant;
use tokio_postgres::GenericClient;

use super::session::failed;
use super::statements::{BOOTSTRAP_TWIN, MATRIX_SESSION};
use super::{Session, reading};

/// Makes the roles that the dump refers to and the declared ones, all without LOGIN and attributes. How many there are.
pub(crate) async fn create_roles(
    session: &Session,
    spec: &DryRunSpec,
    dump: &DumpFacts,
) -> Result<u32, TaskError> {
    let declared: BTreeSet<String> = spec.privileges.roles.keys().cloned().collect();
    let referenced = dump
        .roles
        .iter()
        .map(|role| role.name.clone())
        .filter(|name| !name.starts_with("pg_"));
    let wanted: BTreeSet<String> = referenced
        .chain(declared.iter().cloned())
        .chain(spec.restore.create_roles.iter().cloned())
        .collect();
    let mut missing = BTreeSet::new();
    for role in &wanted {
        if !session.role_exists(role).await? {
            missing.insert(role.clone());
        }
    }
    let memberships: BTreeSet<(String, String)> = dump
        .memberships
        .iter()
        .filter(|(role, member)| {
            wanted.contains(member) && !declared.contains(member) && !declared.contains(role)
        })
        .filter(|(role, _)| wanted.contains(role) || role.starts_with("pg_"))
        .cloned()
        .collect();
    for statement in matrix::create(&missing, &memberships) {
        session
            .client
            .batch_execute(statement.as_str())
            .await
            .map_err(|e| failed("create a role of the source", &e))?;
    }
    for twin in dump.roles.iter().filter(|role| role.bootstrap) {
        let statement = BOOTSTRAP_TWIN.fill([&identifier(&twin.name)]);
        session
            .client
            .batch_execute(&statement)
            .await
            .map_err(|e| failed("create the source's superuser", &e))?;
    }
    u32::try_from(wanted.len()).map_err(|e| TaskError {
        reason: "TooManyRoles".into(),
        message: e.to_string(),
        transient: false,
    })
}

/// The roles of the run itself, which no matrix speaks of.
fn own(uid: &str) -> BTreeSet<String> {
    BTreeSet::from([names::bootstrap_role(uid), names::restore_role(uid)])
}

async fn inventory(
    client: &impl GenericClient,
    spec: &DryRunSpec,
    version_num: u32,
) -> Result<Inventory, TaskError> {
    let wanted = Inventory::columns_wanted(&spec.privileges);
    let rows = client
        .query(sql::OBJECTS, &[&wanted])
        .await
        .map_err(|e| failed("list objects", &e))?;
    let objects = rows.iter().map(|row| CatalogObject {
        class: row.get(0),
        name: row.get(1),
        owner: row.get(2),
        initial: row.get(3),
    });
    Ok(Inventory::new(version_num, objects))
}

async fn compile(
    client: &impl GenericClient,
    spec: &DryRunSpec,
    version_num: u32,
) -> Result<Result<Compiled, Vec<String>>, TaskError> {
    let inventory = inventory(client, spec, version_num).await?;
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    Ok(matrix::compile(&spec.privileges, &inventory, today))
}

/// A privilege reading in the text form that is kept.
fn text(reading: &Reading) -> String {
    let mut lines: Vec<String> = reading.rows.iter().map(matrix::line).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn parsed(text: &str) -> BTreeSet<dryrun_core::facts::PrivilegeRow> {
    text.lines().filter_map(matrix::parse).collect()
}

/// The name under which the privileges after the revoke are kept.
const BASELINE: &str = "privileges-revoked";

/// C-06: what production granted to declared roles is recorded and revoked, the matrix applied, read back and compared.
pub(crate) async fn apply(
    session: &mut Session,
    maintenance: &Session,
    spec: &DryRunSpec,
    uid: &str,
    version_num: u32,
) -> Result<RolesFacts, TaskError> {
    let compiled = match compile(&session.client, spec, version_num).await? {
        Ok(compiled) => compiled,
        Err(errors) => {
            let applied = MatrixDifference {
                errors,
                ..MatrixDifference::default()
            };
            return Ok(RolesFacts {
                applied,
                ..RolesFacts::default()
            });
        }
    };
    let (declared, own) = (spec.privileges.roles.keys().cloned().collect(), own(uid));
    let restored = reading::privileges(&session.client).await?;
    let production = matrix::compare(&compiled, &restored.rows, &restored.rows, &own);

    let transaction = session
        .client
        .transaction()
        .await
        .map_err(|e| failed("begin", &e))?;
    transaction
        .batch_execute(MATRIX_SESSION)
        .await
        .map_err(|e| failed("apply the matrix", &e))?;
    let revoke = matrix::revoke(&restored, &declared);
    for statement in &revoke {
        transaction
            .batch_execute(statement.as_str())
            .await
            .map_err(|e| failed("revoke what production granted", &e))?;
    }
    let baseline = reading::privileges(&transaction).await?;
    let grant = matrix::apply(&compiled);
    for statement in &grant {
        transaction
            .batch_execute(statement.as_str())
            .await
            .map_err(|e| failed("apply the matrix", &e))?;
    }
    transaction
        .commit()
        .await
        .map_err(|e| failed("commit the matrix", &e))?;
    reading::keep(maintenance, BASELINE, &text(&baseline)).await?;

    let begin = Instant::now();
    session
        .client
        .batch_execute(sql::SESSION)
        .await
        .map_err(|e| failed("prepare the session", &e))?;
    let found = reading::privileges(&session.client).await?;
    let applied = matrix::compare(&compiled, &found.rows, &baseline.rows, &own);
    Ok(RolesFacts {
        production,
        applied,
        statements: (revoke.len() + grant.len()) as u64,
        milliseconds: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// C-11: the matrix once more, against the same baseline.
pub(crate) async fn compare_again(
    session: &Session,
    maintenance: &Session,
    spec: &DryRunSpec,
    uid: &str,
    version_num: u32,
) -> Result<(MatrixDifference, Rows), TaskError> {
    let compiled = match compile(&session.client, spec, version_num).await? {
        Ok(compiled) => compiled,
        Err(errors) => {
            return Ok((
                MatrixDifference {
                    errors,
                    ..MatrixDifference::default()
                },
                Rows::default(),
            ));
        }
    };
    let baseline = parsed(&reading::kept(maintenance, BASELINE).await?);
    let found = reading::privileges(&session.client).await?;
    let difference = matrix::compare(&compiled, &found.rows, &baseline, &own(uid));
    Ok((difference, as_rows(&found)))
}

/// A privilege reading as a set that can be kept and compared.
pub(crate) fn as_rows(reading: &Reading) -> Rows {
    let mut rows = Rows::default();
    for row in &reading.rows {
        rows.insert(
            &[
                &row.class,
                &row.object,
                &row.grantee,
                &row.privilege,
                &row.sign,
            ],
            if row.grantable { "grantable" } else { "" },
        );
    }
    rows
}
