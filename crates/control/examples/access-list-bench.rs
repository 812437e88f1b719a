//! What `cargo xtask bench access` measures of lists, in a process of its own: somebody who may see every second of 200
//! compartments lists the instances of a fleet on SQLite, through the operation and to the last page. Prints one JSON object.
//!
//! `access-list-bench HOSTS DIR`. `list_ms`: all pages together, the median of the rounds. `list_page_ms`: the first page of
//! 100. `list_all_ms`: the same by an administrator, who sees twice as many. `scope_only_ms`: the first page of a list with
//! nothing in it: what deciding where somebody may see costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use drydock_control::records::{InstanceQuery, InstanceRecord, PageQuery, ProfileRecord};
use drydock_control::store::{Location, Store, commit, instances, profiles};
use drydock_control::{Account, AccountKind, Config, Control, OpCtx, Principal, SystemClock, WorkKey};
use drydock_domain::access::request::{Membership, Principal as Subject};
use drydock_domain::access::user::UserGroupSpec;
use drydock_domain::ids::{InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::fingerprint;
use drydock_domain::source::host::SourcesMode;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Compartments, count.
const COMPARTMENTS: usize = 200;
/// Rows of a page.
const PAGE_ROWS: u32 = 1000;
/// Measured rounds; the median is printed.
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [hosts, dir] = args.as_slice() else { return Err("usage: access-list-bench HOSTS DIR".into()) };
    let (hosts, dir) = (hosts.parse::<usize>()?, Path::new(dir));
    let store = Store::open(&Location::Sqlite(dir.join("drydock.sqlite"))).await?;
    fill(&store, hosts, Timestamp::now()).await?;
    let (key, _) = WorkKey::generate()?;
    let control = Control::new(store, Config::default(), key, Arc::new(SystemClock));
    let server = control.ctx(Principal::Server, "bench");
    for n in 0..COMPARTMENTS {
        control.create_compartment(&server, "/", &format!("C{n}"), "").await?;
    }
    for name in ["Team-A", "Team-B"] {
        control.create_user_group(&server, UserGroupSpec { name: name.to_owned(), description: String::new() }).await?;
    }
    // A statement for each team and compartment, as a fleet that grew has them.
    let statements: Vec<String> = (0..COMPARTMENTS)
        .map(|n| format!("allow group Team-{} to read drydock-instances in compartment C{n}", if n % 2 == 0 { "A" } else { "B" }))
        .collect();
    control.create_access_policy(&server, "teams", "/", "", &statements.join("\n")).await?;
    let ann = person(&control, "Team-A");
    let stranger = person(&control, "Team-A-of-nothing");
    let (mut all, mut page, mut everything) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        all.push(listed(&control, &ann, "", hosts / 2).await?);
        everything.push(listed(&control, &server, "", hosts).await?);
        let began = Instant::now();
        control.list_instances(&ann, &query("", None, 100)).await?;
        page.push(ms(began));
    }
    let mut nothing = Vec::new();
    for _ in 0..ROUNDS {
        nothing.push(listed(&control, &ann, "no such host", 0).await?);
    }
    if control.list_instances(&stranger, &query("", None, 100)).await.is_ok() {
        return Err("who may see nothing sees a list".into());
    }
    let figures = json!({
        "hosts": hosts,
        "compartments": COMPARTMENTS,
        "list_ms": median(all)?,
        "list_page_ms": median(page)?,
        "list_all_ms": median(everything)?,
        "scope_only_ms": median(nothing)?,
    });
    println!("{figures}");
    Ok(())
}

/// A person in one group.
fn person(control: &Control, group: &str) -> OpCtx {
    let account = Account {
        kind: AccountKind::User,
        id: "u-1".to_owned(),
        name: "ann".to_owned(),
        groups: vec![group.to_owned()],
        subject: Subject::user("u-1", "ann", false).in_group(&Membership::new("g-1", None, group)),
        ..Account::of_token(drydock_domain::ids::AccessTokenId(Uuid::nil()), "ann", drydock_domain::access::Role::Viewer)
    };
    control.ctx(Principal::Account(Arc::new(account)), "bench")
}

fn query(name: &str, cursor: Option<String>, limit: u32) -> InstanceQuery {
    let page = PageQuery { cursor, limit: Some(limit) };
    InstanceQuery { name_contains: name.to_owned(), page, ..InstanceQuery::default() }
}

/// Lists to the last page: milliseconds.
async fn listed(control: &Control, ctx: &OpCtx, name: &str, expected: usize) -> Result<f64, Failure> {
    let began = Instant::now();
    let (mut count, mut cursor) = (0, None);
    loop {
        let page = control.list_instances(ctx, &query(name, cursor, PAGE_ROWS)).await?;
        count += page.items.len();
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let took = ms(began);
    if count != expected {
        return Err(format!("{count} instances are listed, not {expected}").into());
    }
    Ok(took)
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

async fn fill(store: &Store, hosts: usize, now: Timestamp) -> Result<(), Failure> {
    let profile = ProfileRecord {
        id: ProfileId(Uuid::from_u128(1)),
        spec: serde_json::from_value(json!({ "displayName": "bench" }))?,
        uses: 0,
        revoked: false,
        created_by: "bench".into(),
        created_at: now,
    };
    let mut tx = store.begin().await?;
    profiles::insert(&mut tx, &profile, "t").await?;
    for n in 0..hosts {
        instances::insert(&mut tx, &instance(n, now)).await?;
    }
    Ok(commit(tx).await?)
}

fn instance(n: usize, now: Timestamp) -> InstanceRecord {
    InstanceRecord {
        id: InstanceId(Uuid::from_u128(1000 + n as u128)),
        name: format!("host-{n:05}"),
        state: InstanceState::Active,
        pending_reason: None,
        duplicate_of: None,
        reject_reason: String::new(),
        profile: ProfileId(Uuid::from_u128(1)),
        machine_id: format!("m{n}"),
        spki_sha256: fingerprint(format!("key {n}").as_bytes()),
        previous_spki_sha256: None,
        certificate_serial: None,
        certificate_expires_at: None,
        created_at: now,
        last_seen: Some(now),
        labels: Labels::from([("role".into(), ["web", "db", "app"][n % 3].into())]),
        zone: "eu-1".into(),
        compartment: format!("/C{}", n % COMPARTMENTS),
        os: None,
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

fn median(mut rounds: Vec<f64>) -> Result<Value, Failure> {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).map(|middle| json!((middle * 10.0).round() / 10.0)).ok_or_else(|| "nothing was measured".into())
}
