//! Classes of objects that can be granted on, and of rows.

use crate::api::Privilege;

/// A class of objects with an access control list. In rows and in a grant's `on` it stands as
/// [`ObjectClass::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectClass {
    Database,
    Schema,
    Table,
    View,
    Matview,
    ForeignTable,
    Sequence,
    Function,
    Procedure,
    Type,
    Domain,
    Language,
    LargeObject,
    Fdw,
    ForeignServer,
    Tablespace,
    Parameter,
}

impl ObjectClass {
    /// Every class.
    pub(super) const ALL: [Self; 17] = [
        Self::Database,
        Self::Schema,
        Self::Table,
        Self::View,
        Self::Matview,
        Self::ForeignTable,
        Self::Sequence,
        Self::Function,
        Self::Procedure,
        Self::Type,
        Self::Domain,
        Self::Language,
        Self::LargeObject,
        Self::Fdw,
        Self::ForeignServer,
        Self::Tablespace,
        Self::Parameter,
    ];

    /// The class of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// The name in rows and in a grant's `on`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::View => "view",
            Self::Matview => "matview",
            Self::ForeignTable => "foreign_table",
            Self::Sequence => "sequence",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Type => "type",
            Self::Domain => "domain",
            Self::Language => "language",
            Self::LargeObject => "large_object",
            Self::Fdw => "fdw",
            Self::ForeignServer => "foreign_server",
            Self::Tablespace => "tablespace",
            Self::Parameter => "parameter",
        }
    }

    /// The words after ON in GRANT and REVOKE.
    pub(super) fn keyword(self) -> &'static str {
        match self {
            Self::Database => "DATABASE",
            Self::Schema => "SCHEMA",
            Self::Table | Self::View | Self::Matview | Self::ForeignTable => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::Function | Self::Procedure => "ROUTINE",
            Self::Type | Self::Domain => "TYPE",
            Self::Language => "LANGUAGE",
            Self::LargeObject => "LARGE OBJECT",
            Self::Fdw => "FOREIGN DATA WRAPPER",
            Self::ForeignServer => "FOREIGN SERVER",
            Self::Tablespace => "TABLESPACE",
            Self::Parameter => "PARAMETER",
        }
    }

    /// The privileges that exist on the class
    /// (<https://www.postgresql.org/docs/current/ddl-priv.html>). `MAINTAIN` needs a server from 17
    /// on.
    pub(super) fn privileges(self) -> &'static [Privilege] {
        use Privilege::{
            AlterSystem, Connect, Create, Delete, Execute, Insert, Maintain, References, Select,
            Set, Temporary, Trigger, Truncate, Update, Usage,
        };
        match self {
            Self::Database => &[Create, Connect, Temporary],
            Self::Schema => &[Usage, Create],
            Self::Table | Self::View | Self::Matview | Self::ForeignTable => &[
                Select, Insert, Update, Delete, Truncate, References, Trigger, Maintain,
            ],
            Self::Sequence => &[Usage, Select, Update],
            Self::Function | Self::Procedure => &[Execute],
            Self::Type | Self::Domain | Self::Language | Self::Fdw | Self::ForeignServer => {
                &[Usage]
            }
            Self::LargeObject => &[Select, Update],
            Self::Tablespace => &[Create],
            Self::Parameter => &[Set, AlterSystem],
        }
    }

    /// The privileges that exist on single columns of the class.
    pub(super) fn column_privileges(self) -> &'static [Privilege] {
        if self.is_relation() {
            &[
                Privilege::Select,
                Privilege::Insert,
                Privilege::Update,
                Privilege::References,
            ]
        } else {
            &[]
        }
    }

    /// Returns true if its objects have columns.
    pub(super) fn is_relation(self) -> bool {
        matches!(
            self,
            Self::Table | Self::View | Self::Matview | Self::ForeignTable
        )
    }

    /// Returns true if its objects are named with their arguments.
    pub(super) fn is_routine(self) -> bool {
        matches!(self, Self::Function | Self::Procedure)
    }

    /// Returns true if its objects live in schemas.
    pub(super) fn is_in_schema(self) -> bool {
        self.is_relation()
            || self.is_routine()
            || matches!(self, Self::Sequence | Self::Type | Self::Domain)
    }
}

/// A class of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowClass {
    /// A privilege on an object.
    Object(ObjectClass),
    /// A privilege on a column; the object is `schema.relation.column`.
    Column,
    /// An attribute of a role, `NAME=value`; object and grantee are the role.
    Attribute,
    /// Membership of the grantee in the object.
    Membership,
    /// A setting `name=value` of the grantee; the object is `cluster` or `db:` and a database.
    Setting,
    /// A privilege that objects will have by default; the object is `owner/schema/KIND`.
    DefaultAcl,
    /// Ownership; the grantee is the owner.
    Owner,
    /// A login of the grantee at a foreign server.
    UserMapping,
    /// Attributes that decide whose rights count and which rows are visible: row-level security,
    /// policies, SECURITY DEFINER routines, options of views.
    Definition,
}

/// Class of the rows of [`RowClass::Column`].
pub(super) const COLUMN: &str = "column";
/// Class of the rows of [`RowClass::Attribute`].
pub(super) const ATTRIBUTE: &str = "role_attr";
/// Class of the rows of [`RowClass::Membership`].
pub(super) const MEMBERSHIP: &str = "membership";
/// Class of the rows of [`RowClass::Setting`].
pub(super) const SETTING: &str = "setting";
/// Prefix of the classes of the rows of [`RowClass::Owner`].
pub(super) const OWNER: &str = "owner_";

/// Classes of the rows of [`RowClass::Definition`].
pub(super) const DEFINITIONS: [&str; 4] = ["rls", "policy", "secdef", "view_option"];

impl RowClass {
    /// The class of rows of this name.
    pub(super) fn parse(class: &str) -> Self {
        match class {
            COLUMN => Self::Column,
            ATTRIBUTE => Self::Attribute,
            MEMBERSHIP => Self::Membership,
            SETTING => Self::Setting,
            "default_acl" => Self::DefaultAcl,
            "user_mapping" => Self::UserMapping,
            _ if class.starts_with(OWNER) => Self::Owner,
            _ => ObjectClass::parse(class).map_or(Self::Definition, Self::Object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_name() {
        assert!(
            ObjectClass::ALL
                .into_iter()
                .all(|class| ObjectClass::parse(class.as_str()) == Some(class))
        );
        assert!(ObjectClass::ALL.is_sorted());
        assert_eq!(ObjectClass::parse("index"), None);
    }
}
