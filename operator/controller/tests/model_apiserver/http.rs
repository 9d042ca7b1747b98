//! From HTTP requests to the store, and back.

use futures::stream::{self, BoxStream, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tower::BoxError;

use super::faults::{Call, Effect};
use super::kinds::Kind;
use super::store::{Change, Key, Preconditions, Refusal, Write};
use super::{Model, Sender, Session, State, never};

/// Body of an answer.
pub type Stream = UnsyncBoxBody<Bytes, BoxError>;

/// A request, read.
struct Asked {
    method: Method,
    plural: String,
    /// The group that was asked: events are served by two.
    group: String,
    namespace: String,
    name: String,
    subresource: String,
    query: BTreeMap<String, String>,
    metadata_only: bool,
    content: String,
    body: Value,
}

impl Asked {
    fn key(&self) -> Key {
        Key::new(&self.plural, &self.namespace, &self.name)
    }

    fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn verb(&self) -> &'static str {
        let watches = ["true", "1"].contains(&self.query("watch"));
        match (&self.method, self.name.is_empty()) {
            (&Method::GET, true) if watches => "watch",
            (&Method::GET, true) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) if self.content.contains("apply-patch") => "apply",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, _) => "delete",
            _ => "get",
        }
    }

    fn call(&self) -> Call {
        let named = self.body["metadata"]["name"].as_str();
        let name = if self.name.is_empty() {
            named.unwrap_or_default()
        } else {
            &self.name
        };
        Call {
            verb: self.verb(),
            plural: self.plural.clone(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: self.subresource.clone(),
            write: None,
            answer: None,
            committed: false,
        }
    }
}

/// Bytes of an object that etcd takes by default.
const OBJECT_LIMIT: usize = 3 << 19;

/// Reads path, query and headers: `/api/v1/…` or `/apis/group/version/…`.
async fn read(request: Request<Body>) -> Result<Asked, Refusal> {
    let (parts, body) = request.into_parts();
    let missing = || {
        Refusal::new(
            404,
            "NotFound",
            format!("the server could not find {}", parts.uri.path()),
        )
    };
    let bad = |e: &dyn std::fmt::Display| Refusal::new(400, "BadRequest", e.to_string());
    let mut path = parts.uri.path().split('/').filter(|part| !part.is_empty());
    let group = match path.next() {
        Some("api") => "",
        Some("apis") => path.next().ok_or_else(missing)?,
        _ => return Err(missing()),
    };
    let _version = path.next().ok_or_else(missing)?;
    let mut rest: Vec<&str> = path.collect();
    let mut namespace = "";
    if rest.len() > 2 && rest[0] == "namespaces" && rest[2] != "status" && rest[2] != "finalize" {
        namespace = rest[1];
        rest.drain(..2);
    }
    let header = |name| {
        let value = parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query = query.into_owned().collect();
    let bytes = body.collect_bytes().await.map_err(|e| bad(&e))?;
    if bytes.len() > OBJECT_LIMIT {
        let message = "etcdserver: request is too large";
        return Err(Refusal::new(500, "", message));
    }
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).map_err(|e| bad(&e))?,
    };
    let at = |place: usize| rest.get(place).copied().unwrap_or_default().to_owned();
    Ok(Asked {
        plural: at(0),
        group: group.into(),
        namespace: namespace.into(),
        name: at(1),
        subresource: at(2),
        query,
        metadata_only: header("accept").contains("as=PartialObjectMetadata"),
        content: header("content-type"),
        method: parts.method,
        body,
    })
}

