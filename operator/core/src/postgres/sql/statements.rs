//! Statements that change roles and privileges. Their places take identifiers, literals and the server's own words, each quoted by whoever fills them.

use super::Template;

/// Declares a constant template for each file, checked against the names of its places when it is compiled.
macro_rules! statements {
    ($($name:ident = $file:literal [$($place:ident),+];)+) => {
        $(pub(crate) const $name: Template<{ [$(stringify!($place)),+].len() }> =
            Template::new(include_str!(concat!("../../../sql/statements/", $file)), [$(stringify!($place)),+]);)+
    };
}

statements! {
    CREATE_ROLE = "create_role.sql" [role];
    ALTER_ROLE = "alter_role.sql" [role, attributes];
    SET_PARAMETER = "set_parameter.sql" [role, parameter, value];
    SET_PARAMETER_FROM_CURRENT = "set_parameter_from_current.sql" [role, parameter];
    SET_CONFIG = "set_config.sql" [parameter, value];
    RESET_PARAMETER = "reset_parameter.sql" [role, parameter];
    RESET_PARAMETER_IN_DATABASE = "reset_parameter_in_database.sql" [role, database, parameter];
    GRANT_ROLE = "grant_role.sql" [role, member];
    GRANT_ROLE_WITH_ADMIN = "grant_role_with_admin.sql" [role, member];
    GRANT_ROLE_WITH_OPTIONS = "grant_role_with_options.sql" [role, member, admin, inherit, set];
    REVOKE_ROLE = "revoke_role.sql" [role, member];
    REVOKE_ROLE_GRANTED_BY = "revoke_role_granted_by.sql" [role, member, grantor];
    GRANT = "grant.sql" [privileges, kind, objects, grantee];
    GRANT_WITH_OPTION = "grant_with_option.sql" [privileges, kind, objects, grantee];
    REVOKE = "revoke.sql" [privileges, kind, objects, grantee];
    REVOKE_DEFAULT = "revoke_default.sql" [owner, privilege, kind, grantee];
    REVOKE_DEFAULT_IN_SCHEMA = "revoke_default_in_schema.sql" [owner, schema, privilege, kind, grantee];
    SET_ROLE = "set_role.sql" [role];
}

/// Ends [`SET_ROLE`].
pub(crate) const RESET_ROLE: &str = include_str!("../../../sql/statements/reset_role.sql");
