//! What `cargo xtask bench filter` measures, in a process of its own so that its peak memory is its own: filters over a
//! fleet on SQLite, through the operations that the API calls. Prints one JSON object.
//!
//! `filter-bench HOSTS PROFILES PACKAGES DIR`: so many hosts, of so many distinct package sets, of so many packages each.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use drydock_control::records::{InstanceQuery, InstanceRecord, PageQuery, ProfileRecord};
use drydock_control::store::{Location, Store, commit, instances, profiles};
use drydock_control::{Config, Control, Principal, SectionBodyIn, SectionIn, SystemClock, WorkKey};
use drydock_domain::ids::{InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::{ManagerKind, OsFacts, Package, PackageSet, Update, UpdateKind, UpdateSet, fingerprint};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::source::host::SourcesMode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Measured rounds; the median is printed.
const ROUNDS: usize = 5;
/// Each profile differs from its neighbour in every so many packages.
const DIFFERS_EVERY: usize = 7;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [hosts, sets, packages, dir] = args.as_slice() else {
        return Err("usage: filter-bench HOSTS PROFILES PACKAGES DIR".into());
    };
    let (hosts, sets, packages): (usize, usize, usize) = (hosts.parse()?, sets.parse()?, packages.parse()?);
    let began = Instant::now();
    fill(Path::new(dir), hosts, sets, packages).await?;
    let filled = began.elapsed().as_secs_f64();
    // A server that has just been started: nothing is in memory.
    let control = open(Path::new(dir)).await?;
    let mut figures = json!({ "hosts": hosts, "profiles": sets, "packages": packages, "fill_s": round(filled) });
    let row = "label env=prod and os.version = 9*";
    let package = "package pkg-00123 < 1.5 and label env=prod";
    let glob = "package pkg-001* >= 2 and not package pkg-00003 < 1.2";
    figures["row_ms"] = round(median(&control, row).await?);
    let (cold, found) = whole(&control, package).await?;
    figures["package_cold_ms"] = round(cold);
    figures["package_found"] = json!(found);
    figures["package_warm_ms"] = round(median(&control, package).await?);
    figures["package_other_ms"] = round(whole(&control, "package pkg-00124 < 1.5").await?.0);
    figures["glob_warm_ms"] = round(median(&control, glob).await?);
    let began = Instant::now();
    let query = InstanceQuery { page: PageQuery { cursor: None, limit: Some(100) }, ..InstanceQuery::default() };
    control.search_instances(&control.ctx(Principal::Server, "bench"), &query, package).await?;
    figures["first_page_ms"] = round(began.elapsed().as_secs_f64() * 1000.0);
    figures["peak_mib"] = json!(peak_mib()?);
    println!("{figures}");
    Ok(())
}

async fn store(dir: &Path) -> Result<Store, Failure> {
    Ok(Store::open(&Location::Sqlite(dir.join("drydock.sqlite"))).await?)
}

async fn open(dir: &Path) -> Result<Control, Failure> {
    let store = store(dir).await?;
    let (key, _) = WorkKey::generate()?;
    Ok(Control::new(store, Config::default(), key, Arc::new(SystemClock)))
}

/// One evaluation over the whole fleet: milliseconds and hosts found.
async fn whole(control: &Control, query: &str) -> Result<(f64, u64), Failure> {
    let filter = InstanceFilter { query: Some(query.to_owned()), ..InstanceFilter::default() };
    let began = Instant::now();
    let found = control.match_instances(&control.ctx(Principal::Server, "bench"), &filter, None).await?;
    Ok((began.elapsed().as_secs_f64() * 1000.0, found.total))
}

async fn median(control: &Control, query: &str) -> Result<f64, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(whole(control, query).await?.0);
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}

/// Hosts as rows, their inventory through the operation that agents call.
async fn fill(dir: &Path, hosts: usize, sets: usize, packages: usize) -> Result<(), Failure> {
    let now = Timestamp::now();
    let profile = ProfileRecord {
        id: ProfileId(Uuid::from_u128(1)),
        spec: serde_json::from_value(json!({ "displayName": "bench" }))?,
        uses: 0,
        revoked: false,
        created_by: "bench".into(),
        created_at: now,
    };
    let (store, control) = (store(dir).await?, open(dir).await?);
    let mut tx = store.begin().await?;
    profiles::insert(&mut tx, &profile, "t").await?;
    for n in 0..hosts {
        instances::insert(&mut tx, &instance(n, now)).await?;
    }
    commit(tx).await?;
    for n in 0..hosts {
        let set = n % sets;
        let sections =
            vec![section("os", &os(n))?, section("packages", &package_set(set, packages))?, section("updates", &updates(set))?];
        let ctx = control.ctx(Principal::Instance(id(n)), "bench");
        control.report_inventory(&ctx, sections).await?;
    }
    Ok(())
}

fn id(n: usize) -> InstanceId {
    InstanceId(Uuid::from_u128(1000 + n as u128))
}

fn instance(n: usize, now: Timestamp) -> InstanceRecord {
    let env = if n.is_multiple_of(2) { "prod" } else { "test" };
    InstanceRecord {
        id: id(n),
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
        labels: Labels::from([("env".into(), env.into()), ("n".into(), n.to_string())]),
        zone: format!("z{}", n % 5),
        compartment: "/".into(),
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

fn os(n: usize) -> OsFacts {
    OsFacts {
        hostname: format!("host-{n:05}"),
        long_name: "Oracle Linux Server 9.4".into(),
        short_name: "ol".into(),
        version: format!("{}.4", 8 + n % 2),
        architecture: "x86_64".into(),
        kernel_release: "5.15.0-206.153.7.el9uek.x86_64".into(),
        boot_id: Uuid::from_u128(n as u128).to_string(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    }
}

/// Set `k`: every package in one of two versions, so that all sets differ.
fn package_set(k: usize, packages: usize) -> PackageSet {
    let package = |n: usize| {
        let newer = (n + k).is_multiple_of(DIFFERS_EVERY) || (n < 16 && (k >> n) & 1 == 1);
        let version = format!("{}.{}-{}.el9", 1 + n % 3, if newer { 6 } else { 4 }, 1 + n % 9);
        let source = format!("pkg-{n:05}-{version}.src.rpm");
        Package { name: format!("pkg-{n:05}"), arch: "x86_64".into(), version, source, ..Package::default() }
    };
    PackageSet::new((0..packages).map(package).collect())
}

fn updates(k: usize) -> UpdateSet {
    let update = |n: usize| Update {
        name: format!("pkg-{:05}", n * 5),
        arch: "x86_64".into(),
        to: "9-1".into(),
        repository: "base".into(),
        kind: UpdateKind::Security,
        advisories: vec![format!("ELSA-2026-{}", (n + k) % 400)],
        ..Update::default()
    };
    UpdateSet { updates: (0..20).map(update).collect(), findings: Vec::new() }
}

fn section(kind: &str, value: &impl Serialize) -> Result<SectionIn, Failure> {
    let body = serde_json::to_vec(value)?;
    Ok(SectionIn { kind: kind.into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) })
}

fn peak_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

fn round(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}
