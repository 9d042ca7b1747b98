//! `cargo generate`: what is made from code and kept beside it, the CRDs and the README's table of gates.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use dryrun_core::{api, gate};
use kube::ResourceExt;

use crate::toolchain::workspace;

/// First line of a generated file.
const HEADER: &str =
    "# Made from operator/core/src/api by `cargo generate`; changes belong there.\n";
/// Lines of the README between which the gates stand.
const GATES: (&str, &str) = ("<!-- gates:begin -->\n", "<!-- gates:end -->\n");

/// Writes every generated file that is not as it should be, and says which.
///
/// # Errors
/// A file cannot be read or written, or the README has lost its marks.
pub fn run() -> Result<()> {
    for (path, content) in files()? {
        if fs::read_to_string(&path).is_ok_and(|found| found == content) {
            continue;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        println!(
            "{}",
            path.strip_prefix(workspace()).unwrap_or(&path).display()
        );
    }
    Ok(())
}

/// All generated files as they should be.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let root = workspace();
    let mut files = Vec::new();
    for mut crd in api::crds() {
        // Helm leaves a CRD with this mark in place when the chart is removed: with it would go every DryRun and every report.
        crd.annotations_mut()
            .insert("helm.sh/resource-policy".into(), "keep".into());
        let yaml = serde_saphyr::to_string(&whole_numbers(serde_json::to_value(&crd)?))?;
        files.push((
            root.join("crds").join(format!("{}.yaml", crd.name_any())),
            format!("{HEADER}{}\n", yaml.trim_end()),
        ));
    }
    let readme = root.join("README.md");
    let text =
        fs::read_to_string(&readme).with_context(|| format!("reading {}", readme.display()))?;
    files.push((readme, with_gates(&text)?));
    Ok(files)
}

/// Bounds of numbers are floats in a CRD's type; `1.0` is written as `1`.
fn whole_numbers(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation, reason = "bounds are far below 2^53")]
            Some(float) if number.is_f64() && float.fract() == 0.0 => Value::from(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, whole_numbers(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// The README with the table of gates of this version.
fn with_gates(readme: &str) -> Result<String> {
    let (before, rest) = readme
        .split_once(GATES.0)
        .context("README.md has no line gates:begin")?;
    let (_, after) = rest
        .split_once(GATES.1)
        .context("README.md has no line gates:end")?;
    Ok(format!("{before}{}{}{}{after}", GATES.0, gates()?, GATES.1))
}

fn gates() -> Result<String> {
    let mut table = String::from(
        "\n| gate | condition | judged by the end of | True when | from these facts |\n|---|---|---|---|---|\n",
    );
    for gate in gate::ALL {
        let facts: Vec<String> = gate
            .evidence
            .iter()
            .map(|pointer| format!("`{}`", pointer.trim_start_matches('/').replace('/', ".")))
            .collect();
        writeln!(
            table,
            "| {} | `{}` | {} | {} | {} |",
            gate.id,
            gate.name,
            gate.command.id(),
            gate.doc,
            facts.join(", ")
        )?;
    }
    table.push_str("\n| reason | of | meaning |\n|---|---|---|\n");
    for (reason, meaning) in gate::COMMON_REASONS {
        writeln!(table, "| `{reason}` | every gate | {} |", meaning)?;
    }
    for gate in gate::ALL {
        for (reason, meaning) in gate.reasons {
            writeln!(table, "| `{reason}` | {} | {meaning} |", gate.id)?;
        }
    }
    table.push('\n');
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_as_generated() {
        let files = files().unwrap();
        for (path, content) in &files {
            let found = fs::read_to_string(path).unwrap_or_default();
            assert!(
                found == *content,
                "{} has drifted: run `cargo generate`",
                path.display()
            );
        }
        let kept = fs::read_dir(workspace().join("crds")).unwrap().count();
        assert_eq!(kept, api::crds().len(), "crds/ holds generated files only");
    }

    #[test]
    fn whole_floats_are_written_as_integers() {
        assert_eq!(
            whole_numbers(serde_json::json!({"a": [1.0, 0.5, 3]})),
            serde_json::json!({"a": [1, 0.5, 3]})
        );
    }
}
