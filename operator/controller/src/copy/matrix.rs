//! C-05 and C-06: roles before the restore, the matrix after it.

use dryrun_core::api::DryRunSpec;
use dryrun_core::postgres::matrix::{self, Compiled, Literal};
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{DumpFacts, MatrixDifference, PrivilegeRow, RolesFacts};
use dryrun_core::run::id::RunRef;
use dryrun_postgres::statements::MATRIX_SESSION;
use dryrun_postgres::{Class, Error, escalations, inventory, privileges, role_rights, run};
use std::collections::BTreeSet;
use std::time::Instant;
use tokio_postgres::GenericClient;

use super::session::failed;
use super::{Session, baseline as kept};

/// The roles that are made before the restore: those that the dump refers to, and the declared
/// ones.
pub(crate) fn roles(spec: &DryRunSpec, dump: &DumpFacts) -> BTreeSet<String> {
    dump.roles
        .iter()
        .chain(spec.privileges.roles.keys())
        .chain(&spec.restore.create_roles)
        .cloned()
        .collect()
}

/// Makes them, all without LOGIN and password; those that the matrix does not declare are given
/// what they have in production. A right that the copy's server refuses is reported by G-09, which
/// compares.
pub(crate) async fn create_roles(
    session: &Session,
    spec: &DryRunSpec,
    dump: &DumpFacts,
) -> Result<(), Problem> {
    let wanted = roles(spec, dump);
    let mut missing = BTreeSet::new();
    for role in &wanted {
        if !session.role_exists(role).await? {
            missing.insert(role.clone());
        }
    }
    for statement in matrix::create(&missing) {
        run(
            session.client(),
            "create a role of the source",
            statement.as_str(),
        )
        .await
        .map_err(failed)?;
    }
    let version = dump.identity.as_ref().map_or(0, |of| of.version_num);
    for statement in matrix::give(&undeclared(spec, dump), version) {
        let doing = "give a role what it has in production";
        match run(session.client(), doing, statement.as_str()).await {
            Err(error) if error.class() != Class::Refused => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Returns the privileges that undeclared roles have in production and no dump carries.
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
) -> Result<Vec<String>, Problem> {
    let found = role_rights(client).await.map_err(failed)?;
    let found = matrix::undeclared(found, &dump.roles, &declared_roles(spec));
    Ok(matrix::differing(&undeclared(spec, dump), &found))
}

/// The roles of the run itself, which no matrix speaks of.
pub(crate) fn own(run: &RunRef) -> BTreeSet<String> {
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

/// Privileges in the text form that is kept.
pub(crate) fn text(rows: &BTreeSet<PrivilegeRow>) -> String {
    let mut lines: Vec<String> = rows.iter().map(matrix::line).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Privileges that were kept.
pub(crate) fn parsed(text: &str) -> BTreeSet<PrivilegeRow> {
    text.lines().filter_map(matrix::parse).collect()
}

/// The name under which the privileges after the revoke are kept.
const BASELINE: &str = "privileges-revoked";

/// The name under which the matrix is kept as it was applied. A pattern in it speaks of the objects
/// that there were then, not of what scenarios make.
const MATRIX: &str = "matrix";

/// The name under which the facts of what production granted and logged are kept.
const PRODUCTION: &str = "production";

/// Maximum number of log settings of production, and of different rights, that are named in the
/// facts.
const SHOWN: usize = 20;

/// C-06: what production granted to declared roles is recorded and revoked, the matrix applied,
/// read back and compared.
///
/// The catalog was compared with the source's before, right after the restore; so this is the time
/// to take away what production has set for the log.
pub(crate) async fn apply(
    session: &mut Session,
    maintenance: &Session,
    matrix: &Declared<'_>,
    dump: &DumpFacts,
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
    let (declared, own) = (declared_roles(spec), own(matrix.run));
    let restored = privileges(session.client()).await.map_err(failed)?;
    let log_settings = matrix::log_settings(&restored);
    let shown = log_settings.iter().take(SHOWN);
    let differing = differing(session.client(), spec, dump).await?;
    let granted = RolesFacts {
        differing_count: differing.len() as u64,
        differing: differing.into_iter().take(SHOWN).collect(),
        production: matrix::compare(&compiled, &restored.rows, &restored.rows, &own),
        log_settings_reset: shown.map(ToString::to_string).collect(),
        ..RolesFacts::default()
    };
    // An earlier attempt may have got as far as the commit: what is found here now is the matrix,
    // and not production's.
    let production = kept::first(maintenance, PRODUCTION, granted).await?;

    kept::keep(maintenance, MATRIX, &kept::as_text(&compiled)?).await?;

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
    kept::keep(maintenance, BASELINE, &text(&baseline.rows)).await?;

    let begin = Instant::now();
    let found = privileges(session.client()).await.map_err(failed)?;
    let paths = escalations(session.client()).await.map_err(failed)?;
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

/// C-11: the matrix as it was applied, against the same baseline. `found` are the privileges as
/// they are, `held` are those that the matrix speaks of.
pub(crate) async fn compare_again(
    session: &Session,
    maintenance: &Session,
    run: &RunRef,
    found: &BTreeSet<PrivilegeRow>,
    held: &BTreeSet<PrivilegeRow>,
) -> Result<MatrixDifference, Problem> {
    let compiled: Compiled = kept::parse(&kept::kept(maintenance, MATRIX).await?)?;
    let baseline = parsed(&kept::kept(maintenance, BASELINE).await?);
    let paths = escalations(session.client()).await.map_err(failed)?;
    Ok(MatrixDifference {
        escalations: matrix::escalations(&compiled, &paths, found),
        ..matrix::compare(&compiled, held, &baseline, &own(run))
    })
}
