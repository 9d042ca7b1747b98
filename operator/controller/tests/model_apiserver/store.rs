//! Objects, their versions, and what may be done to them.

use jiff::Timestamp;
use kube::Resource;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::{self, Manager, Managers};
use super::kinds::{self, Kind};

/// Kind, namespace and name of an object. Objects without a namespace have an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Plural name of the kind.
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            plural: plural.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// A change of an object, as watches send it.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    pub old: Option<Arc<Value>>,
    pub new: Option<Arc<Value>>,
}

/// The refusal of a request.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub causes: Vec<Value>,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            causes: Vec::new(),
        }
    }

    fn not_found(key: &Key) -> Self {
        let message = format!("{} {:?} not found", key.plural, key.name);
        Self::new(404, "NotFound", message)
    }

    fn conflict(key: &Key, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {:?}: {why}",
            key.plural, key.name
        );
        Self::new(409, "Conflict", message)
    }

    fn invalid(key: &Key, why: &str) -> Self {
        let message = format!("{} {:?} is invalid: {why}", key.plural, key.name);
        Self::new(422, "Invalid", message)
    }
}

/// The server's answer to a refused or a completed request.
pub type Answer = Result<Value, Refusal>;

/// A way to write an object.
pub enum Write {
    /// The whole object.
    Update(Value),
    /// RFC 7386.
    Merge(Value),
    /// Server-side apply, with or without force.
    Apply(Value, bool),
}

/// The preconditions of a delete.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub version: Option<String>,
    pub grace: Option<i64>,
}

struct Entry {
    object: Arc<Value>,
    managers: Managers,
}

