//! What of a request's body its audit record keeps: of the types named here the fields named here, of every other type
//! nothing; of a form of the console the fields named here. Texts that may hold a secret (scripts, environments, arguments,
//! keys, passwords) are in no list, and are taken out of what lies deeper. A body that is recorded nowhere costs a line in the
//! table below; a secret that was recorded once cannot be taken back. The tests hold the table against the OpenAPI document
//! and the console's templates: what is new there has to be thought of here.

use serde_json::{Map, Value};

/// Longest text that is kept whole, bytes; of a longer one the beginning.
const TEXT_MAX_BYTES: usize = 512;
/// Entries kept of a list, count.
const LIST_MAX: usize = 50;

/// Types of bodies and the fields that are recorded.
const KEPT: &[(&str, &[&str])] = &[
    ("AddApiKey", &["publicKey"]),
    ("AddMatching", &["filter", "dryRun"]),
    ("ApprovalRuleSpec", &["name", "description", "operations", "compartment", "labels", "expiresAfterSecs"]),
    ("ApprovePatchJob", &["wave"]),
    ("AuditSettings", &["reads", "keepDays"]),
    ("CancelPatchJob", &["kill"]),
    ("CreateAccessPolicy", &["name", "compartment", "description", "statements"]),
    ("CreateAccessToken", &["name", "role", "expiresAt", "scope", "user"]),
    ("CreateCompartment", &["parent", "name", "description"]),
    ("DecideApproval", &["reason"]),
    ("DropAudit", &["before"]),
    ("EditAccessPolicy", &["description", "statements"]),
    ("EditAttachments", &["attach", "detach"]),
    ("EditCompartment", &["description", "name", "parent"]),
    ("EditGroup", &["description", "environment"]),
    ("EditInstance", &["labels", "zone"]),
    ("EditInstanceSources", &["attach", "detach", "mode", "environment"]),
    ("EditMembers", &["add", "remove"]),
    ("EditUser", &["description", "email", "disabled"]),
    ("EditUserGroup", &["description"]),
    ("EnvironmentSpec", &["name", "description", "rank", "compartment"]),
    ("ExceptionEdit", &["owner", "reason", "until"]),
    ("ExceptionSpec", &["cve", "scope", "owner", "reason", "until", "compartment"]),
    ("FreezeCalendar", &["name", "description", "instanceFilter", "periods", "compartment"]),
    ("GroupSpec", &["name", "description", "environment", "compartment"]),
    ("HaltPatchJob", &["reason"]),
    ("LiftBars", &["instance", "job", "name"]),
    ("MaintenanceWindow", &["name", "description", "instanceFilter", "schedule", "durationSecs", "compartment"]),
    ("MatchInstances", &["instanceFilter", "compartment"]),
    ("MoveTo", &["compartment"]),
    ("OidcIdentity", &["issuer", "subject"]),
    ("OsPolicyAssignment", &["name", "description", "instanceFilter", "osPolicies", "rollout"]),
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
            "concurrency",
            "catchUpSecs",
        ],
    ),
    (
        "PatchJobSpec",
        &[
            "displayName",
            "description",
            "instanceFilter",
            "dryRun",
            "durationSecs",
            "patchConfig",
            "rollout",
            "compartment",
            "concurrency",
        ],
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
    ("Promotion", &["sources", "snapshot", "asOf", "rollback", "skipRank", "dryRun"]),
    ("RebootSlots", &["name", "description", "instanceFilter", "slots", "expirySecs", "compartment"]),
    ("RejectInstance", &["reason"]),
    ("ReleaseSlot", &["instance"]),
    ("RerunPatchJob", &["allHosts"]),
    ("ResumePatchJob", &["rollout"]),
    ("RunPolicyCheck", &["instances", "groups", "assignment"]),
    ("SetDynamicGroup", &["name", "description", "rules", "matchAll"]),
    ("SetPassword", &["lasting"]),
    ("SetPolicySecret", &["compartment"]),
    ("SkipNextRun", &["executeTime"]),
    ("Sla", &["critical", "important", "moderate", "low", "kevDates"]),
    (
        "SourceSpec",
        &[
            "name",
            "displayName",
            "description",
            "format",
            "parent",
            "architectures",
            "policy",
            "syncIntervalSecs",
            "origin",
            "selection",
            "signatures",
            "gpgcheck",
            "moduleHotfixes",
            "priority",
            "keepSnapshots",
            "compartment",
        ],
    ),
    ("TestAccess", &["as", "permissions", "resource"]),
    ("UndoPatchJob", &["instances", "dryRun", "skipRefused"]),
    ("UserGroupSpec", &["name", "description"]),
    ("UserSpec", &["name", "description", "email", "kind"]),
];

