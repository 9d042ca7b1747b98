//! C-03: production is dumped.

use dryrun_core::agent_api::protocol::{Task, TaskResult};
use dryrun_core::agent_api::tasks::{DumpTask, Server};
use dryrun_core::api::{Source, bytes_of};
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::DumpFacts;
use dryrun_core::run::layout::{DUMP_DIR, SOURCE_CA_FILE, SOURCE_FILE};
use std::net::IpAddr;
use std::time::Duration;

use crate::jobs::{Scope, confused, millis};

/// Production with its resolved address, for pods that have no DNS.
pub(super) async fn source(source: &Source) -> Result<Server, Problem> {
    let address = match source.host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => resolve(&source.host).await?,
    };
    Ok(Server {
        host: source.host.clone(),
        address: address.to_string(),
        port: source.port,
        user: source.user.clone(),
        database: source.database.clone(),
        sslmode: source.sslmode,
        authentication: source.authentication,
        ca_file: source.ca_ref.is_some().then(|| SOURCE_CA_FILE.into()),
        password_file: SOURCE_FILE.into(),
    })
}

async fn resolve(host: &str) -> Result<IpAddr, Problem> {
    let resolver = hickory_resolver::TokioResolver::builder_tokio()
        .map_err(|e| Problem::transient("ResolverUnavailable", e))?
        .build();
    let found = resolver
        .lookup_ip(host)
        .await
        .map_err(|e| Problem::transient("HostUnknown", e))?;
    chosen(found.iter())
        .ok_or_else(|| Problem::transient("HostUnknown", format_args!("{host} has no address")))
}

/// Of several addresses always the same, in any order of the name server's answer: all pods of the
/// run must mean one server. IPv4 comes before IPv6.
fn chosen(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.min()
}

pub(super) async fn dump(scope: &Scope, attempt: u8) -> Result<DumpFacts, Problem> {
    let spec = &scope.spec;
    let task = Task::Dump(DumpTask {
        server: source(&spec.source).await?,
        jobs: spec.source.dump.jobs,
        lock_timeout_ms: millis(spec.source.dump.lock_timeout.or(Duration::from_secs(5))),
        system_identifier: spec.source.system_identifier.clone(),
        directory: format!("{DUMP_DIR}/{attempt}"),
        data_directory: DUMP_DIR.into(),
        minimum_free: bytes_of(&spec.postgres.storage.minimum_free)
            .map_err(|e| Problem::permanent("InvalidQuantity", e.to_string()))?,
    });
    let agent = scope.agent(Container::Dump).await?;
    let TaskResult::Dump(facts) = agent.run(&format!("dump-{attempt}"), &task).await? else {
        return Err(confused());
    };
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_an_answer_does_not_matter() {
        let all = ["fd00::1", "10.0.0.20", "10.0.0.3"].map(|a| a.parse::<IpAddr>().unwrap());
        let smallest = Some(all[2]);
        assert_eq!(chosen(all.into_iter()), smallest);
        assert_eq!(chosen(all.into_iter().rev()), smallest);
        assert_eq!(chosen([].into_iter()), None);
    }
}
