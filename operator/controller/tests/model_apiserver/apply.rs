//! Server-side apply: who owns which field, and what an apply merges, takes over and removes.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A field: names, and the JSON of the keys of list items.
pub type Path = Vec<Segment>;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A field of an object.
    Field(String),
    /// The item of a list that has these keys.
    Item(BTreeMap<String, String>),
}

/// A writer: manager, subresource, and whether it applies or updates.
pub type Manager = (String, String, bool);

/// The fields that each manager owns.
pub type Managers = BTreeMap<Manager, Owned>;

/// The fields that one manager owns: found out when they are needed, since most objects have one
/// manager.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// All fields of what was written.
    All(Arc<Value>),
    /// These.
    These(BTreeSet<Path>),
}

impl Owned {
    fn paths(&mut self, schema: &Value) -> &mut BTreeSet<Path> {
        if let Self::All(part) = self {
            *self = Self::These(leaves(part, schema));
        }
        match self {
            Self::These(paths) => paths,
            Self::All(_) => unreachable!("they were just found out"),
        }
    }

    /// Returns true if one of these fields is in the part of the object below this name.
    fn is_below(&self, name: &str) -> bool {
        match self {
            Self::All(part) => part.get(name).is_some(),
            Self::These(paths) => paths
                .iter()
                .any(|path| path.first() == Some(&Segment::Field(name.to_owned()))),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::All(part) => part.as_object().is_none_or(Map::is_empty),
            Self::These(paths) => paths.is_empty(),
        }
    }
}

/// The fields of an object that an apply may set: the status alone through that subresource, all
/// else through the main resource.
fn applied_part(object: &Value, subresource: &str) -> Value {
    let mut part = Map::new();
    let fields = object.as_object().into_iter().flatten();
    if subresource == "status" {
        part.extend(
            fields
                .filter(|(k, _)| *k == "status")
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        return Value::Object(part);
    }
    for (name, value) in fields {
        match name.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                let kept = ["labels", "annotations", "finalizers", "ownerReferences"];
                let metadata = value.as_object().into_iter().flatten();
                let kept = metadata.filter(|(k, _)| kept.contains(&k.as_str()));
                let kept: Map<String, Value> = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
                if !kept.is_empty() {
                    part.insert(name.clone(), Value::Object(kept));
                }
            }
            _ => drop(part.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(part)
}

/// Schema of a field. Fields that no schema describes merge like plain JSON: objects field by
/// field, lists as a whole.
fn field_of<'a>(schema: &'a Value, name: &str) -> &'a Value {
    match &schema["properties"][name] {
        Value::Null => &schema["additionalProperties"],
        found => found,
    }
}

fn is_atomic(schema: &Value) -> bool {
    schema["x-kubernetes-map-type"] == "atomic"
}

/// The keys that identify the items of a list.
fn keys_of(schema: &Value) -> Option<Vec<&str>> {
    if schema["x-kubernetes-list-type"] != "map" {
        return None;
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
    keys.iter().map(Value::as_str).collect()
}

fn key_of(item: &Value, keys: &[&str]) -> BTreeMap<String, String> {
    keys.iter()
        .map(|key| ((*key).to_owned(), item[*key].to_string()))
        .collect()
}

fn with(path: &Path, segment: Segment) -> Path {
    let mut path = path.clone();
    path.push(segment);
    path
}

/// The leaves of a value: scalars, atomic lists and maps, empty maps, and the items of keyed lists
/// as such.
pub fn leaves(value: &Value, schema: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    collect(value, schema, &Path::new(), &mut found);
    found
}

fn collect(value: &Value, schema: &Value, path: &Path, found: &mut BTreeSet<Path>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_atomic(schema) => {
            for (name, value) in fields {
                let field = field_of(schema, name);
                collect(
                    value,
                    field,
                    &with(path, Segment::Field(name.clone())),
                    found,
                );
            }
        }
        Value::Array(items) => match keys_of(schema) {
            Some(keys) => {
                for item in items {
                    let path = with(path, Segment::Item(key_of(item, &keys)));
                    found.insert(path.clone());
                    collect(item, &schema["items"], &path, found);
                }
            }
            None => drop(found.insert(path.clone())),
        },
        _ => drop(found.insert(path.clone())),
    }
}

fn get<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(value);
    };
    let next = match first {
        Segment::Field(name) => value.get(name)?,
        Segment::Item(key) => value.as_array()?.iter().find(|item| has_key(item, key))?,
    };
    get(next, rest)
}

fn has_key(item: &Value, key: &BTreeMap<String, String>) -> bool {
    key.iter().all(|(name, value)| {
        let json = item[name.as_str()].to_string();
        json == *value
    })
}