/// Answers a request, with the faults that meet it.
pub(super) async fn answer(
    model: Model,
    session: Arc<Session>,
    request: Request<Body>,
) -> Result<Response<Stream>, BoxError> {
    if session.is_dead() {
        match never().await? {}
    }
    let asked = match read(request).await {
        Ok(asked) => asked,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let (place, mut effect) = match session.sender {
        Sender::User => (None, None),
        Sender::Operator => {
            let (place, effect) = model.lock().faults.meet(asked.call());
            (Some(place), effect)
        }
    };
    let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
    let kill = |model: &Model| {
        session.kill();
        model.shared.killed.notify_one();
    };
    let before = effect.take_if(|effect| {
        matches!(
            effect,
            Effect::Refuse(_)
                | Effect::LoseRequest
                | Effect::Hang
                | Effect::KillBefore
                | Effect::First(_)
        )
    });
    match before {
        Some(Effect::Refuse(refusal)) => {
            ended(&model, place, false, Some(refusal.code));
            return Ok(refused(&refusal));
        }
        Some(Effect::LoseRequest) => return broken(),
        Some(Effect::Hang) => match never().await? {},
        Some(Effect::KillBefore) => {
            kill(&model);
            match never().await? {}
        }
        Some(Effect::First(first)) => first(&mut model.state()),
        _ => {}
    }
    if asked.verb() == "watch" {
        return Ok(watching(&model, &session, asked));
    }
    let repeated = match effect {
        Some(Effect::Repeat) => carry_out(&mut model.state(), &asked).is_ok(),
        _ => false,
    };
    let (response, committed) = match carry_out(&mut model.state(), &asked) {
        Ok(response) => (response, true),
        Err(refusal) => (refused(&refusal), repeated),
    };
    let code = response.status().as_u16();
    match effect {
        Some(Effect::RefuseAfter(refusal)) => {
            ended(&model, place, committed, Some(refusal.code));
            return Ok(refused(&refusal));
        }
        Some(Effect::LoseAnswer) => {
            ended(&model, place, committed, None);
            return broken();
        }
        Some(Effect::HangAfter) => {
            ended(&model, place, committed, None);
            match never().await? {}
        }
        Some(Effect::KillAfter) => {
            ended(&model, place, committed, None);
            kill(&model);
            match never().await? {}
        }
        _ => ended(&model, place, committed, Some(code)),
    }
    Ok(response)
}

fn ended(model: &Model, place: Option<usize>, committed: bool, answer: Option<u16>) {
    if let Some(place) = place {
        model.lock().faults.ended(place, committed, answer);
        // Tests wait for requests, too.
        model.shared.changed.send_modify(|turn| *turn += 1);
    }
}

fn response(code: u16, content: &str, body: impl Into<Bytes>) -> Response<Stream> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let content = content.parse().unwrap();
    response.headers_mut().insert("content-type", content);
    response
}

fn json_response(code: u16, body: &Value) -> Response<Stream> {
    response(code, "application/json", body.to_string())
}

fn status(refusal: &Refusal) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": refusal.message, "reason": refusal.reason, "code": refusal.code,
        "details": {"causes": refusal.causes},
    })
}

fn refused(refusal: &Refusal) -> Response<Stream> {
    json_response(refusal.code, &status(refusal))
}

/// An object as it was asked for: whole, or its metadata.
fn shown(asked: &Asked, kind: &Kind, object: &Value) -> Value {
    if asked.metadata_only {
        return json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        });
    }
    let mut object = object.clone();
    if kind.plural == "events" && asked.group.is_empty() {
        // The same events as the older group has them.
        object["apiVersion"] = json!("v1");
        object["involvedObject"] = object["regarding"].clone();
        object["message"] = object["note"].clone();
    }
    object
}

fn carry_out(state: &mut State, asked: &Asked) -> Result<Response<Stream>, Refusal> {
    let missing = || {
        Refusal::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    };
    let kind = state
        .store
        .kind(&asked.plural)
        .cloned()
        .ok_or_else(missing)?;
    let other_group = kind.group != asked.group && kind.plural != "events";
    if other_group || (asked.subresource == "status" && !kind.status) {
        return Err(missing());
    }
    let key = asked.key();
    let manager = match asked.query("fieldManager") {
        "" => "unknown",
        manager => manager,
    };
    let subresource = asked.subresource.as_str();
    match (asked.verb(), subresource) {
        ("get", "log") => {
            let log = state
                .pods
                .log(&state.store, &key, asked.query("container"))?;
            Ok(response(200, "text/plain", log))
        }
        ("get", "" | "status") => {
            let object = state.store.read(&key).ok_or_else(|| not_found(&key))?;
            Ok(json_response(200, &shown(asked, &kind, object)))
        }
        ("list", "") => list(state, asked, &kind),
        ("create", "") => {
            let object = asked.body.clone();
            let created = state
                .store
                .create(&key.plural, &key.namespace, object, manager)?;
            Ok(json_response(201, &shown(asked, &kind, &created)))
        }
        (verb @ ("update" | "patch" | "apply"), "" | "status") => {
            let body = asked.body.clone();
            let write = match (verb, asked.content.as_str()) {
                ("update", _) => Write::Update(body),
                ("apply", _) if asked.query("fieldManager").is_empty() => {
                    let why = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                    return Err(Refusal::new(422, "Invalid", why));
                }
                ("apply", _) => Write::Apply(body, asked.query("force") == "true"),
                (_, "application/merge-patch+json") => Write::Merge(body),
                (_, other) => {
                    let why = format!("the model does not know patches of type {other}");
                    return Err(Refusal::new(415, "UnsupportedMediaType", why));
                }
            };
            let written = state.store.write(&key, subresource, manager, write)?;
            Ok(json_response(200, &shown(asked, &kind, &written)))
        }
        ("delete", "") => {
            let demanded = &asked.body["preconditions"];
            let text = |field: &str| demanded[field].as_str().map(str::to_owned);
            let preconditions = Preconditions {
                uid: text("uid"),
                version: text("resourceVersion"),
                grace: asked.body["gracePeriodSeconds"].as_i64(),
            };
            Ok(match state.store.delete(&key, &preconditions)? {
                Some(object) => json_response(200, &shown(asked, &kind, &object)),
                None => json_response(
                    200,
                    &json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                        "details": {"name": key.name, "group": kind.group, "kind": key.plural},
                    }),
                ),
            })
        }
        (verb, subresource) => {
            let why = format!("the model does not {verb} {subresource}");
            Err(Refusal::new(405, "MethodNotAllowed", why))
        }
    }
}

