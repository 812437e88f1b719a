//! What `cargo xtask bench turn` measures, in a process of its own so that its peak memory is its own: turns of the
//! reconcilers with one patch job over a fleet on SQLite, in three waves and five zones with a budget. Prints one JSON object.
//!
//! `turn-bench HOSTS DIR`. `lookup_ms`: from the job's row to a task for each host. `settle_ms`: turns until nothing changes
//! any more, `settle_turns` of them. `idle_ms`: a turn that finds nothing to do. `report_ms`: a turn after one host was done.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use drydock_control::records::{InstanceRecord, PageQuery, ProfileRecord, TaskQuery};
use drydock_control::store::{Location, Store, commit, instances, profiles};
use drydock_control::{Clock, Config, Control, Principal, WorkKey, reconcile};
use drydock_domain::ids::{InstanceId, JobId, ProfileId};
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::fingerprint;
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_domain::source::host::SourcesMode;
use drydock_domain::work::WorkOrder;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Measured rounds; the median is printed.
const ROUNDS: usize = 9;
/// Turns until nothing changes, count: beyond it something does not settle.
const TURNS_MAX: usize = 200;
/// Zones of the fleet.
const ZONES: usize = 5;

/// A clock that goes on only when told: hosts were heard of just now, however long the rest takes.
#[derive(Clone)]
struct Still(Arc<AtomicI64>);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [hosts, dir] = args.as_slice() else { return Err("usage: turn-bench HOSTS DIR".into()) };
    let (hosts, dir) = (hosts.parse::<usize>()?, Path::new(dir));
    let clock = Still(Arc::new(AtomicI64::new(Timestamp::now().as_millisecond())));
    let store = Store::open(&Location::Sqlite(dir.join("drydock.sqlite"))).await?;
    fill(&store, hosts, clock.now()).await?;
    let (key, _) = WorkKey::generate()?;
    let control = Control::new(store, Config::default(), key, Arc::new(clock.clone()));
    let spec = json!({ "instanceFilter": { "all": true }, "rollout": {
        "disruptionBudget": { "percent": 10 },
        "haltAfter": { "percent": 50 },
        "waves": [{ "name": "canary", "size": { "percent": 1 } }, { "name": "half", "size": { "percent": 50 }, "coverKinds": true }],
    }});
    let server = control.ctx(Principal::Server, "bench");
    let job = control.create_patch_job(&server, serde_json::from_value(spec)?, None).await?.record.id;
    let lookup = turn(&control, &clock).await?;
    let (mut turns, mut settle) = (0, 0.0);
    loop {
        let took = turn(&control, &clock).await?;
        if !has_changed(&control, job).await? {
            break;
        }
        settle += took;
        turns += 1;
        if turns > TURNS_MAX {
            return Err("the job does not settle".into());
        }
    }
    let mut idle = Vec::new();
    for _ in 0..ROUNDS {
        idle.push(turn(&control, &clock).await?);
    }
    let mut reported = Vec::new();
    for instance in at_work(&control, job).await?.into_iter().take(ROUNDS) {
        done(&control, instance).await?;
        reported.push(turn(&control, &clock).await?);
    }
    let figures = json!({
        "hosts": hosts,
        "waves": 3,
        "zones": ZONES,
        "lookup_ms": round(lookup),
        "settle_ms": round(settle),
        "settle_turns": turns,
        "idle_ms": median(idle)?,
        "report_ms": median(reported)?,
        "peak_mib": peak_mib()?,
    });
    println!("{figures}");
    Ok(())
}

/// One turn: milliseconds.
async fn turn(control: &Control, clock: &Still) -> Result<f64, Failure> {
    clock.0.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    let failed = reconcile::turn_of_jobs(control).await;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    match failed.into_iter().next() {
        Some((what, error)) => Err(format!("{what}: {error}").into()),
        None => Ok(took),
    }
}

/// Did the last turn change a task?
async fn has_changed(control: &Control, job: JobId) -> Result<bool, Failure> {
    let page = PageQuery { cursor: None, limit: Some(1) };
    let ctx = control.ctx(Principal::Server, "bench");
    let query = TaskQuery { updated_since: Some(ctx.now), page, ..TaskQuery::default() };
    Ok(!control.list_tasks(&ctx, job, &query).await?.items.is_empty())
}

/// Hosts that have been let go.
async fn at_work(control: &Control, job: JobId) -> Result<Vec<InstanceId>, Failure> {
    let query = TaskQuery { state: Some(TaskState::Notified), ..TaskQuery::default() };
    let tasks = control.list_tasks(&control.ctx(Principal::Server, "bench"), job, &query).await?;
    Ok(tasks.items.into_iter().map(|task| task.instance).collect())
}

/// A host takes its order and succeeds.
async fn done(control: &Control, instance: InstanceId) -> Result<(), Failure> {
    let ctx = control.ctx(Principal::Instance(instance), "bench");
    let pulled = control.pull_work(&ctx, &[]).await?;
    let signed = pulled.orders.first().ok_or("a host that was let go gets no order")?;
    let order: WorkOrder = serde_json::from_slice(&signed.order)?;
    let report = json!({ "task": order.task.task, "seq": 1, "at": ctx.now, "state": "SUCCEEDED" });
    let report: TaskReport = serde_json::from_value(report)?;
    control.report_task(&ctx, &serde_json::to_vec(&report)?).await?;
    Ok(())
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
        let instance = instance(n, now);
        instances::insert(&mut tx, &instance).await?;
        instances::touch(&mut tx, instance.id, now).await?;
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
        zone: format!("eu-{}", n % ZONES),
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

fn median(mut rounds: Vec<f64>) -> Result<Value, Failure> {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).map(|middle| round(*middle)).ok_or_else(|| "nothing was measured".into())
}

fn peak_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

fn round(value: f64) -> Value {
    json!((value * 10.0).round() / 10.0)
}