/// Fields of the console's forms that are recorded.
const FORM_KEPT: &[&str] = &[
    "action",
    "add",
    "advisories",
    "at",
    "attach",
    "autoAccept",
    "compartment",
    "concurrency",
    "concurrencyUnit",
    "day",
    "description",
    "detach",
    "displayName",
    "dist",
    "dryRun",
    "duration",
    "email",
    "environment",
    "excludes",
    "expiresDays",
    "expiresHours",
    "groups",
    "instances",
    "install",
    "kill",
    "labels",
    "maxUses",
    "monthDay",
    "name",
    "offset",
    "once",
    "only",
    "overlap",
    "owner",
    "postLimit",
    "preLimit",
    "prefixes",
    "program",
    "query",
    "rank",
    "reason",
    "reboot",
    "remove",
    "role",
    "rollback",
    "scope",
    "soak",
    "soakExceptSecurity",
    "sources",
    "strict",
    "target",
    "until",
    "update",
    "waves",
    "what",
    "when",
    "zone",
    "zones",
];

/// Names of fields, at any depth, whose values are never recorded.
const NEVER: &[&str] = &["env", "args", "value", "content", "headers", "webhook", "url", "code", "csrf"];
/// The same for every name that has one of these in it, in any case.
const NEVER_IN: &[&str] = &["password", "secret", "token", "key", "credential"];

/// What is recorded of a body of this type.
pub(super) fn recorded<T>(body: &[u8]) -> Option<Value> {
    // The name of a type is for diagnostics and may change: then less is recorded, never more.
    let own = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    let (_, fields) = KEPT.iter().find(|(name, _)| *name == own)?;
    let Ok(Value::Object(mut all)) = serde_json::from_slice(body) else { return None };
    let kept = fields.iter().filter_map(|field| all.remove(*field).map(|value| ((*field).to_owned(), cleaned(value))));
    Some(Value::Object(kept.collect()))
}

