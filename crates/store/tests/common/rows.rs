//! Rows that every suite needs: times, ids, a profile, hosts.

use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::{InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::{OsFacts, fingerprint};
use drydock_domain::source::host::SourcesMode;
use drydock_store::records::{InstanceRecord, PageQuery, ProfileRecord};
use jiff::Timestamp;
use uuid::Uuid;

pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_microsecond(1_800_000_000_000_000 + secs * 1_000_000 + 7).expect("in range")
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn page(limit: u32, cursor: Option<String>) -> PageQuery {
    PageQuery { cursor, limit: Some(limit) }
}

pub fn profile() -> ProfileRecord {
    let spec: ProfileSpec = serde_json::from_str(r#"{"displayName":"p","maxUses":5,"labels":{"env":"x"}}"#).expect("a spec");
    ProfileRecord { id: ProfileId(id(1)), spec, uses: 0, revoked: false, created_by: "me".into(), created_at: at(0) }
}

pub fn instance(n: u128) -> InstanceRecord {
    InstanceRecord {
        id: InstanceId(id(100 + n)),
        name: format!("h{n}"),
        state: InstanceState::Active,
        pending_reason: None,
        duplicate_of: None,
        reject_reason: String::new(),
        profile: ProfileId(id(1)),
        machine_id: format!("m{n}"),
        spki_sha256: fingerprint(format!("key {n}").as_bytes()),
        previous_spki_sha256: None,
        certificate_serial: None,
        certificate_expires_at: None,
        created_at: at(0),
        last_seen: None,
        labels: Labels::from([("env".into(), "x".into()), ("n".into(), n.to_string())]),
        zone: "z".into(),
        compartment: "/".into(),
        os: Some(OsFacts { hostname: format!("h{n}"), booted_at: Some(at(1)), ..OsFacts::default() }),
        inventory: None,
        sources_mode: SourcesMode::Additive,
        environment: None,
        group: None,
        group_environment: None,
        content_spki_sha256: None,
        previous_content_spki_sha256: None,
        version: 1,
    }
}
