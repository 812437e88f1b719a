//! What of a request's body its audit record keeps: of the types named here the fields named here, of every other type
//! nothing. Texts that may hold a secret (scripts, environments, arguments, keys, passwords) are in no list, and are taken out
//! of what lies deeper. A body that is recorded nowhere costs a line in the table below; a secret that was recorded once
//! cannot be taken back.

use serde_json::{Map, Value};

/// Longest text that is kept whole, bytes; of a longer one the beginning.
const TEXT_MAX_BYTES: usize = 512;
/// Entries kept of a list, count.
const LIST_MAX: usize = 50;

/// Types of bodies and the fields that are recorded.
const KEPT: &[(&str, &[&str])] = &[
    ("AddMatching", &["filter", "dryRun"]),
    ("AuditSettings", &["reads", "keepDays"]),
    ("CreateAccessPolicy", &["name", "compartment", "description", "statements"]),
    ("CreateAccessToken", &["name", "role", "expiresAt", "scope", "user"]),
    ("CreateCompartment", &["parent", "name", "description"]),
    ("DropAudit", &["before"]),
    ("EditAccessPolicy", &["description", "statements"]),
    ("EditAttachments", &["attach", "detach"]),
    ("EditCompartment", &["description", "name", "parent"]),
    ("EditGroup", &["description", "environment"]),
    ("EditInstance", &["labels", "zone"]),
    ("EditInstanceSources", &["attach", "detach", "mode", "environment"]),
    ("EditMembers", &["add", "remove"]),
    ("EnvironmentSpec", &["name", "description", "rank"]),
    ("ExceptionEdit", &["owner", "reason", "until"]),
    ("ExceptionSpec", &["cve", "scope", "owner", "reason", "until", "compartment"]),
    ("FreezeCalendar", &["name", "description", "instanceFilter", "periods", "compartment"]),
    ("GroupSpec", &["name", "description", "environment", "compartment"]),
    ("LiftBars", &["instance", "job", "name"]),
    ("MaintenanceWindow", &["name", "description", "instanceFilter", "schedule", "durationSecs", "compartment"]),
    ("MatchInstances", &["instanceFilter", "compartment"]),
    (
        "PatchDeploymentSpec",
        &[
            "name",
            "description",
            "instanceFilter",
            "dryRun",
            "durationSecs",
            "patchConfig",
            "rollout",
            "oneTimeSchedule",
            "recurringSchedule",
            "overlap",
            "compartment",
        ],
    ),
    (
        "PatchJobSpec",
        &["displayName", "description", "instanceFilter", "dryRun", "durationSecs", "patchConfig", "rollout", "compartment"],
    ),
    (
        "ProfileSpec",
        &[
            "displayName",
            "description",
            "expiresAt",
            "maxUses",
            "labels",
            "compartment",
            "zone",
            "autoAccept",
            "sourcesMode",
            "environment",
        ],
    ),
    ("Promotion", &["source", "sources", "snapshot", "from", "to"]),
    ("RebootSlots", &["name", "description", "instanceFilter", "slots", "expirySecs", "compartment"]),
    ("RunPolicyCheck", &["instances", "groups", "assignment"]),
    ("SetDynamicGroup", &["name", "description", "rules", "matchAll"]),
    ("Sla", &["critical", "important", "moderate", "low", "kevDates"]),
    ("SourceSpec", &["name", "displayName", "description", "format", "parent", "architectures", "policy", "syncIntervalSecs"]),
    ("TestAccess", &["asUser", "permissions", "resource"]),
];

/// Names of fields, at any depth, whose values are never recorded.
const NEVER: &[&str] = &[
    "script", "env", "args", "password", "secret", "token", "key", "keys", "value", "content", "headers", "webhook", "url",
    "code",
];

/// What is recorded of a body of this type.
pub(super) fn recorded<T>(body: &[u8]) -> Option<Value> {
    // The name of a type is for diagnostics and may change: then less is recorded, never more.
    let own = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    let (_, fields) = KEPT.iter().find(|(name, _)| *name == own)?;
    let Ok(Value::Object(mut all)) = serde_json::from_slice(body) else { return None };
    let kept = fields.iter().filter_map(|field| all.remove(*field).map(|value| ((*field).to_owned(), cleaned(value))));
    Some(Value::Object(kept.collect()))
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| {
                let never = NEVER.iter().any(|n| name.eq_ignore_ascii_case(n));
                let value = if never && !value.is_null() { "…".into() } else { cleaned(value) };
                (name, value)
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().take(LIST_MAX).map(cleaned).collect()),
        // Credentials inside an address.
        Value::String(text) if text.contains("://") && text.contains('@') => "…".into(),
        Value::String(text) if text.len() > TEXT_MAX_BYTES => {
            let end = (0..=TEXT_MAX_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            format!("{}… ({} bytes)", &text[..end], text.len()).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::patch::spec::PatchJobSpec;

    /// A body that is in no list.
    struct SetPolicySecret;

    #[test]
    fn a_record_keeps_what_was_asked_and_no_secret() {
        let body = br#"{"displayName":"night","instanceFilter":{"all":true},"unknown":1,"patchConfig":{"preStep":
            {"linuxExecStepConfig":{"script":"curl -u me:hunter2","env":{"TOKEN":"hunter2"},"allowedSuccessCodes":[0]}},
            "goo":{"from":"https://me:hunter2@mirror.example/"}}}"#;
        let kept = recorded::<PatchJobSpec>(body).expect("kept").to_string();
        assert!(kept.contains("night") && kept.contains("allowedSuccessCodes") && !kept.contains("unknown"), "{kept}");
        assert!(!kept.contains("hunter2"), "{kept}");
        assert_eq!(recorded::<SetPolicySecret>(br#"{"value":"hunter2"}"#), None);
        assert_eq!(recorded::<PatchJobSpec>(b"[1]"), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = serde_json::json!({"displayName": "é".repeat(400)}).to_string();
        let kept = recorded::<PatchJobSpec>(long.as_bytes()).expect("kept");
        assert!(kept["displayName"].as_str().is_some_and(|t| t.len() < 600 && t.ends_with("(800 bytes)")), "{kept}");
    }
}
