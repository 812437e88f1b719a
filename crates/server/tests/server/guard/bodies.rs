//! A body each operation takes, so that a refusal is about the caller and not about the body: written here, or made from
//! the OpenAPI document.

use serde_json::{Map, Value, json};

/// How deep a body made from the document goes: schemas may refer to themselves.
const DEPTH_MAX: usize = 6;

/// A body each operation takes, so that a refusal is about the caller and not about the body.
pub fn of(operation: &str) -> Option<Value> {
    let body = match operation {
        "createAccessToken" => json!({"name": "x", "role": "viewer"}),
        "createEnrolmentProfile" => json!({"displayName": "x"}),
        "createSource" | "editSource" => json!({"name": "x", "format": "rpm", "origin": {"local": {}}}),
        "createEnvironment" => json!({"name": "x", "rank": 1}),
        "createGroup" => json!({"name": "x"}),
        "addMatchingToGroup" => json!({"filter": "reboot"}),
        "matchInstances" => json!({"instanceFilter": {"all": true}}),
        "createPatchJob" => json!({"instanceFilter": {"all": true}}),
        "createDeployment" | "editDeployment" => json!({"name": "x", "instanceFilter": {"all": true},
            "oneTimeSchedule": {"executeTime": "2999-01-01T00:00:00Z"}}),
        "createVulnerabilityException" => json!({"cve": "CVE-2026-1", "scope": {"all": {}}, "reason": "x",
            "until": "2026-12-01T00:00:00Z"}),
        "createMaintenanceWindow" | "editMaintenanceWindow" => json!({"name": "x", "instanceFilter": {"all": true},
            "durationSecs": 3600, "schedule": {"timeZone": {"id": "UTC"}, "frequency": "DAILY", "timeOfDay": {"hours": 3}}}),
        "createFreezeCalendar" | "editFreezeCalendar" => json!({"name": "x", "instanceFilter": {"all": true},
            "periods": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z"}]}),
        "createRebootSlotGroup" | "editRebootSlotGroup" => json!({"name": "x", "instanceFilter": {"all": true},
            "slots": 1}),
        "releaseRebootSlot" => json!({"instance": "x"}),
        "createPolicyAssignment" | "createPolicyPreview" => policy(Some("x")),
        "applyPolicyAssignment" => policy(None),
        "setSecret" => json!({"value": "x"}),
        "testAccess" => json!({"permissions": ["DRYDOCK_INSTANCE_READ"], "resource": "/"}),
        "createDynamicGroup" | "editDynamicGroup" => json!({"name": "hosts", "rules": "ANY {label.env = 'prod'}"}),
        "setApprovalRule" => json!({"name": super::world::RULE, "operations": ["patch-job.create"]}),
        _ => return None,
    };
    Some(body)
}

fn policy(name: Option<&str>) -> Value {
    let exec = json!({"validate": {"interpreter": "SHELL", "script": "exit 100"}});
    let mut assignment = json!({
        "osPolicies": [{"id": "p", "mode": "VALIDATION", "resourceGroups": [{"resources": [{"id": "r", "exec": exec}]}]}],
        "instanceFilter": {"all": true}, "rollout": {"disruptionBudget": {"percent": 10}, "minWaitDuration": "0s"}});
    if let Some(name) = name {
        assignment["name"] = name.into();
    }
    assignment
}

/// The least body that the document allows for an operation: written here, or its required fields.
pub fn least(document: &Value, operation: &Value) -> Option<Value> {
    let id = operation["operationId"].as_str().unwrap_or_default();
    of(id).or_else(|| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        (!schema.is_null()).then(|| value(document, schema, DEPTH_MAX))
    })
}

fn value(document: &Value, schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return value(document, &document["components"]["schemas"][name], depth - 1);
    }
    for choice in ["oneOf", "anyOf"] {
        let choices = schema[choice].as_array().into_iter().flatten();
        if let Some(first) = choices.into_iter().find(|c| c["type"] != "null") {
            return value(document, first, depth - 1);
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let mut merged = Map::new();
        for part in all {
            if let Value::Object(fields) = value(document, part, depth - 1) {
                merged.extend(fields);
            }
        }
        return Value::Object(merged);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|e| e.first()) {
        return first.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].as_array().and_then(|t| t.first()).and_then(Value::as_str));
    match kind {
        Some("string") => match schema["format"].as_str() {
            Some("date-time") => json!("2999-01-01T00:00:00Z"),
            Some("uuid") => json!(uuid::Uuid::from_u128(1)),
            _ => json!("x"),
        },
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        _ => {
            let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let fields =
                required.iter().map(|name| ((*name).to_owned(), value(document, &schema["properties"][*name], depth - 1)));
            Value::Object(fields.collect())
        }
    }
}
