//! Completes the document with what holds for every operation.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";

/// What a request may be answered beside its own answers: who is told so, status, description.
const REFUSALS: &[(Told, u16, &str)] = &[
    (Told::WithInput, 400, "Malformed: the `code` says what, `field` where."),
    (Told::All, 401, "`unauthorized`: no valid API key."),
    (
        Told::ToChange,
        403,
        "`insufficient_scope`: the key may not do this; `requiredScope` says more.",
    ),
    (Told::WithIds, 404, "`not_found`: there is no such thing, or it is another tenant's."),
    (Told::ToChangeOne, 412, "`precondition_failed`: somebody else changed it."),
    (Told::WithBody, 413, "`body_too_large`"),
    (Told::WithBody, 415, "`unsupported_media_type`: the body is not declared as JSON."),
    (Told::WithBody, 422, "A field is unknown, missing or can't be used: `field` says which."),
    (
        Told::All,
        429,
        "`rate_limited` or `too_many_connections`: `Retry-After` says when to come back.",
    ),
    (Told::All, 500, "`internal`: the control plane's log says why."),
    (
        Told::All,
        503,
        "`busy` or `timeout`: nothing was changed; `Retry-After` says when to come back.",
    ),
];

#[derive(Clone, Copy)]
enum Told {
    All,
    WithInput,
    WithIds,
    WithBody,
    /// Requests that the least of keys may not send.
    ToChange,
    /// Requests to change one object, on condition of its version.
    ToChangeOne,
}

/// What an operation is about.
struct Subject<'a> {
    path: &'a str,
    method: &'a str,
}

impl Subject<'_> {
    fn is_conditional(&self) -> bool {
        match self.method {
            "patch" | "delete" => self.path.contains("{property}"),
            "post" => self.path.contains("{hostname}"),
            _ => false,
        }
    }

    /// Whether it makes something, once however often it is sent.
    fn is_repeatable(&self) -> bool {
        let makers = ["/api/Property", "/api/Property/{property}/hostname"];
        self.method == "post" && makers.contains(&self.path)
    }

    /// What a key must be allowed. A test holds it to what the routes ask for.
    fn scope(&self) -> &'static str {
        let for_admins = ["/api/Key", "/api/Audit"];
        match (self.method, for_admins.iter().any(|path| self.path.starts_with(path))) {
            (_, true) => "admin",
            ("get", false) => "read",
            (_, false) => "write",
        }
    }

    fn is_told(&self, told: Told, operation: &Map<String, Value>) -> bool {
        let has_body = operation.contains_key("requestBody");
        let given = operation.get("parameters").and_then(Value::as_array);
        let mut given = given.into_iter().flatten().filter_map(|one| one.get("in"));
        match told {
            Told::All => true,
            Told::WithInput => has_body || given.any(|place| place == "query" || place == "header"),
            Told::WithIds => self.path.contains('{'),
            Told::WithBody => has_body,
            Told::ToChange => self.scope() != "read",
            Told::ToChangeOne => self.is_conditional(),
        }
    }
}

/// Completes the document.
pub(super) fn complete(mut document: Value) -> Value {
    refer_to_items(&mut document);
    merge_flattened(&mut document);
    describe_nullable(&mut document);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let Some(operation) = operation.as_object_mut() else { continue };
            name_ids(path, operation);
            if path.starts_with("/api/") {
                guard(&Subject { path, method }, operation);
            }
            tell_problems(operation);
            tag_versions(operation);
        }
    }
    drop_unused(&mut document);
    document
}

/// `{id}` in a path stands for a number.
fn name_ids(path: &str, operation: &mut Map<String, Value>) {
    let names: Vec<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
    let given = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(given) = given.as_array_mut() else { return };
    let missing = names.into_iter().filter(|name| {
        !given.iter().any(|parameter| parameter.get("name").is_some_and(|own| own == name))
    });
    let missing: Vec<Value> = missing
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "description": format!("The {name}'s id."),
                "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX},
                "example": 1,
            })
        })
        .collect();
    given.splice(0..0, missing);
    if given.is_empty() {
        operation.remove("parameters");
    }
}

