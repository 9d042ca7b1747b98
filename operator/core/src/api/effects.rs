//! What scenarios are declared to do to rows, sequences and large objects.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::schema;

/// A number that is declared: exactly, as a range, or any.
///
/// Written `3`, `"2..5"`, `"2.."` or `any`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Figure {
    least: u64,
    /// How much more than the least it may be; nothing for any more.
    more: More,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    UpTo(u64),
    Any,
}

impl Default for More {
    fn default() -> Self {
        Self::UpTo(0)
    }
}

/// A figure as YAML has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Figure {
    /// Any number.
    pub const ANY: Self = Self {
        least: 0,
        more: More::Any,
    };

    /// Exactly this number.
    pub const fn exactly(number: u64) -> Self {
        Self {
            least: number,
            more: More::UpTo(0),
        }
    }

    /// Returns true for a number that is declared.
    pub fn admits(self, number: u64) -> bool {
        number >= self.least
            && match self.more {
                More::UpTo(more) => number - self.least <= more,
                More::Any => true,
            }
    }

    /// Returns true for [`Figure::ANY`].
    pub fn is_any(self) -> bool {
        self == Self::ANY
    }

    /// Returns true for exactly none, which is the default.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if takes a reference"
    )]
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.more {
            More::UpTo(0) => write!(f, "{}", self.least),
            More::UpTo(more) => write!(f, "{}..{}", self.least, self.least + more),
            More::Any if self.least == 0 => f.write_str("any"),
            More::Any => write!(f, "{}..", self.least),
        }
    }
}

impl TryFrom<Written> for Figure {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let text = match written {
            Written::Number(number) => return Ok(Self::exactly(number)),
            Written::Text(text) => text,
        };
        let parse = || {
            if text == "any" {
                return Some(Self::ANY);
            }
            let Some((least, most)) = text.split_once("..") else {
                return Some(Self::exactly(text.parse().ok()?));
            };
            let least = least.parse().ok()?;
            let more = match most {
                "" => More::Any,
                most => More::UpTo(most.parse::<u64>().ok()?.checked_sub(least)?),
            };
            Some(Self { least, more })
        };
        parse()
            .ok_or_else(|| format!("{text:?} is no number, no range such as 2..5, and not `any`"))
    }
}

impl From<Figure> for Written {
    fn from(figure: Figure) -> Self {
        match figure.more {
            More::UpTo(0) => Self::Number(figure.least),
            More::UpTo(_) | More::Any => Self::Text(figure.to_string()),
        }
    }
}

impl JsonSchema for Figure {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Figure".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schema::figure(generator)
    }
}

/// How rows of a table must have changed while the scenarios ran, all of them together.
///
/// Every change that was committed counts, also one that another change undid later: a row that was
/// inserted and deleted is one inserted and one deleted. What rolled back does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.table.contains('*') || has(self.expectTables)")
    .message("a pattern needs expectTables, the number of tables that it must match: without it a pattern that matches nothing would pass"))]
pub struct RowChange {
    /// The table or materialized view, schema-qualified, quoted as SQL would. It may have `*` in its last part, for partitions.
    #[schemars(length(min = 3, max = 320))]
    pub table: String,
    /// Tables that the pattern must match, before the scenarios or after them. The other numbers are sums over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_tables: Option<u32>,
    /// Rows inserted: a number, a range such as `2..5` or `2..`, or `any`.
    #[serde(default, skip_serializing_if = "Figure::is_none")]
    pub inserted: Figure,
    /// Rows updated. A row that moves to another partition is deleted in one and inserted in the other.
    #[serde(default, skip_serializing_if = "Figure::is_none")]
    pub updated: Figure,
    /// Rows deleted.
    #[serde(default, skip_serializing_if = "Figure::is_none")]
    pub deleted: Figure,
    /// How often the table was emptied by TRUNCATE.
    #[serde(default, skip_serializing_if = "Figure::is_none")]
    pub truncated: Figure,
    /// Scenarios that wrote the whole table anew: ALTER TABLE, CLUSTER, VACUUM FULL, REFRESH MATERIALIZED VIEW, or a table made in place of another.
    #[serde(default, skip_serializing_if = "Figure::is_none")]
    pub rewritten: Figure,
}

/// How far a sequence must have moved while the scenarios ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = kube::core::Rule::new("!self.sequence.contains('*') || has(self.expectSequences)")
    .message("a pattern needs expectSequences, the number of sequences that it must match: without it a pattern that matches nothing would pass"))]
pub struct SequenceChange {
    /// The sequence, schema-qualified, quoted as SQL would. It may have `*` in its last part.
    #[schemars(length(min = 3, max = 320))]
    pub sequence: String,
    /// Sequences that the pattern must match, before the scenarios or after them. `steps` is the sum over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_sequences: Option<u32>,
    /// Steps forward: a number, a range such as `2..5` or `2..`, or `any`. A sequence that was set back, or beside its steps, needs `any`.
    #[serde(default)]
    pub steps: Figure,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(json: &str) -> Figure {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_figure_is_a_number_a_range_or_any() {
        for (json, admitted, refused) in [
            ("3", vec![3], vec![0, 2, 4]),
            (r#""3""#, vec![3], vec![2, 4]),
            (r#""2..5""#, vec![2, 5], vec![1, 6]),
            (r#""2..""#, vec![2, u64::MAX], vec![1]),
            (r#""any""#, vec![0, u64::MAX], vec![]),
        ] {
            let read = figure(json);
            assert!(admitted.into_iter().all(|n| read.admits(n)), "{json}");
            assert!(!refused.into_iter().any(|n| read.admits(n)), "{json}");
            let again = serde_json::to_string(&read).unwrap();
            assert_eq!(figure(&again), read);
        }
        for json in [
            r#""5..2""#,
            r#""..""#,
            r#""x""#,
            "-1",
            r#""1..2..3""#,
            "1.5",
        ] {
            assert!(serde_json::from_str::<Figure>(json).is_err(), "{json}");
        }
        assert!(Figure::ANY.is_any() && !figure(r#""1..""#).is_any());
    }
}