/// The objects.
pub struct Store {
    kinds: BTreeMap<String, Arc<Kind>>,
    objects: BTreeMap<Key, Entry>,
    version: u64,
    changes: Vec<Change>,
    compacted: u64,
    uids: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        let kinds = kinds::built_in();
        Self {
            kinds: kinds
                .into_iter()
                .map(|kind| (kind.plural.clone(), Arc::new(kind)))
                .collect(),
            objects: BTreeMap::new(),
            // Earlier changes are forgotten already.
            version: 1_000,
            changes: Vec::new(),
            compacted: 1_000,
            uids: 0,
        }
    }

    pub(super) fn define(&mut self, kind: Kind) {
        self.kinds.insert(kind.plural.clone(), Arc::new(kind));
    }

    pub(super) fn kind(&self, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.get(plural)
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(super) fn compact(&mut self) {
        // They are kept as an audit log would: no watch gets them any more.
        self.compacted = self.version;
    }

    /// Changes after a version.
    pub fn changes_after(&self, version: u64) -> &[Change] {
        let first = self
            .changes
            .partition_point(|change| change.version <= version);
        &self.changes[first..]
    }

    /// An object as it is stored.
    pub fn read(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key).map(|entry| &entry.object)
    }

    /// The objects of a kind, in the order of their namespaces and names; in one namespace or in
    /// all.
    pub fn of<'a>(
        &'a self,
        plural: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.objects
            .range(Key::new(plural, namespace, "")..)
            .take_while(move |(key, _)| {
                key.plural == plural && (namespace.is_empty() || key.namespace == namespace)
            })
            .map(|(key, entry)| (key, &entry.object))
    }

    /// The keys of all objects in a namespace.
    pub fn contents(&self, namespace: &str) -> Vec<Key> {
        let all = self.objects.keys();
        all.filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// An object of this type.
    pub fn object<K: Resource<DynamicType = ()>>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Value> {
        let key = Key::new(&K::plural(&()), namespace, name);
        self.read(&key).map(|object| object.as_ref().clone())
    }

    /// All objects of a kind.
    pub fn objects(&self, plural: &str) -> Vec<Value> {
        self.of(plural, "")
            .map(|(_, object)| object.as_ref().clone())
            .collect()
    }

    /// Puts an object in place as it is.
    pub fn seed(&mut self, mut object: Value) {
        let name = object["kind"].as_str().unwrap_or_default();
        let kind = self.kinds.values().find(|kind| kind.kind == name);
        let kind = kind
            .unwrap_or_else(|| panic!("the model has no kind {name:?}"))
            .clone();
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let key = Key::new(&kind.plural, &text("namespace"), &text("name"));
        let defaults = [
            ("uid", json!(self.next_uid())),
            ("creationTimestamp", json!(now())),
            ("generation", json!(1)),
        ];
        for (field, value) in defaults {
            if object["metadata"][field].is_null() {
                object["metadata"][field] = value;
            }
        }
        self.put(&key, Some(object), Managers::new());
    }

    fn next_uid(&mut self) -> String {
        self.uids += 1;
        let n = self.uids;
        // The first eight digits differ, since names are made from them.
        format!(
            "{:08x}-{:04x}-4000-8000-{n:012x}",
            n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff,
            n & 0xffff
        )
    }

    /// Stores an object under a new version, or removes it. Returns it as watches send it.
    fn put(&mut self, key: &Key, object: Option<Value>, managers: Managers) -> Arc<Value> {
        self.version += 1;
        let version = json!(self.version.to_string());
        let old = self.objects.get(key).map(|entry| Arc::clone(&entry.object));
        let (new, told) = match object {
            Some(mut object) => {
                object["metadata"]["resourceVersion"] = version;
                let object = Arc::new(object);
                let entry = Entry {
                    object: Arc::clone(&object),
                    managers,
                };
                self.objects.insert(key.clone(), entry);
                (Some(Arc::clone(&object)), object)
            }
            None => {
                self.objects.remove(key);
                let mut last = old.as_deref().cloned().unwrap_or_default();
                last["metadata"]["resourceVersion"] = version;
                (None, Arc::new(last))
            }
        };
        // A deletion has the version at which it happened.
        let old = if new.is_none() {
            Some(Arc::clone(&told))
        } else {
            old
        };
        self.changes.push(Change {
            version: self.version,
            key: key.clone(),
            old,
            new,
        });
        told
    }

    /// Creates an object.
    pub fn create(
        &mut self,
        plural: &str,
        namespace: &str,
        mut object: Value,
        manager: &str,
    ) -> Answer {
        let kind = self.kinds[plural].clone();
        if object["metadata"]["name"].is_null()
            && let Some(prefix) = object["metadata"]["generateName"].as_str()
        {
            let name = format!("{prefix}{:05x}", self.version + 1);
            object["metadata"]["name"] = json!(name);
        }
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let key = Key::new(plural, namespace, &name);
        self.admit(&kind, &key)?;
        if !is_name(&name) {
            return Err(Refusal::invalid(
                &key,
                "metadata.name: Invalid value: not a lowercase RFC 1123 subdomain",
            ));
        }
        if object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|v| !v.is_empty())
        {
            return Err(Refusal::new(
                400,
                "BadRequest",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        if self.objects.contains_key(&key) {
            let message = format!("{plural} {name:?} already exists");
            return Err(Refusal::new(409, "AlreadyExists", message));
        }
        let uid = self.next_uid();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
        ] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(now()));
        if kind.generation {
            metadata.insert("generation".into(), json!(1));
        }
        if kind.namespaced {
            metadata.insert("namespace".into(), json!(namespace));
        }
        if kind.status {
            object.as_object_mut().unwrap().remove("status");
        }
        match plural {
            "pods" => object["status"] = json!({"phase": "Pending"}),
            "namespaces" => object["status"] = json!({"phase": "Active"}),
            "persistentvolumeclaims" => {
                object["status"] = json!({"phase": "Pending"});
                // Admission plugin StorageObjectInUseProtection.
                object["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
            }
            "resourcequotas" => object["status"] = json!({"hard": object["spec"]["hard"]}),
            _ => {}
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        let mut managers = Managers::new();
        if kind.is_custom() {
            let manager = (manager.to_owned(), String::new(), false);
            apply::update(&json!({}), &object, &mut managers, &manager, &kind.schema);
        }
        Ok(self.put(&key, Some(object), managers).as_ref().clone())
    }

    /// Refuses an object that its namespace does not take.
    fn admit(&self, kind: &Kind, key: &Key) -> Result<(), Refusal> {
        if !kind.namespaced {
            return Ok(());
        }
        let namespace = Key::new("namespaces", "", &key.namespace);
        let Some(found) = self.read(&namespace) else {
            return Err(Refusal::not_found(&namespace));
        };
        let Key { plural, name, .. } = key;
        let forbidden = format!("{plural} {name:?} is forbidden");
        if found["status"]["phase"] == "Terminating" {
            let message = format!(
                "{forbidden}: unable to create new content in namespace {} because it is being terminated",
                key.namespace
            );
            return Err(Refusal {
                causes: vec![
                    json!({"reason": "NamespaceTerminating", "field": "metadata.namespace"}),
                ],
                ..Refusal::new(403, "Forbidden", message)
            });
        }
        let used = self.of(plural, &key.namespace).count();
        for (quota, object) in self.of("resourcequotas", &key.namespace) {
            let hard = &object["spec"]["hard"];
            let limit = [plural.clone(), format!("count/{plural}")]
                .iter()
                .find_map(|resource| hard[resource.as_str()].as_str()?.parse::<usize>().ok());
            if limit.is_some_and(|limit| used >= limit) {
                let message = format!(
                    "{forbidden}: exceeded quota: {}, requested: {plural}=1, used: {plural}={used}",
                    quota.name
                );
                return Err(Refusal::new(403, "Forbidden", message));
            }
        }
        Ok(())
    }

    /// Writes an object or its status.
    pub fn write(&mut self, key: &Key, subresource: &str, manager: &str, write: Write) -> Answer {
        let kind = self.kinds[&key.plural].clone();
        let Some(entry) = self.objects.get(key) else {
            return match write {
                Write::Apply(object, _) if subresource.is_empty() => {
                    self.create_by_apply(&kind, key, object, manager)
                }
                Write::Apply(..) | Write::Update(_) | Write::Merge(_) => {
                    Err(Refusal::not_found(key))
                }
            };
        };
        let (old, mut managers) = (Arc::clone(&entry.object), entry.managers.clone());
        let is_apply = matches!(write, Write::Apply(..));
        let writer: Manager = (manager.to_owned(), subresource.to_owned(), is_apply);
        let (demanded, wanted) = match write {
            Write::Update(object) => (object["metadata"].clone(), object),
            Write::Merge(patch) => {
                let mut object = old.as_ref().clone();
                merge_patch(&mut object, &patch);
                (patch["metadata"].clone(), object)
            }
            Write::Apply(configuration, force) => {
                if !kind.is_custom() {
                    return Err(Refusal::new(
                        415,
                        "UnsupportedMediaType",
                        "the model applies to custom resources alone",
                    ));
                }
                let metadata = configuration["metadata"].clone();
                let applied = apply::apply(
                    &old,
                    &mut managers,
                    &configuration,
                    &writer,
                    force,
                    &kind.schema,
                );
                let object = applied.map_err(|conflicts| Refusal {
                    causes: conflicts
                        .iter()
                        .map(|c| json!({"reason": "FieldManagerConflict", "message": c}))
                        .collect(),
                    ..Refusal::new(
                        409,
                        "Conflict",
                        format!("Apply failed with {} conflicts", conflicts.len()),
                    )
                })?;
                (metadata, object)
            }
        };
        // An object that comes without a version is written even if it has changed meanwhile.
        let version = &old["metadata"]["resourceVersion"];
        if demanded["resourceVersion"]
            .as_str()
            .is_some_and(|v| !v.is_empty() && json!(v) != *version)
        {
            return Err(Refusal::conflict(
                key,
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        // A write of the status leaves all metadata as it is.
        if subresource.is_empty()
            && demanded["uid"]
                .as_str()
                .is_some_and(|uid| json!(uid) != old["metadata"]["uid"])
        {
            return Err(Refusal::invalid(
                key,
                "metadata.uid: Invalid value: field is immutable",
            ));
        }
        let new = separate(&kind, &old, wanted, subresource);
        check(key, &old, &new)?;
        if !is_apply && kind.is_custom() {
            apply::update(&old, &new, &mut managers, &writer, &kind.schema);
        }
        let owned = self.objects.get(key).map(|entry| &entry.managers);
        if new == *old && owned == Some(&managers) {
            return Ok(new);
        }
        let mut new = new;
        if kind.generation && differs(&old, &new) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        if is_released(&new) {
            let last = self.put(key, Some(new), managers);
            self.put(key, None, Managers::new());
            return Ok(last.as_ref().clone());
        }
        Ok(self.put(key, Some(new), managers).as_ref().clone())
    }

    fn create_by_apply(&mut self, kind: &Kind, key: &Key, object: Value, manager: &str) -> Answer {
        if object["metadata"]["uid"].is_string() {
            return Err(Refusal::conflict(
                key,
                "uid mismatch: the provided object specified a uid, and no existing object was found",
            ));
        }
        let created = self.create(&key.plural, &key.namespace, object.clone(), manager)?;
        let writer = (manager.to_owned(), String::new(), true);
        if let Some(entry) = self.objects.get_mut(key) {
            entry.managers.clear();
            // What was just created is what was applied.
            let _ = apply::apply(
                &created,
                &mut entry.managers,
                &object,
                &writer,
                true,
                &kind.schema,
            );
        }
        Ok(created)
    }

    /// Deletes an object, or marks it as deleted while a finalizer or its grace period holds it.
    /// Returns it then.
    pub fn delete(
        &mut self,
        key: &Key,
        demanded: &Preconditions,
    ) -> Result<Option<Value>, Refusal> {
        let Some(old) = self.read(key).cloned() else {
            return Err(Refusal::not_found(key));
        };
        let metadata = &old["metadata"];
        let uid = &metadata["uid"];
        if let Some(wanted) = demanded.uid.as_ref().filter(|wanted| json!(wanted) != *uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            );
            return Err(Refusal::conflict(key, &why));
        }
        let version = &metadata["resourceVersion"];
        if demanded
            .version
            .as_ref()
            .is_some_and(|wanted| json!(wanted) != *version)
        {
            return Err(Refusal::conflict(
                key,
                "Precondition failed: resourceVersion",
            ));
        }
        let managers = self.objects[key].managers.clone();
        let mut object = old.as_ref().clone();
        let grace = match key.plural.as_str() {
            // A pod that no kubelet has ends at once.
            "pods" if old["spec"]["nodeName"].is_string() => {
                let own = old["spec"]["terminationGracePeriodSeconds"].as_i64();
                demanded.grace.or(own).unwrap_or(30)
            }
            _ => 0,
        };
        let held = metadata["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        let held = held || grace > 0 || key.plural == "namespaces";
        if !held {
            self.put(key, None, Managers::new());
            return Ok((key.plural == "pods").then_some(object));
        }
        if metadata["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            if key.plural == "namespaces" {
                object["status"]["phase"] = json!("Terminating");
            }
            object = self.put(key, Some(object), managers).as_ref().clone();
        }
        Ok(Some(object))
    }

    /// Changes an object as a controller of Kubernetes does, past all checks. A deleted one that
    /// nothing holds any more goes.
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let Some(entry) = self.objects.get(key) else {
            return;
        };
        let (old, managers) = (Arc::clone(&entry.object), entry.managers.clone());
        let mut object = old.as_ref().clone();
        change(&mut object);
        if object != *old {
            self.put(key, Some(object), managers);
        }
    }

    /// Removes an object past all checks, as a kubelet does with a pod that has ended.
    pub fn remove(&mut self, key: &Key) {
        if self.objects.contains_key(key) {
            self.put(key, None, Managers::new());
        }
    }
}

/// The time as metadata has it: whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let inner = part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// Returns the part of a write that counts: the status through its subresource alone, and never
/// what the server itself says of an object.
fn separate(kind: &Kind, old: &Value, wanted: Value, subresource: &str) -> Value {
    let mut new = if subresource == "status" {
        let mut new = old.clone();
        new["status"] = wanted["status"].clone();
        if new["status"].is_null() {
            new.as_object_mut().unwrap().remove("status");
        }
        new
    } else {
        let mut new = wanted;
        if kind.status {
            match old.get("status") {
                Some(status) => new["status"] = status.clone(),
                None => drop(new.as_object_mut().unwrap().remove("status")),
            }
        }
        new
    };
    for field in [
        "uid",
        "name",
        "namespace",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        let metadata = new["metadata"].as_object_mut().unwrap();
        match old["metadata"].get(field) {
            Some(value) => drop(metadata.insert(field.into(), value.clone())),
            None => drop(metadata.remove(field)),
        }
    }
    // An empty list is none.
    let metadata = new["metadata"].as_object_mut().unwrap();
    metadata.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
    new["apiVersion"] = old["apiVersion"].clone();
    new["kind"] = old["kind"].clone();
    new
}

fn check(key: &Key, old: &Value, new: &Value) -> Result<(), Refusal> {
    let finalizers = |object: &Value| {
        let all = object["metadata"]["finalizers"].as_array().cloned();
        all.unwrap_or_default()
    };
    let had = finalizers(old);
    if old["metadata"]["deletionTimestamp"].is_string()
        && finalizers(new)
            .iter()
            .any(|finalizer| !had.contains(finalizer))
    {
        return Err(Refusal::invalid(
            key,
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
        ));
    }
    let immutable = old["immutable"] == true;
    if immutable
        && ["data", "binaryData", "immutable"]
            .iter()
            .any(|field| old[*field] != new[*field])
    {
        return Err(Refusal::invalid(
            key,
            "data: Forbidden: field is immutable when `immutable` is set",
        ));
    }
    Ok(())
}

/// Returns true if the objects differ in more than metadata and status.
fn differs(old: &Value, new: &Value) -> bool {
    let fields = |object: &Value| {
        let mut object = object.clone();
        for field in ["metadata", "status"] {
            object.as_object_mut().unwrap().remove(field);
        }
        object
    };
    fields(old) != fields(new)
}

/// Returns true if an object is deleted and nothing holds it any more.
fn is_released(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let grace = metadata["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or_default();
    let finalizers = metadata["finalizers"]
        .as_array()
        .is_some_and(|f| !f.is_empty());
    metadata["deletionTimestamp"].is_string()
        && grace == 0
        && !finalizers
        && object["kind"] != "Namespace"
}

/// RFC 7386.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge_patch(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
