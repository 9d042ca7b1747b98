//! Rules for logins to the copy, and their addresses.

use dryrun_core::agent_api::copy_server::PostgresConfig;
use dryrun_core::problem::Problem;

use crate::failure::Result;

/// `pg_hba.conf`: roles by name, SCRAM only, nothing else. The bootstrap role comes from loopback
/// alone, where the operator's port-forward ends; NetworkPolicy limits where the others come from,
/// since the harness's address is not known yet. Roles without LOGIN have a line too, so that it is
/// the server's check of LOGIN that refuses them.
pub(super) fn render(config: &PostgresConfig) -> Result<String> {
    let bootstrap = quoted(&config.bootstrap_role)?;
    let database = quoted(&config.database)?;
    let mut lines = vec![
        "# Written by dryrun-agent. TYPE DATABASE USER ADDRESS METHOD".to_owned(),
        format!("host all {bootstrap} 127.0.0.1/32 scram-sha-256"),
        format!("host all {bootstrap} ::1/128 scram-sha-256"),
    ];
    if let Some(role) = &config.restore_role {
        lines.push(format!("host all {} all scram-sha-256", quoted(role)?));
    }
    for role in &config.roles {
        lines.push(format!(
            "host {database} {} all scram-sha-256",
            quoted(role)?
        ));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// Quotes take the meaning of keywords and of a leading `+` away, but from version 16 on not that
/// of a leading `/`, and they cannot span lines.
fn quoted(name: &str) -> Result<String> {
    if name.is_empty() || name.starts_with('/') || name.contains(char::is_control) {
        return Err(Problem::permanent(
            "InvalidConfig",
            format!("pg_hba.conf cannot name {name:?}"),
        ));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::{super::settings::tests::config, *};

    #[test]
    fn everybody_has_a_line_of_his_own_and_nobody_else_has() {
        let text = render(&config()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                r#"host all "dryrun_0a1b2c3d" 127.0.0.1/32 scram-sha-256"#,
                r#"host all "dryrun_0a1b2c3d" ::1/128 scram-sha-256"#,
                r#"host all "dryrun_0a1b2c3d_restore" all scram-sha-256"#,
                r#"host "directus" "cutter_exec" all scram-sha-256"#,
                r#"host "directus" "cutter ""ro""" all scram-sha-256"#,
            ]
        );
    }

    #[test]
    fn a_name_cannot_become_a_rule() {
        for name in ["/.*", "a\nhost all all all trust", ""] {
            let mut config = config();
            config.roles = vec![name.into()];
            assert!(render(&config).is_err(), "{name:?}");
        }
    }
}
