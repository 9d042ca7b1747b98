//! The documentation: every manifest in it would be accepted, every link leads somewhere, every
//! name in it exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dryrun_core::api::{DryRun, DryRunApproval, bytes_of};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::schemas::refusals;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page of the documentation, by its path.
fn pages() -> BTreeMap<String, String> {
    let mut paths = vec![
        "charts/dryrun-operator/README.md".to_owned(),
        "e2e/demo/README.md".to_owned(),
    ];
    for folder in ["", "docs/"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                paths.push(format!("{folder}{name}"));
            }
        }
    }
    paths
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// The blocks of a language in a Markdown text.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    markdown
        .split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// Text without its blocks of code.
fn prose(markdown: &str) -> String {
    markdown.split("```").step_by(2).collect()
}

/// Reads a manifest strictly and asks the schema's rules.
fn accept<T: DeserializeOwned>(kind: &str, manifest: &str) -> T {
    let value: Value = serde_saphyr::from_str(manifest).unwrap();
    assert_eq!(value["kind"], kind);
    assert_eq!(refusals(kind, &value, None), Vec::<String>::new());
    serde_saphyr::from_str(manifest).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// Every key of these values is one of the chart's.
fn assert_known(path: &str, values: &Value, known: &Value) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        assert!(!known[key].is_null(), "the chart has no {path}");
        assert_known(&path, value, &known[key]);
    }
}

fn chart_values() -> Value {
    serde_saphyr::from_str(&read("charts/dryrun-operator/values.yaml")).unwrap()
}

/// A block is a whole manifest, values of the chart, or sections of a DryRun's spec: these are put
/// into the README's DryRun.
#[test]
fn manifests_of_the_pages() {
    let pages = pages();
    let [example, ..] = blocks(&pages["README.md"], "yaml")[..] else {
        panic!("the README begins with a DryRun")
    };
    let example: Value = serde_saphyr::from_str(example).unwrap();
    let known = chart_values();
    let mut kinds = BTreeSet::new();
    for (page, text) in &pages {
        for block in blocks(text, "yaml") {
            let value: Value =
                serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{page}: {error}"));
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            let kind = match value["kind"].as_str() {
                Some("DryRun") => {
                    let run: DryRun = accept("DryRun", block);
                    assert!(bytes_of(&run.spec.postgres.storage.size).is_ok(), "{page}");
                    "DryRun"
                }
                Some("DryRunApproval") => {
                    let approval: DryRunApproval = accept("DryRunApproval", block);
                    let name = example["metadata"]["name"].as_str().unwrap();
                    assert_eq!(approval.spec.dry_run_name, name, "{page}");
                    "DryRunApproval"
                }
                Some(other) => panic!("{page}: no rules for {other}"),
                None if keys.iter().all(|key| !known[key.as_str()].is_null()) => {
                    assert_known("values", &value, &known);
                    "values"
                }
                None => {
                    let mut run = example.clone();
                    for key in keys {
                        run["spec"][key] = value[key].clone();
                    }
                    let _: DryRun = accept("DryRun", &run.to_string());
                    "section"
                }
            };
            kinds.insert(kind);
        }
    }
    assert_eq!(
        kinds,
        BTreeSet::from(["DryRun", "DryRunApproval", "section", "values"])
    );
}

