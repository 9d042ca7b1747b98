//! C-05 and C-06: roles before the restore, the matrix after it.

use dryrun_core::api::DryRunSpec;
use dryrun_core::postgres::matrix::{self, CatalogObject, Compiled, Inventory, Literal, Reading};
use dryrun_core::postgres::row_set::Rows;
use dryrun_core::postgres::sql;
use dryrun_core::problem::TaskError;
use dryrun_core::run::facts::{DumpFacts, MatrixDifference, PrivilegeRow, RolesFacts};
use dryrun_core::run::id;
use std::collections::BTreeSet;
use std::time::Instant;
use tokio_postgres::GenericClient;

use super::session::failed;
use super::statements::MATRIX_SESSION;
use super::{Session, reading};

/// The roles that are made before the restore: those that the dump refers to, and the declared ones.
pub(crate) fn roles(spec: &DryRunSpec, dump: &DumpFacts) -> BTreeSet<String> {
    dump.roles
        .iter()
        .chain(spec.privileges.roles.keys())
        .chain(&spec.restore.create_roles)
        .cloned()
        .collect()
}

/// Makes them, all without LOGIN and password; those that the matrix does not declare are given what they have in production. A right that the copy's
/// server refuses is told by G-09, which compares.
pub(crate) async fn create_roles(
    session: &Session,
    spec: &DryRunSpec,
    dump: &DumpFacts,
) -> Result<(), TaskError> {
    let wanted = roles(spec, dump);
    let mut missing = BTreeSet::new();
    for role in &wanted {
        if !session.role_exists(role).await? {
            missing.insert(role.clone());
        }
    }
    for statement in matrix::create(&missing) {
        session
            .client
            .batch_execute(statement.as_str())
            .await
            .map_err(|e| failed("create a role of the source", &e))?;
    }
    let version = dump.identity.as_ref().map_or(0, |of| of.version_num);
    for statement in matrix::give(&undeclared(spec, dump), version) {
        match session.client.batch_execute(statement.as_str()).await {
            Err(error) if error.as_db_error().is_none() => {
                return Err(failed("give a role what it has in production", &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// What undeclared roles have in production, and no dump carries.
fn undeclared(spec: &DryRunSpec, dump: &DumpFacts) -> BTreeSet<PrivilegeRow> {
    matrix::undeclared(
        dump.role_rights.iter().cloned(),
        &dump.roles,
        &declared_roles(spec),
    )
}

fn declared_roles(spec: &DryRunSpec) -> BTreeSet<String> {
    spec.privileges.roles.keys().cloned().collect()
}

/// The rights of undeclared roles that are not as in production.
async fn differing(
    client: &impl GenericClient,
    spec: &DryRunSpec,
    dump: &DumpFacts,
) -> Result<Vec<String>, TaskError> {
    let found = reading::role_rights(client).await?;
    let found = matrix::undeclared(found, &dump.roles, &declared_roles(spec));
    Ok(matrix::differing(&undeclared(spec, dump), &found))
}

/// The roles of the run itself, which no matrix speaks of.
fn own(uid: &str) -> BTreeSet<String> {
    BTreeSet::from([id::bootstrap_role(uid), id::restore_role(uid)])
}

/// The matrix as it is declared.
pub(crate) struct Declared<'a> {
    pub(crate) spec: &'a DryRunSpec,
    /// The list of rows that the spec's `matrixRef` names, if it names one.
    pub(crate) literal: Option<&'a Literal>,
    pub(crate) uid: &'a str,
    /// The copy's `server_version_num`.
    pub(crate) version_num: u32,
}

async fn inventory(
    client: &impl GenericClient,
    declared: &Declared<'_>,
) -> Result<Inventory, TaskError> {
    let wanted = Inventory::columns_wanted(&declared.spec.privileges, declared.literal);
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
    Ok(Inventory::new(declared.version_num, objects))
}

async fn compile(
    client: &impl GenericClient,
    declared: &Declared<'_>,
) -> Result<Result<Compiled, Vec<String>>, TaskError> {
    let inventory = inventory(client, declared).await?;
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    Ok(matrix::compile(
        &declared.spec.privileges,
        declared.literal,
        &inventory,
        today,
    ))
}

/// A privilege reading in the text form that is kept.
fn text(reading: &Reading) -> String {
    let mut lines: Vec<String> = reading.rows.iter().map(matrix::line).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn parsed(text: &str) -> BTreeSet<PrivilegeRow> {
    text.lines().filter_map(matrix::parse).collect()
}

/// The name under which the privileges after the revoke are kept.
const BASELINE: &str = "privileges-revoked";

/// The name under which the facts of what production granted and logged are kept.
const PRODUCTION: &str = "production";

/// How many of production's settings of the log, and how many rights that differ, are named in the facts.
const SHOWN: usize = 20;

/// C-06: what production granted to declared roles is recorded and revoked, the matrix applied, read back and compared.
///
/// The catalog was compared with the source's before, right after the restore; so this is the time to take away what production has set for the log.
pub(crate) async fn apply(
    session: &mut Session,
    maintenance: &Session,
    matrix: &Declared<'_>,
    dump: &DumpFacts,
) -> Result<RolesFacts, TaskError> {
    let spec = matrix.spec;
    let compiled = match compile(&session.client, matrix).await? {
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
    let (declared, own) = (declared_roles(spec), own(matrix.uid));
    let restored = reading::privileges(&session.client).await?;
    let log_settings = matrix::log_settings(&restored);
    let shown = log_settings.iter().take(SHOWN);
    let differing = differing(&session.client, spec, dump).await?;
    let granted = RolesFacts {
        differing_count: differing.len() as u64,
        differing: differing.into_iter().take(SHOWN).collect(),
        production: matrix::compare(&compiled, &restored.rows, &restored.rows, &own),
        log_settings_reset: shown.map(ToString::to_string).collect(),
        ..RolesFacts::default()
    };
    // An earlier attempt may have got as far as the commit: what is found here now is the matrix, and not production's.
    let production = reading::first(maintenance, PRODUCTION, granted).await?;

    let transaction = session
        .client
        .transaction()
        .await
        .map_err(|e| failed("begin", &e))?;
    transaction
        .batch_execute(MATRIX_SESSION)
        .await
        .map_err(|e| failed("apply the matrix", &e))?;
    for setting in &log_settings {
        transaction
            .batch_execute(setting.reset().as_str())
            .await
            .map_err(|e| failed("reset what production logs", &e))?;
    }
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
    let paths = reading::escalations(&session.client).await?;
    let applied = MatrixDifference {
        escalations: matrix::escalations(&compiled, &paths, &found.rows),
        ..matrix::compare(&compiled, &found.rows, &baseline.rows, &own)
    };
    Ok(RolesFacts {
        applied,
        statements: (log_settings.len() + revoke.len() + grant.len()) as u64,
        milliseconds: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..production
    })
}

/// C-11: the matrix once more, against the same baseline.
pub(crate) async fn compare_again(
    session: &Session,
    maintenance: &Session,
    matrix: &Declared<'_>,
) -> Result<(MatrixDifference, Rows), TaskError> {
    let compiled = match compile(&session.client, matrix).await? {
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
    let paths = reading::escalations(&session.client).await?;
    let difference = MatrixDifference {
        escalations: matrix::escalations(&compiled, &paths, &found.rows),
        ..matrix::compare(&compiled, &found.rows, &baseline, &own(matrix.uid))
    };
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