/// Says what a key is needed for, and adds the refusals that an operation does not name itself.
fn guard(subject: &Subject<'_>, operation: &mut Map<String, Value>) {
    let scope = subject.scope();
    operation.insert("security".into(), json!([{"apiKey": [scope]}, {"bearer": [scope]}]));
    if subject.is_conditional() {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        parameters.as_array_mut().into_iter().for_each(|all| all.push(if_match()));
    }
    if subject.is_repeatable() {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        parameters.as_array_mut().into_iter().for_each(|all| all.push(idempotency_key()));
    }
    for (told, status, description) in REFUSALS {
        if subject.is_told(*told, operation) {
            let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
            let answer = || json!({"description": description});
            answers.map(|answers| answers.entry(status.to_string()).or_insert_with(answer));
        }
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "What the client calls this creation: sent again within 24 hours, it makes \
            nothing anew, and `Idempotency-Replayed: true` says so.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    })
}

fn if_match() -> Value {
    json!({
        "name": "If-Match",
        "in": "header",
        "description": "The `ETag` of the version that is to be changed (RFC 9110 section 13.1.1).",
        "schema": {"type": "string", "pattern": "^(\\*|(W/)?\"[!#-~]*\")$"},
        "example": "*",
    })
}

/// Objects that have a version tell it.
fn tag_versions(operation: &mut Map<String, Value>) {
    const TAGGED: [&str; 3] = ["Property", "Hostname", "Certificates"];
    let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
    for answer in answers.into_iter().flat_map(Map::values_mut) {
        let shown = answer.pointer("/content/application~1json/schema/$ref");
        let shown = shown.and_then(Value::as_str).and_then(|name| name.strip_prefix(SCHEMAS));
        if let (Some(true), Some(answer)) =
            (shown.map(|name| TAGGED.contains(&name)), answer.as_object_mut())
        {
            let description = "The version (RFC 9110 section 8.8.3).";
            let schema = json!({"type": "string"});
            let tag = json!({"description": description, "required": true, "schema": schema});
            answer.insert("headers".to_owned(), json!({"ETag": tag}));
        }
    }
}

/// A refusal without a body of its own has a problem's.
fn tell_problems(operation: &mut Map<String, Value>) {
    let answers = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, answer) in answers.into_iter().flatten() {
        let Some(answer) = answer.as_object_mut().filter(|_| status.starts_with(['4', '5'])) else {
            continue;
        };
        let schema = json!({"$ref": format!("{SCHEMAS}Problem")});
        let body = || json!({"application/problem+json": {"schema": schema}});
        answer.entry("content").or_insert_with(body);
    }
}

/// A page's items stand once, in their own schema.
fn refer_to_items(document: &mut Value) {
    let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    for (name, page) in schemas.into_iter().flatten() {
        let Some(item) = name.strip_prefix("Page_") else { continue };
        if let Some(items) = page.pointer_mut("/properties/items/items") {
            *items = json!({"$ref": format!("{SCHEMAS}{item}")});
        }
    }
}

/// A field that may be null has its description beside its forms, where readers look for it.
fn describe_nullable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let forms = fields.get_mut("oneOf").and_then(Value::as_array_mut);
            let mut forms = forms.into_iter().flatten().filter_map(Value::as_object_mut);
            let first = forms.find(|form| form.contains_key("$ref"));
            if let Some(description) = first.and_then(|form| form.remove("description")) {
                fields.insert("description".to_owned(), description);
            }
            fields.values_mut().for_each(describe_nullable);
        }
        Value::Array(values) => values.iter_mut().for_each(describe_nullable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes one object of an `allOf` with settings in it: those refuse what they don't know, and would
/// refuse what stands beside them.
fn merge_flattened(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut)
    else {
        return;
    };
    let known = schemas.clone();
    for schema in schemas.values_mut() {
        let Some(Value::Array(parts)) = schema.get("allOf") else { continue };
        let description = schema.get("description");
        let mut merged = json!({
            "type": "object",
            "description": description,
            "properties": {},
            "required": [],
        });
        for part in parts {
            let name = part.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.strip_prefix(SCHEMAS));
            let shown = name.and_then(|name| known.get(name)).map(shown_settings);
            extend(&mut merged, shown.as_ref().unwrap_or(part));
        }
        *schema = merged;
    }
}

/// Settings as they are shown: each of them, without the name that is given once.
fn shown_settings(settings: &Value) -> Value {
    let mut properties = settings.get("properties").cloned().unwrap_or_default();
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("name");
    }
    let names = properties.as_object().into_iter().flat_map(Map::keys).cloned();
    let required: Vec<Value> = names.map(Value::from).collect();
    json!({"properties": properties, "required": required})
}

fn extend(merged: &mut Value, part: &Value) {
    if let (Some(Value::Object(own)), Some(Value::Object(more))) =
        (merged.get_mut("properties"), part.get("properties"))
    {
        own.extend(more.clone());
    }
    if let (Some(Value::Array(own)), Some(Value::Array(more))) =
        (merged.get_mut("required"), part.get("required"))
    {
        own.extend(more.iter().cloned());
    }
}

/// Drops schemas that nothing refers to, until none is left.
fn drop_unused(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        collect_references(document, &mut used);
        let Some(schemas) =
            document.pointer_mut("/components/schemas").and_then(Value::as_object_mut)
        else {
            return;
        };
        let before = schemas.len();
        schemas.retain(|name, _| used.contains(name));
        if schemas.len() == before {
            return;
        }
    }
}

fn collect_references(value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                used.extend(to.strip_prefix(SCHEMAS).map(str::to_owned));
            }
            fields.values().for_each(|value| collect_references(value, used));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, used)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