fn not_found(key: &Key) -> Refusal {
    let message = format!("{} {:?} not found", key.plural, key.name);
    Refusal::new(404, "NotFound", message)
}

fn expired() -> Refusal {
    Refusal::new(
        410,
        "Expired",
        "The resourceVersion for the provided watch is too old.",
    )
}

/// A page of objects. A continued list starts behind its last object.
fn list(state: &State, asked: &Asked, kind: &Kind) -> Result<Response<Stream>, Refusal> {
    let store = &state.store;
    let limit = asked.query("limit").parse().unwrap_or(usize::MAX);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut version = store.version();
    let mut last = None;
    if let [began, namespace, name] = *asked.query("continue").split(' ').collect::<Vec<_>>() {
        version = began.parse().unwrap_or_default();
        if version < store.compacted() {
            return Err(expired());
        }
        last = Some(Key::new(&asked.plural, namespace, name));
    }
    let mut found = store
        .of(&asked.plural, &asked.namespace)
        .filter(|(key, object)| {
            last.as_ref().is_none_or(|last| *key > last) && selected(asked, object)
        });
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let more = match (page.last(), found.next()) {
        (Some((key, _)), Some(_)) => format!("{version} {} {}", key.namespace, key.name),
        _ => String::new(),
    };
    let items: Vec<Value> = page
        .iter()
        .map(|(_, object)| shown(asked, kind, object))
        .collect();
    let (list, api_version) = if asked.metadata_only {
        (
            "PartialObjectMetadataList".to_owned(),
            "meta.k8s.io/v1".to_owned(),
        )
    } else {
        (format!("{}List", kind.kind), kind.api_version())
    };
    Ok(json_response(
        200,
        &json!({
            "kind": list, "apiVersion": api_version,
            "metadata": {"resourceVersion": version.to_string(), "continue": more},
            "items": items,
        }),
    ))
}

/// Returns true if the selectors of a request choose an object.
fn selected(asked: &Asked, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    let has = |requirement: &str| {
        if let Some((key, value)) = requirement.split_once("!=") {
            return labels[key] != value;
        }
        match requirement.split_once('=') {
            Some((key, value)) => labels[key] == value.trim_start_matches('='),
            None => match requirement.strip_prefix('!') {
                Some(key) => labels[key].is_null(),
                None => !labels[requirement].is_null(),
            },
        }
    };
    let requirements = asked.query("labelSelector").split(',');
    let fields = asked.query("fieldSelector").split(',');
    requirements.filter(|r| !r.is_empty()).all(has)
        && fields.filter(|f| !f.is_empty()).all(|field| {
            let named = field
                .strip_prefix("metadata.name=")
                .unwrap_or_else(|| panic!("the model does not select by {field}"));
            object["metadata"]["name"] == named
        })
}

/// A watch that is at work.
struct Watch {
    /// Its place among all watches.
    number: u64,
    model: Model,
    session: Arc<Session>,
    asked: Asked,
    kind: Arc<Kind>,
    /// Version of the last change that was delivered.
    version: u64,
    epoch: u64,
    bookmarks: u64,
    changed: watch::Receiver<u64>,
    over: bool,
}

