//! `cargo generate`: files generated from code: the CRDs, and the tables of gates, commands and
//! fields in `docs/`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use dryrun_core::{api, commands, gate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::ResourceExt;

use crate::toolchain::workspace;

/// First line of a generated file.
const HEADER: &str =
    "# Made from operator/core/src/api by `cargo generate`; changes belong there.\n";
/// Writes every generated file that is not as it should be, and says which.
///
/// # Errors
/// A file cannot be read or written, or a page has lost its marks.
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
    let crds = api::crds();
    for (page, table) in [
        ("gates", gates()?),
        ("commands", commands()?),
        ("fields", fields(&crds)?),
    ] {
        let path = root.join("docs").join(format!("{page}.md"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        files.push((path, with_table(&text, page, &table)?));
    }
    for mut crd in crds {
        // Makes Helm keep the CRD when the chart is removed: deleting it would delete all DryRuns
        // and reports.
        crd.annotations_mut()
            .insert("helm.sh/resource-policy".into(), "keep".into());
        let yaml = serde_saphyr::to_string(&whole_numbers(serde_json::to_value(&crd)?))?;
        files.push((
            root.join("crds").join(format!("{}.yaml", crd.name_any())),
            format!("{HEADER}{}\n", yaml.trim_end()),
        ));
    }
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

/// The page with this table between its lines `<!-- name:begin -->` and `<!-- name:end -->`.
fn with_table(page: &str, name: &str, table: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|place| format!("<!-- {name}:{place} -->\n"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("docs/{name}.md has lost its mark {}", begin.trim()))?;
    Ok(format!("{before}{begin}{table}{end}{after}"))
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

fn commands() -> Result<String> {
    let mut table = String::from(
        "\n| command | name | effect | gates judged by its end |\n|---|---|---|---|\n",
    );
    for definition in commands::ALL {
        let command = definition.command;
        let gates: Vec<String> = gate::ALL
            .iter()
            .filter(|gate| gate.command == command)
            .map(|gate| format!("{} `{}`", gate.id, gate.name))
            .collect();
        writeln!(
            table,
            "| {} | {command:?} | {} | {} |",
            definition.id,
            definition.doc,
            gates.join(", ")
        )?;
    }
    table.push('\n');
    Ok(table)
}

/// Every field of the specs of a request and of an approval, by its path.
fn fields(crds: &[CustomResourceDefinition]) -> Result<String> {
    let mut text = String::from("\n");
    for kind in ["DryRun", "DryRunApproval"] {
        let crd = crds.iter().find(|crd| crd.spec.names.kind == kind);
        let spec = crd
            .and_then(|crd| crd.spec.versions.first()?.schema.as_ref())
            .and_then(|schema| schema.open_api_v3_schema.as_ref()?.properties.as_ref())
            .and_then(|properties| properties.get("spec"))
            .with_context(|| format!("{kind} has no schema of its spec"))?;
        writeln!(
            text,
            "## {kind}\n\n| field of `spec` | type | default | meaning |\n|---|---|---|---|"
        )?;
        add_fields(&mut text, "", spec)?;
        text.push('\n');
    }
    Ok(text)
}

/// Adds a row per property, and those of what a property holds.
fn add_fields(text: &mut String, path: &str, schema: &JSONSchemaProps) -> Result<()> {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}{name}");
        let (kind, inner, suffix) = held(field);
        let default = match &field.default {
            Some(default) => format!("`{}`", serde_json::to_string(&default.0)?),
            None if required.contains(name) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = field.description.as_deref().unwrap_or_default();
        let meaning = meaning.replace('\n', " ").replace('|', "\\|");
        writeln!(text, "| `{path}` | {kind} | {default} | {meaning} |")?;
        add_fields(text, &format!("{path}{suffix}."), inner)?;
    }
    Ok(())
}

/// Name of a field's type, schema of its elements, and the suffix of their path.
fn held(field: &JSONSchemaProps) -> (String, &JSONSchemaProps, &'static str) {
    let kind = field.type_.clone().unwrap_or_else(|| "quantity".into());
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
        (format!("list of {}", held(item).0), item, "[]")
    } else if let Some(JSONSchemaPropsOrBool::Schema(value)) = &field.additional_properties {
        (format!("map to {}", held(value).0), value, ".*")
    } else if let Some(values) = &field.enum_ {
        let values: Vec<_> = values
            .iter()
            .map(|value| value.0.as_str().unwrap_or_default())
            .map(|value| format!("`{value}`"))
            .collect();
        (values.join(", "), field, "")
    } else {
        (kind, field, "")
    }
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
    fn a_table_stands_between_its_marks_and_nowhere_else() {
        let page = "a\n<!-- t:begin -->\nold\n<!-- t:end -->\nb\n";
        assert_eq!(
            with_table(page, "t", "new\n").unwrap(),
            "a\n<!-- t:begin -->\nnew\n<!-- t:end -->\nb\n"
        );
        assert!(with_table("a\n", "t", "new\n").is_err());
    }

    #[test]
    fn whole_floats_are_written_as_integers() {
        assert_eq!(
            whole_numbers(serde_json::json!({"a": [1.0, 0.5, 3]})),
            serde_json::json!({"a": [1, 0.5, 3]})
        );
    }
}