#[test]
fn manifests_of_the_demo() {
    let digest = "0".repeat(64);
    let run = read("e2e/demo/dryrun.yaml")
        .replace("${SYSTEM_IDENTIFIER}", "7611578671664259111")
        .replace("${IU_CUTTER_SHA256}", &digest)
        .replace("${DR_HARNESS_SHA256}", &digest);
    let run: DryRun = accept("DryRun", &run);
    let approval = read("e2e/demo/approval.yaml")
        .replace("${DRY_RUN_UID}", "4c2f7a52-6d0e-4c36-9a53-0f8f6f0f3a11")
        .replace("${PLAN_HASH}", &format!("sha256:{digest}"))
        .replace("${EXPIRES_AT}", "2030-01-31T18:00:00Z");
    let approval: DryRunApproval = accept("DryRunApproval", &approval);
    assert_eq!(Some(approval.spec.dry_run_name), run.metadata.name);
    assert_ne!(approval.spec.approved_by, run.spec.requested_by);
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

/// The targets of the links in a Markdown text.
fn links(markdown: &str) -> Vec<String> {
    prose(markdown)
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// Links that lead nowhere, as `page: target`.
fn dead_links(pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut dead = Vec::new();
    for (page, text) in pages {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => root().join(page),
                path => root().join(page).parent().unwrap().join(path),
            };
            let lives = if fragment.is_empty() {
                target.exists()
            } else {
                std::fs::read_to_string(&target)
                    .is_ok_and(|target| anchors(&target).contains(fragment))
            };
            if !lives {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    dead
}

#[test]
fn links_lead_somewhere() {
    assert_eq!(dead_links(&pages()), Vec::<String>::new());
}

#[test]
fn dead_links_are_found() {
    let text = "[a](SECURITY.md) [b](missing.md) [c](#heading-one) [d](docs/security.md#none) [e](https://example.com)";
    let pages = BTreeMap::from([("README.md".to_owned(), text.to_owned())]);
    assert_eq!(
        dead_links(&pages),
        [
            "README.md: missing.md",
            "README.md: #heading-one",
            "README.md: docs/security.md#none"
        ]
    );
    assert_eq!(
        anchor("Who may do what? `C-01`, really"),
        "who-may-do-what-c-01-really"
    );
}

#[test]
fn paths_in_the_pages_exist() {
    const ROOTS: [&str; 6] = ["operator/", "e2e/", "charts/", "crds/", "docs/", ".github/"];
    let mut missing = Vec::new();
    for (page, text) in pages() {
        for path in quoted(&prose(&text)) {
            let is_path = ROOTS.iter().any(|root| path.starts_with(root));
            if is_path && !root().join(path).exists() {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The rows of the first table below a mark, as cells.
fn table(markdown: &str, mark: &str) -> Vec<Vec<String>> {
    let (_, rest) = markdown.split_once(mark).unwrap();
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The words between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The values of the chart by their paths: an object whose keys the schema fixes is no value
/// itself.
fn leaves(path: &str, value: &Value, schema: &Value, found: &mut BTreeMap<String, Value>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{key}");
        if schema["properties"].is_object() {
            leaves(&format!("{path}."), &value[key], schema, found);
        } else {
            found.insert(path, value[key].clone());
        }
    }
}

#[test]
fn chart_values_are_documented_with_their_defaults() {
    let schema: Value =
        serde_json::from_str(&read("charts/dryrun-operator/values.schema.json")).unwrap();
    let mut values = BTreeMap::new();
    leaves("", &chart_values(), &schema, &mut values);
    // Helm's own.
    values.remove("global");
    let readme = read("charts/dryrun-operator/README.md");
    let documented: BTreeMap<String, Value> = table(&readme, "<!-- values -->")
        .iter()
        .map(|row| {
            let default = quoted(&row[1]).next().unwrap();
            let default = serde_saphyr::from_str(default).unwrap();
            (quoted(&row[0]).next().unwrap().to_owned(), default)
        })
        .collect();
    assert_eq!(documented, values);
}

/// The text of all Rust sources below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn reasons_of_the_tables_are_reasons_of_the_code() {
    // What the scheduler and the kubelet say.
    const OF_KUBERNETES: [&str; 3] = ["Unschedulable", "ErrImagePull", "ImagePullBackOff"];
    let mut code = String::new();
    for part in ["core/src", "controller/src", "agent/src"] {
        sources(&root().join("operator").join(part), &mut code);
    }
    let mut unknown = Vec::new();
    let mut known = 0;
    for (page, column) in [("docs/approval.md", 1), ("docs/operations.md", 0)] {
        for row in table(&read(page), "<!-- reasons:begin -->") {
            for reason in quoted(&row[column]) {
                if code.contains(&format!("\"{reason}\"")) || OF_KUBERNETES.contains(&reason) {
                    known += 1;
                } else {
                    unknown.push(format!("{page}: {reason}"));
                }
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
    assert!(known > 30, "{known}");
}
