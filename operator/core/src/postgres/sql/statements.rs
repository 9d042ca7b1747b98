//! Statements that change roles and privileges. Their places take identifiers, literals and the
//! server's own words; the caller quotes each.

use super::Template;

/// Declares a constant template for each statement, checked against the names of its places when it
/// is compiled.
macro_rules! statements {
    ($($name:ident = $text:literal [$($place:ident),+];)+) => {
        $(pub(crate) const $name: Template<{ [$(stringify!($place)),+].len() }> =
            Template::new($text, [$(stringify!($place)),+]);)+
    };
}

statements! {
    CREATE_ROLE = "CREATE ROLE {role} NOLOGIN" [role];
    ALTER_ROLE = "ALTER ROLE {role} {attributes}" [role, attributes];
    SET_PARAMETER = "ALTER ROLE {role} SET {parameter} TO {value}" [role, parameter, value];
    SET_PARAMETER_FROM_CURRENT = "ALTER ROLE {role} SET {parameter} FROM CURRENT" [role, parameter];
    SET_CONFIG = "SELECT pg_catalog.set_config({parameter}, {value}, true)" [parameter, value];
    RESET_PARAMETER = "ALTER ROLE {role} RESET {parameter}" [role, parameter];
    RESET_PARAMETER_IN_DATABASE =
        "ALTER ROLE {role} IN DATABASE {database} RESET {parameter}"
        [role, database, parameter];
    GRANT_ROLE = "GRANT {role} TO {member}" [role, member];
    GRANT_ROLE_WITH_ADMIN = "GRANT {role} TO {member} WITH ADMIN OPTION" [role, member];
    GRANT_ROLE_WITH_OPTIONS =
        "GRANT {role} TO {member} WITH ADMIN {admin}, INHERIT {inherit}, SET {set}"
        [role, member, admin, inherit, set];
    REVOKE_ROLE = "REVOKE {role} FROM {member} CASCADE" [role, member];
    REVOKE_ROLE_GRANTED_BY =
        "REVOKE {role} FROM {member} GRANTED BY {grantor} CASCADE"
        [role, member, grantor];
    GRANT =
        "GRANT {privileges} ON {kind} {objects} TO {grantee}"
        [privileges, kind, objects, grantee];
    GRANT_WITH_OPTION =
        "GRANT {privileges} ON {kind} {objects} TO {grantee} WITH GRANT OPTION"
        [privileges, kind, objects, grantee];
    REVOKE =
        "REVOKE {privileges} ON {kind} {objects} FROM {grantee} CASCADE"
        [privileges, kind, objects, grantee];
    REVOKE_DEFAULT =
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE {privilege} ON {kind} FROM {grantee} CASCADE"
        [owner, privilege, kind, grantee];
    REVOKE_DEFAULT_IN_SCHEMA =
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE {privilege} ON {kind} FROM {grantee} CASCADE"
        [owner, schema, privilege, kind, grantee];
    SET_ROLE = "SET LOCAL ROLE {role}" [role];
}

/// Ends [`SET_ROLE`].
pub(crate) const RESET_ROLE: &str = "RESET ROLE";
