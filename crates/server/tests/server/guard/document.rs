//! The OpenAPI document: one with the routes, locked, and sound in itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::routes::{routes, shape, verbs};

/// Routes that the document leaves out. This list may only shrink: the document itself.
const UNDOCUMENTED: [&str; 1] = ["GET /api/v1/openapi.json"];

/// One operation of the document.
pub struct Operation {
    /// Its id.
    pub id: String,
    /// Its method.
    pub method: String,
    /// Its path with `{parameters}`.
    pub path: String,
    /// All that is said of it.
    pub value: Value,
}

/// The document.
pub fn document() -> Value {
    serde_json::from_str(&drydock_server::rest::openapi_json()).expect("JSON")
}

/// Every operation of it.
pub fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in document()["paths"].as_object().expect("paths") {
        for (method, value) in methods.as_object().expect("methods") {
            let id = value["operationId"].as_str().expect("an operation id").to_owned();
            found.push(Operation { id, method: method.to_uppercase(), path: path.clone(), value: value.clone() });
        }
    }
    found
}

/// `/a/{id}:verb` → (`/a/{id}`, `verb`); `/a:verb` is a place of its own.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once("}:") {
        Some((place, verb)) if !verb.contains('/') => (&path[..=place.len()], Some(verb)),
        _ => (path, None),
    }
}

#[test]
fn the_document_and_the_routes_name_the_same_operations() {
    let routed: BTreeSet<String> = routes()
        .iter()
        .filter(|route| route.is_rest())
        .flat_map(|route| route.handlers.iter().map(|(method, _)| format!("{method} {}", shape(&route.path))))
        .collect();
    let documented: BTreeSet<String> = operations().iter().map(|o| format!("{} {}", o.method, shape(split(&o.path).0))).collect();
    let left_out: Vec<&String> = routed.difference(&documented).filter(|r| !UNDOCUMENTED.contains(&r.as_str())).collect();
    assert!(left_out.is_empty(), "routes that are not in the OpenAPI document (add them to paths(…)): {left_out:#?}");
    let missing: Vec<&String> = documented.difference(&routed).collect();
    assert!(missing.is_empty(), "operations of the OpenAPI document that have no route: {missing:#?}");
}

#[test]
fn the_document_names_every_verb_a_handler_takes() {
    for route in routes().iter().filter(|r| r.is_rest() && r.path.ends_with('}')) {
        let Some((_, handler)) = route.handlers.iter().find(|(method, _)| *method == "POST") else { continue };
        let documented: BTreeSet<String> = operations()
            .iter()
            .filter(|o| o.method == "POST" && shape(split(&o.path).0) == shape(&route.path))
            .filter_map(|o| split(&o.path).1.map(str::to_owned))
            .collect();
        assert_eq!(verbs(handler), documented, "POST {}: what {handler} takes and what the document names", route.path);
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_counts_are_numbers() {
    let doc = document();
    let schemas = &doc["components"]["schemas"];
    let mut left = vec![&doc];
    while let Some(value) = left.pop() {
        if let Some(name) = value["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/")) {
            assert!(schemas[name].is_object(), "{name} is referred to and not described");
        }
        left.extend(value.as_object().into_iter().flat_map(|o| o.values()));
        left.extend(value.as_array().into_iter().flatten());
    }
    let counts = &schemas["PatchJob"]["properties"]["instanceDetailsSummary"]["additionalProperties"];
    assert_eq!(counts["type"], "integer", "{counts}");
}

/// You changed the API: look at the difference, then run the tests with UPDATE_OPENAPI=1 and commit the file.
#[test]
fn the_document_is_the_one_reviewers_saw() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let now = drydock_server::rest::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &now).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept != now {
        let line = kept.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or_default() + 1;
        panic!("openapi.json differs from line {line}: run with UPDATE_OPENAPI=1 and review the difference");
    }
}
