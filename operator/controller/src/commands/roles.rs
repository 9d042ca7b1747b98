//! C-06 and C-07: the matrix is applied and read back, and the identity is read again.

use dryrun_core::postgres::matrix::Literal;
use dryrun_core::problem::Problem;
use dryrun_core::run::facts::{CopyIdentity, Reading, RolesFacts};
use kube::Api;

use crate::copy::{Session, matrix};
use crate::jobs::Scope;
use crate::run::resolve;

/// Applies the matrix, reads it back, and reads the identity on the same connection.
pub(crate) async fn apply_matrix(scope: &Scope) -> Result<(RolesFacts, CopyIdentity), Problem> {
    let endpoint = scope.copy().await?;
    let maintenance = Session::maintenance(&endpoint).await?;
    let mut session = maintenance
        .restored(&endpoint, &scope.spec.source.database)
        .await?;
    let literal = literal(scope).await?;
    let facts = matrix::apply(
        &mut session,
        &maintenance,
        &declared(scope, literal.as_ref()),
        scope.dump()?,
    )
    .await?;
    Ok((facts, maintenance.identity(Reading::BeforeHarness)))
}

/// The list of rows that the spec names, with the digest that was approved.
async fn literal(scope: &Scope) -> Result<Option<Literal>, Problem> {
    let Some(reference) = &scope.spec.privileges.matrix_ref else {
        return Ok(None);
    };
    let config_maps = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let read = resolve::matrix(&config_maps, &scope.run.namespace, reference)
        .await
        .map_err(|e| Problem::transient("ConfigMapUnreadable", e))?;
    let (bytes, _) = read?;
    let literal = Literal::read(&bytes).map_err(|error| resolve::invalid(reference, &error))?;
    Ok(Some(literal))
}

fn declared<'a>(scope: &'a Scope, literal: Option<&'a Literal>) -> matrix::Declared<'a> {
    matrix::Declared {
        spec: &scope.spec,
        literal,
        run: &scope.run,
        version_num: version(scope),
    }
}

/// The copy's version: production's, as the dump's facts have it, since both are of one major.
fn version(scope: &Scope) -> u32 {
    scope
        .facts
        .restore
        .as_ref()
        .map_or(0, |restore| restore.claim.copy.version_num)
}
