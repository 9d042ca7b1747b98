//! Settings of roles and databases that decide what a server logs.

use std::fmt;

use super::Statement;
use super::class::RowClass;
use super::row::{PUBLIC, Reading};
use super::statement::setting;
use crate::postgres::sql::{identifier, statements};

/// The keyword for all roles in a statement.
const ALL: &str = "ALL";

/// A setting that production has for a role, a database or both, and that would change what the
/// copy logs of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSetting {
    role: Option<String>,
    database: Option<String>,
    parameter: String,
}

impl LogSetting {
    /// Takes the setting away.
    pub fn reset(&self) -> Statement {
        let role = self
            .role
            .as_deref()
            .map_or_else(|| ALL.to_owned(), identifier);
        let parameter = identifier(&self.parameter);
        match &self.database {
            Some(database) => statements::RESET_PARAMETER_IN_DATABASE.fill([
                &role,
                &identifier(database),
                &parameter,
            ]),
            None => statements::RESET_PARAMETER.fill([&role, &parameter]),
        }
        .into()
    }
}

impl fmt::Display for LogSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.parameter)?;
        if let Some(role) = &self.role {
            write!(f, " of role {role}")?;
        }
        if let Some(database) = &self.database {
            write!(f, " in database {database}")?;
        }
        Ok(())
    }
}

/// The settings of a reading that decide what is logged. The copy's log is the judge of the
/// scenarios, so that none of them may come to it from production.
pub fn log_settings(reading: &Reading) -> Vec<LogSetting> {
    reading
        .rows
        .iter()
        .filter(|row| RowClass::parse(&row.class) == RowClass::Setting)
        .filter_map(|row| {
            let (_, parameter, _) = setting(&row.privilege)?;
            decides_log(parameter).then(|| LogSetting {
                role: (row.grantee != PUBLIC).then(|| row.grantee.clone()),
                database: row.object.strip_prefix("db:").map(str::to_owned),
                parameter: parameter.to_owned(),
            })
        })
        .collect()
}

/// Returns true if a parameter decides what the server logs of a session: what, how much of it, in
/// which language, and until when it serves one whose client is gone.
pub(super) fn decides_log(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    parameter.starts_with("log_")
        || ["lc_messages", "client_connection_check_interval"].contains(&parameter.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::matrix::class::SETTING;
    use crate::postgres::matrix::row::granted;

    #[test]
    fn only_what_decides_the_log_goes() {
        let mut reading = Reading::default();
        for (object, grantee, privilege) in [
            ("db:di\"r", PUBLIC, "log_min_messages=panic"),
            ("db:directus", "a", "log_statement=none"),
            ("cluster", "a", "log_error_verbosity=terse"),
            ("cluster", PUBLIC, "lc_messages=de_DE"),
            ("db:directus", PUBLIC, "client_connection_check_interval=0"),
            ("db:directus", PUBLIC, "jit=off"),
            ("cluster", "a", "app.log_level=1"),
        ] {
            reading.insert(granted(SETTING, object, grantee, privilege, false), None);
        }
        reading.insert(
            granted("table", "iu.x", "a", "log_statement=none", false),
            None,
        );
        let found = log_settings(&reading);
        let told: Vec<String> = found
            .iter()
            .map(|setting| format!("{setting}: {}", setting.reset()))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        log_error_verbosity of role a: ALTER ROLE "a" RESET "log_error_verbosity"
        lc_messages: ALTER ROLE ALL RESET "lc_messages"
        log_min_messages in database di"r: ALTER ROLE ALL IN DATABASE "di""r" RESET "log_min_messages"
        log_statement of role a in database directus: ALTER ROLE "a" IN DATABASE "directus" RESET "log_statement"
        client_connection_check_interval in database directus: ALTER ROLE ALL IN DATABASE "directus" RESET "client_connection_check_interval"
        "#);
    }
}