fn watching(model: &Model, session: &Arc<Session>, asked: Asked) -> Response<Stream> {
    let mut state = model.lock();
    let Some(kind) = state.store.kind(&asked.plural).cloned() else {
        return refused(&Refusal::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        ));
    };
    let from = asked.query("resourceVersion");
    let (mut first, mut over) = (Vec::new(), false);
    let version = match from.parse::<u64>() {
        Ok(version) if version > 0 => {
            if version < state.store.compacted() {
                over = true;
                first = line("ERROR", &status(&expired()));
            }
            version
        }
        // From any version: first all objects.
        _ => {
            for (_, object) in state.store.of(&asked.plural, &asked.namespace) {
                if selected(&asked, object) {
                    first.extend(line("ADDED", &shown(&asked, &kind, object)));
                }
            }
            state.store.version()
        }
    };
    state.watches += 1;
    let watch = Watch {
        number: state.watches,
        model: model.clone(),
        session: Arc::clone(session),
        asked,
        kind,
        version,
        epoch: state.epoch,
        bookmarks: state.bookmarks,
        changed: model.shared.changed.subscribe(),
        over,
    };
    drop(state);
    let lines: BoxStream<'static, Vec<u8>> = stream::once(async { first })
        .filter(|first| std::future::ready(!first.is_empty()))
        .chain(stream::unfold(watch, next))
        .boxed();
    let frames = lines.map(|line| Ok::<_, BoxError>(Frame::data(Bytes::from(line))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let content = "application/json;stream=watch".parse().unwrap();
    response.headers_mut().insert("content-type", content);
    response
}

fn line(type_: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({"type": type_, "object": object}).to_string();
    line.push('\n');
    line.into_bytes()
}

/// The next lines of a watch, as soon as there are any.
async fn next(mut watch: Watch) -> Option<(Vec<u8>, Watch)> {
    loop {
        if watch.over {
            return None;
        }
        if watch.session.is_dead() || watch.is_silent() {
            return std::future::pending().await;
        }
        watch.changed.borrow_and_update();
        let lines = watch.lines();
        if !lines.is_empty() {
            return Some((lines, watch));
        }
        if !watch.over {
            watch.changed.changed().await.ok()?;
        }
    }
}

impl Watch {
    fn is_silent(&self) -> bool {
        self.number <= self.model.lock().silent
    }

    fn lines(&mut self) -> Vec<u8> {
        let model = self.model.clone();
        let state = model.lock();
        let mut lines = Vec::new();
        if state.epoch != self.epoch {
            self.over = true;
            return lines;
        }
        if state.held {
            return lines;
        }
        if self.version < state.store.compacted() {
            // It fell behind a compaction while it was held.
            self.over = true;
            return line("ERROR", &status(&expired()));
        }
        for change in state.store.changes_after(self.version) {
            if change.key.plural == self.asked.plural
                && (self.asked.namespace.is_empty() || change.key.namespace == self.asked.namespace)
            {
                lines.extend(self.told(change));
            }
        }
        self.version = state.store.version();
        if state.bookmarks != self.bookmarks {
            self.bookmarks = state.bookmarks;
            if self.asked.query("allowWatchBookmarks") == "true" {
                lines.extend(line(
                    "BOOKMARK",
                    &json!({
                        "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
                        "metadata": {"resourceVersion": self.version.to_string()},
                    }),
                ));
            }
        }
        lines
    }

    /// A change as this watch sees it: what begins to match its selector is added, what ceases to
    /// is deleted.
    fn told(&self, change: &Change) -> Vec<u8> {
        let matching = |object: &Option<Arc<Value>>| {
            let object = object
                .as_ref()
                .filter(|object| selected(&self.asked, object));
            object.cloned()
        };
        let (type_, object) = match (matching(&change.old), matching(&change.new)) {
            (None, Some(new)) => ("ADDED", new),
            (Some(_), Some(new)) => ("MODIFIED", new),
            (Some(old), None) => ("DELETED", old),
            (None, None) => return Vec::new(),
        };
        let mut object = shown(&self.asked, &self.kind, &object);
        object["metadata"]["resourceVersion"] = json!(change.version.to_string());
        line(type_, &object)
    }
}