/// Removes a field, and the objects that are empty then.
fn remove(value: &mut Value, path: &[Segment]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match (first, value) {
        (Segment::Field(name), Value::Object(fields)) => {
            if rest.is_empty() {
                fields.remove(name);
            } else if let Some(next) = fields.get_mut(name) {
                remove(next, rest);
                if next.as_object().is_some_and(Map::is_empty)
                    || next.as_array().is_some_and(Vec::is_empty)
                {
                    fields.remove(name);
                }
            }
        }
        (Segment::Item(key), Value::Array(items)) => {
            if rest.is_empty() {
                items.retain(|item| !has_key(item, key));
            } else if let Some(next) = items.iter_mut().find(|item| has_key(item, key)) {
                remove(next, rest);
            }
        }
        _ => {}
    }
}

fn merge(live: &mut Value, applied: &Value, schema: &Value) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !is_atomic(schema) => {
            for (name, value) in applied {
                match live.get_mut(name) {
                    Some(existing) => merge(existing, value, field_of(schema, name)),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) if keys_of(schema).is_some() => {
            let keys = keys_of(schema).unwrap_or_default();
            for item in applied {
                let key = key_of(item, &keys);
                match live.iter_mut().find(|existing| has_key(existing, &key)) {
                    Some(existing) => merge(existing, item, &schema["items"]),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, applied) => *live = applied.clone(),
    }
}

/// Applies a configuration to an object. Returns the object as it is then, or who owns which field
/// with another value.
pub fn apply(
    live: &Value,
    managers: &mut Managers,
    configuration: &Value,
    manager: &Manager,
    force: bool,
    schema: &Value,
) -> Result<Value, Vec<String>> {
    let part = applied_part(configuration, &manager.1);
    let names = |part: &Value| -> Vec<String> {
        let names = part.as_object().into_iter().flatten();
        names.map(|(name, _)| name.clone()).collect()
    };
    let mut touched = names(&part);
    if let Some(Owned::All(before)) = managers.get(manager) {
        touched.extend(names(before));
    }
    let alone = managers
        .iter()
        .all(|(other, owned)| other == manager || !touched.iter().any(|name| owned.is_below(name)));
    if let (true, Some(Owned::All(_)) | None) = (alone, managers.get(manager)) {
        // No other manager has written there: the object is what was applied.
        let before = managers.insert(manager.clone(), Owned::All(Arc::new(part.clone())));
        let mut merged = live.clone();
        if let Some(Owned::All(before)) = before {
            for (name, _) in before.as_object().into_iter().flatten() {
                merged.as_object_mut().unwrap().remove(name);
            }
        }
        for (name, value) in part.as_object().into_iter().flatten() {
            match merged.get_mut(name) {
                Some(existing) => merge(existing, value, field_of(schema, name)),
                None => merged[name] = value.clone(),
            }
        }
        return Ok(merged);
    }
    let owned = leaves(&part, schema);
    let mut conflicts = Vec::new();
    for (other, fields) in managers.iter_mut().filter(|(other, _)| *other != manager) {
        let fields = fields.paths(schema);
        let contested: Vec<Path> = fields
            .intersection(&owned)
            .filter(|path| get(live, path) != get(&part, path))
            .cloned()
            .collect();
        for path in contested {
            // An item of a list is there for both; its fields are what they may differ in.
            if matches!(path.last(), Some(Segment::Item(_))) {
                continue;
            }
            if force {
                fields.remove(&path);
            } else {
                conflicts.push(format!("conflict with \"{}\": {path:?}", other.0));
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let mut merged = live.clone();
    merge(&mut merged, &part, schema);
    let before = managers.insert(manager.clone(), Owned::These(owned.clone()));
    let before = before.map(|mut before| std::mem::take(before.paths(schema)));
    // An item goes before its fields, by which it is found.
    for path in before.unwrap_or_default().difference(&owned) {
        if !managers
            .values_mut()
            .any(|fields| fields.paths(schema).contains(path))
        {
            remove(&mut merged, path);
        }
    }
    managers.retain(|_, fields| !fields.is_empty());
    Ok(merged)
}

/// Notes who owns the fields that an update has changed.
pub fn update(
    before: &Value,
    after: &Value,
    managers: &mut Managers,
    manager: &Manager,
    schema: &Value,
) {
    let part = |object| {
        let status = applied_part(object, "status");
        let mut part = applied_part(object, "");
        if let (Value::Object(part), Value::Object(status)) = (&mut part, status) {
            part.extend(status);
        }
        part
    };
    let (before, after) = (part(before), part(after));
    if managers.is_empty() {
        managers.insert(manager.clone(), Owned::All(Arc::new(after)));
        return;
    }
    let now = leaves(&after, schema);
    let changed: BTreeSet<Path> = now
        .iter()
        .filter(|path| get(&before, path) != get(&after, path))
        .cloned()
        .collect();
    for fields in managers.values_mut() {
        fields
            .paths(schema)
            .retain(|path| now.contains(path) && !changed.contains(path));
    }
    let own = managers
        .entry(manager.clone())
        .or_insert(Owned::These(BTreeSet::new()));
    own.paths(schema).extend(changed);
    managers.retain(|_, fields| !fields.is_empty());
}
