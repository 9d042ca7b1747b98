//! C-05 and C-06: roles before the restore, the matrix after it.

use dryrun_core::api::DryRunSpec;
use dryrun_core::postgres::matrix::{self, Compiled, Literal, Reading};
use dryrun_core::postgres::row_set::Rows;
use dryrun_core::postgres::sql::identifier;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{DumpFacts, MatrixDifference, RolesFacts};
use dryrun_core::run::id::RunRef;
use dryrun_postgres::statements::{BOOTSTRAP_TWIN, MATRIX_SESSION};
use dryrun_postgres::{Error, escalations, inventory, privileges, run};
use std::collections::BTreeSet;
use std::time::Instant;
use tokio_postgres::GenericClient;

use super::session::failed;
use super::{Session, baseline as kept};

/// The roles that are made before the restore: those that the dump refers to, and the declared ones.
pub(crate) fn roles(spec: &DryRunSpec, dump: &DumpFacts) -> BTreeSet<String> {
    let referenced = dump
        .roles
        .iter()
        .map(|role| &role.name)
        .filter(|name| !name.starts_with("pg_"));
    referenced
        .chain(spec.privileges.roles.keys())
        .chain(&spec.restore.create_roles)
        .cloned()
        .collect()
}

/// Makes them, all without LOGIN and attributes.
pub(crate) async fn create_roles(
    session: &Session,
    spec: &DryRunSpec,
    dump: &DumpFacts,
) -> Result<(), Problem> {
    let declared: BTreeSet<String> = spec.privileges.roles.keys().cloned().collect();
    let wanted = roles(spec, dump);
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
        run(
            session.client(),
            "create a role of the source",
            statement.as_str(),
        )
        .await
        .map_err(failed)?;
    }
    for twin in dump.roles.iter().filter(|role| role.bootstrap) {
        let statement = BOOTSTRAP_TWIN.fill([&identifier(&twin.name)]);
        run(
            session.client(),
            "create the source's superuser",
            &statement,
        )
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// The roles of the run itself, which no matrix speaks of.
fn own(run: &RunRef) -> BTreeSet<String> {
    BTreeSet::from([run.bootstrap_role(), run.restore_role()])
}

/// The matrix as it is declared.
pub(crate) struct Declared<'a> {
    pub(crate) spec: &'a DryRunSpec,
    /// The list of rows that the spec's `matrixRef` names, if it names one.
    pub(crate) literal: Option<&'a Literal>,
    pub(crate) run: &'a RunRef,
    /// The copy's `server_version_num`.
    pub(crate) version_num: u32,
}

async fn compile(
    client: &impl GenericClient,
    declared: &Declared<'_>,
) -> Result<Result<Compiled, Vec<String>>, Problem> {
    let privileges = &declared.spec.privileges;
    let inventory = inventory(client, declared.version_num, privileges, declared.literal)
        .await
        .map_err(failed)?;
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    Ok(matrix::compile(
        privileges,
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

fn parsed(text: &str) -> BTreeSet<dryrun_core::run::facts::PrivilegeRow> {
    text.lines().filter_map(matrix::parse).collect()
}

/// The name under which the privileges after the revoke are kept.
const BASELINE: &str = "privileges-revoked";

/// The name under which the facts of what production granted and logged are kept.
const PRODUCTION: &str = "production";

/// How many of production's settings of the log are named in the facts.
const SETTINGS_SHOWN: usize = 20;

/// C-06: what production granted to declared roles is recorded and revoked, the matrix applied, read back and compared.
///
/// The catalog was compared with the source's before, right after the restore; so this is the time to take away what production has set for the log.
pub(crate) async fn apply(
    session: &mut Session,
    maintenance: &Session,
    matrix: &Declared<'_>,
) -> Result<RolesFacts, Problem> {
    let spec = matrix.spec;
    let compiled = match compile(session.client(), matrix).await? {
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
    let (declared, own) = (
        spec.privileges.roles.keys().cloned().collect(),
        own(matrix.run),
    );
    let restored = privileges(session.client()).await.map_err(failed)?;
    let log_settings = matrix::log_settings(&restored);
    let shown = log_settings.iter().take(SETTINGS_SHOWN);
    let granted = RolesFacts {
        production: matrix::compare(&compiled, &restored.rows, &restored.rows, &own),
        log_settings_reset: shown.map(ToString::to_string).collect(),
        ..RolesFacts::default()
    };
    // An earlier attempt may have got as far as the commit: what is found here now is the matrix, and not production's.
    let production = kept::first(maintenance, PRODUCTION, granted).await?;

    let transaction = session
        .client_mut()
        .transaction()
        .await
        .map_err(|e| failed(Error::new("begin", &e)))?;
    run(&transaction, "apply the matrix", MATRIX_SESSION)
        .await
        .map_err(failed)?;
    for setting in &log_settings {
        run(
            &transaction,
            "reset what production logs",
            setting.reset().as_str(),
        )
        .await
        .map_err(failed)?;
    }
    let revoke = matrix::revoke(&restored, &declared);
    for statement in &revoke {
        run(
            &transaction,
            "revoke what production granted",
            statement.as_str(),
        )
        .await
        .map_err(failed)?;
    }
    let baseline = privileges(&transaction).await.map_err(failed)?;
    let grant = matrix::apply(&compiled);
    for statement in &grant {
        run(&transaction, "apply the matrix", statement.as_str())
            .await
            .map_err(failed)?;
    }
    transaction
        .commit()
        .await
        .map_err(|e| failed(Error::new("commit the matrix", &e)))?;
    kept::keep(maintenance, BASELINE, &text(&baseline)).await?;

    let begin = Instant::now();
    let found = privileges(session.client()).await.map_err(failed)?;
    let paths = escalations(session.client()).await.map_err(failed)?;
    let applied = MatrixDifference {
        escalations: matrix::escalations(&compiled, &paths),
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
) -> Result<(MatrixDifference, Rows), Problem> {
    let compiled = match compile(session.client(), matrix).await? {
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
    let baseline = parsed(&kept::kept(maintenance, BASELINE).await?);
    let found = privileges(session.client()).await.map_err(failed)?;
    let paths = escalations(session.client()).await.map_err(failed)?;
    let difference = MatrixDifference {
        escalations: matrix::escalations(&compiled, &paths),
        ..matrix::compare(&compiled, &found.rows, &baseline, &own(matrix.run))
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