/// What is recorded of a form of the console; a field that occurs several times is a list.
pub(crate) fn recorded_form(pairs: &[(String, String)]) -> Option<Value> {
    let mut kept = Map::new();
    for (name, value) in pairs.iter().filter(|(name, value)| FORM_KEPT.contains(&name.as_str()) && !value.trim().is_empty()) {
        let value = cleaned(value.as_str().into());
        match kept.get_mut(name) {
            Some(Value::Array(all)) if all.len() < LIST_MAX => all.push(value),
            Some(Value::Array(_)) => {}
            Some(first) => *first = Value::Array(vec![first.take(), value]),
            None => drop(kept.insert(name.clone(), value)),
        }
    }
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn is_never(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // A description has "script" in it.
    NEVER.contains(&name.as_str()) || name.ends_with("script") || NEVER_IN.iter().any(|part| name.contains(part))
}

/// Credentials inside an address, or a key that was put where none belongs.
fn may_be_secret(text: &str) -> bool {
    (text.contains("://") && text.contains(['@', '?'])) || text.contains("PRIVATE KEY")
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| {
                // That something is switched on or absent is no secret.
                let never = is_never(&name) && !value.is_null() && !value.is_boolean();
                let value = if never { "…".into() } else { cleaned(value) };
                (name, value)
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().take(LIST_MAX).map(cleaned).collect()),
        Value::String(text) if may_be_secret(&text) => "…".into(),
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
    struct ChangePassword;
    /// One of which nothing but where it is made is recorded.
    struct SetPolicySecret;

    /// Bodies of which nothing is recorded: they are secrets, or who they are about is not known yet. This list may only shrink.
    const NOTHING: [&str; 3] = ["ChangePassword", "ConfirmSecondFactor", "SignIn"];
    /// Fields of recorded bodies that are left out: secrets, and long keys that are public. This list may only shrink.
    const LEFT_OUT: [(&str, &[&str]); 4] = [
        ("OsPolicyAssignment", &["variables"]),
        ("SetPassword", &["password"]),
        ("SetPolicySecret", &["value"]),
        ("SourceSpec", &["keys"]),
    ];
    /// Fields of the console's forms that are not recorded: secrets, and what only the form itself is about. This list may only
    /// shrink.
    const FORM_LEFT_OUT: [&str; 13] = [
        "code",
        "csrf",
        "etag",
        "key",
        "newPassword",
        "newPasswordAgain",
        "next",
        "oldPassword",
        "password",
        "postScript",
        "preScript",
        "token",
        "user",
    ];

    /// Name of the type of an operation's JSON body; `None`: it has none.
    fn body_type(operation: &Value) -> Option<&str> {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let own = schema["oneOf"].as_array().and_then(|all| all.iter().find(|one| one["$ref"].is_string())).unwrap_or(schema);
        own["$ref"].as_str().and_then(|r| r.rsplit('/').next())
    }

    #[test]
    fn every_body_of_the_document_is_recorded_or_left_out_on_purpose() {
        assert!(NOTHING.len() <= 3 && LEFT_OUT.len() <= 4, "these lists may only shrink");
        let document: Value = serde_json::from_str(&super::super::openapi_json()).expect("JSON");
        let operations = document["paths"].as_object().expect("paths").values().flat_map(|m| m.as_object().expect("methods"));
        let mut types: Vec<&str> = operations.filter_map(|(_, operation)| body_type(operation)).collect();
        types.sort_unstable();
        types.dedup();
        assert!(types.len() >= 50, "the scan lost bodies: {}", types.len());
        let mut wrong = Vec::new();
        for own in &types {
            let Some((_, kept)) = KEPT.iter().find(|(name, _)| name == own) else {
                if !NOTHING.contains(own) {
                    wrong.push(format!("{own}: say in KEPT what of it is recorded"));
                }
                continue;
            };
            let fields = document["components"]["schemas"][own]["properties"].as_object().expect("an object");
            let left_out = LEFT_OUT.iter().find(|(name, _)| name == own).map_or(&[][..], |(_, fields)| *fields);
            let undecided = fields.keys().filter(|f| !kept.contains(&f.as_str()) && !left_out.contains(&f.as_str()));
            wrong.extend(undecided.map(|f| format!("{own}.{f}: neither recorded nor left out")));
            let both = kept.iter().chain(left_out).filter(|f| !fields.contains_key(**f));
            wrong.extend(both.map(|f| format!("{own}.{f}: there is no such field")));
            wrong.extend(kept.iter().filter(|f| left_out.contains(f)).map(|f| format!("{own}.{f}: recorded and left out")));
        }
        wrong.extend(KEPT.iter().filter(|(name, _)| !types.contains(name)).map(|(name, _)| format!("{name}: no such body")));
        wrong.extend(NOTHING.iter().filter(|name| !types.contains(name)).map(|name| format!("{name}: no such body")));
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Names of the fields of all forms that are posted, from the templates' text.
    fn form_fields() -> std::collections::BTreeSet<String> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut found = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(dir).expect("templates") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text").replace("<meta name=", "");
            // What stands in no form at all is part of one that includes it.
            let is_search = |form: &&str| form.split('>').next().is_some_and(|tag| tag.contains("method=\"get\""));
            for form in text.split("<form").filter(|form| !is_search(form)) {
                let names = form.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.filter(|name| !name.contains('{')).map(str::to_owned));
            }
        }
        found
    }

    #[test]
    fn every_field_of_the_consoles_forms_is_recorded_or_left_out_on_purpose() {
        assert!(FORM_LEFT_OUT.len() <= 13, "this list may only shrink");
        let fields = form_fields();
        assert!(fields.len() >= 50, "the scan lost fields: {fields:?}");
        let decided = |name: &str| FORM_KEPT.contains(&name) != FORM_LEFT_OUT.contains(&name);
        let undecided: Vec<&String> = fields.iter().filter(|name| !decided(name)).collect();
        assert!(undecided.is_empty(), "put into FORM_KEPT or, if it may hold a secret, FORM_LEFT_OUT: {undecided:?}");
        let gone: Vec<&&str> = FORM_KEPT.iter().filter(|name| !fields.contains(**name)).collect();
        assert!(gone.is_empty(), "no form has: {gone:?}");
        let secrets: Vec<&&str> = FORM_KEPT.iter().filter(|name| is_never(name)).collect();
        assert!(secrets.is_empty(), "{secrets:?}");
    }

    #[test]
    fn a_form_is_recorded_without_its_secrets() {
        let pairs = [
            ("csrf", "hunter2"),
            ("name", "web"),
            ("add", "a"),
            ("add", "b"),
            ("reason", " "),
            ("password", "hunter2"),
            ("preScript", "hunter2"),
            ("description", "see https://wiki/?token=hunter2"),
        ];
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let kept = recorded_form(&pairs).expect("something");
        assert_eq!(kept, serde_json::json!({"name": "web", "add": ["a", "b"], "description": "…"}));
        assert_eq!(recorded_form(&pairs[..1]), None);
    }

    #[test]
    fn a_record_keeps_what_was_asked_and_no_secret() {
        let body = br#"{"displayName":"night","instanceFilter":{"all":true},"unknown":1,"patchConfig":{"preStep":
            {"linuxExecStepConfig":{"script":"curl -u me:hunter2","env":{"TOKEN":"hunter2"},"allowedSuccessCodes":[0]}},
            "goo":{"from":"https://me:hunter2@mirror.example/"}}}"#;
        let kept = recorded::<PatchJobSpec>(body).expect("kept").to_string();
        assert!(kept.contains("night") && kept.contains("allowedSuccessCodes") && !kept.contains("unknown"), "{kept}");
        assert!(!kept.contains("hunter2"), "{kept}");
        assert_eq!(recorded::<ChangePassword>(br#"{"oldPassword":"hunter2"}"#), None);
        let secret = recorded::<SetPolicySecret>(br#"{"value":"hunter2","compartment":"/A"}"#).expect("kept").to_string();
        assert_eq!(secret, r#"{"compartment":"/A"}"#);
        assert_eq!(recorded::<PatchJobSpec>(b"[1]"), None);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = serde_json::json!({"displayName": "é".repeat(400)}).to_string();
        let kept = recorded::<PatchJobSpec>(long.as_bytes()).expect("kept");
        assert!(kept["displayName"].as_str().is_some_and(|t| t.len() < 600 && t.ends_with("(800 bytes)")), "{kept}");
    }
}
