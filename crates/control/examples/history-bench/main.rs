//! What `cargo xtask bench history` measures: a year of a fleet's inventory history in SQLite, the fleet as of a time,
//! and how many full reports a second a server takes (its operation `report_inventory`, without TLS and gRPC). Prints
//! one JSON object. The fleet is that of [`fleet`].

mod fleet;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use drydock_control::records::{InstanceRecord, PageQuery, ProfileRecord};
use drydock_control::store::history_memo::Memo;
use drydock_control::store::history_writer::{Reported, Writer};
use drydock_control::store::{Location, Store, commit, history_timelines, instances, profiles};
use drydock_control::{Clock, Config, Control, HoldingQuery, Principal, SectionBodyIn, SectionIn, WorkKey};
use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::{InstanceId, ProfileId};
use drydock_domain::instance::{InstanceState, Labels};
use drydock_domain::inventory::{Health, ManagerKind, OsFacts, PackageSet, Update, UpdateKind, UpdateSet, fingerprint};
use drydock_domain::inventory_history::{ClassId, Timeline};
use drydock_domain::source::host::SourcesMode;
use fleet::{DAYS, Fleet, HOSTS, State};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

const BEGIN: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
/// Sets written in one transaction of the year.
const SETS: usize = 256;
/// Reports on their way at once.
const AT_ONCE: usize = 512;
/// Times of the year that are asked for.
const TIMES: usize = 21;

struct BenchClock(AtomicI64);

impl Clock for BenchClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.fetch_add(1, Ordering::SeqCst)).expect("in range")
    }
}

fn host(n: usize) -> InstanceId {
    InstanceId(Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0000 + n as u128 * 0x1_0001))
}

fn record(n: usize) -> InstanceRecord {
    let at = Timestamp::from_second(BEGIN).expect("in range");
    InstanceRecord {
        id: host(n),
        name: format!("host-{n:05}.example.com"),
        state: InstanceState::Active,
        pending_reason: None,
        duplicate_of: None,
        reject_reason: String::new(),
        profile: ProfileId(Uuid::from_u128(1)),
        machine_id: format!("{n:032x}"),
        spki_sha256: fingerprint(format!("key {n}").as_bytes()),
        previous_spki_sha256: None,
        certificate_serial: None,
        certificate_expires_at: None,
        created_at: at,
        last_seen: None,
        labels: Labels::new(),
        zone: String::new(),
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

/// A database with the hosts and nothing else.
async fn database(path: &Path) -> Store {
    let store = Store::open(&Location::Sqlite(path.to_owned())).await.expect("opened");
    let mut tx = store.begin().await.expect("begun");
    let at = Timestamp::from_second(BEGIN).expect("in range");
    let spec = serde_json::from_str(r#"{"displayName":"bench"}"#).expect("a spec");
    let profile = ProfileRecord {
        id: ProfileId(Uuid::from_u128(1)),
        spec,
        uses: 0,
        revoked: false,
        created_by: "bench".into(),
        created_at: at,
    };
    profiles::insert(&mut tx, &profile, "t").await.expect("stored");
    for n in 0..HOSTS {
        instances::insert(&mut tx, &record(n)).await.expect("stored");
    }
    commit(tx).await.expect("committed");
    store
}

fn mib(bytes: u64) -> f64 {
    (bytes as f64 / (1024.0 * 1024.0) * 100.0).round() / 100.0
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

/// Writes the sets of some states, as the server's intake does; returns their classes.
async fn intern(store: &Store, memo: &Memo, fleet: &mut Fleet, states: &[(State, Option<ClassId>)]) -> Vec<ClassId> {
    let mut sets = Vec::new();
    for (state, _) in states {
        let body = Arc::new(fleet.body(state));
        sets.push(match memo.recognise(&body) {
            Some(known) => Reported::Recognised(known),
            None => Reported::Parsed(serde_json::from_slice::<PackageSet>(&body).expect("JSON").into_vec()),
        });
    }
    let mut tx = store.begin().await.expect("begun");
    let mut writer = Writer::begin(&mut tx, memo).await.expect("held");
    let ids = writer.intern(&mut tx, sets).await.expect("interned");
    let based: Vec<_> = ids.into_iter().zip(states.iter().map(|(_, base)| *base)).collect();
    let classes = writer.classes(&mut tx, &based).await.expect("classes");
    let learnt = writer.finish(&mut tx).await.expect("written");
    commit(tx).await.expect("committed");
    learnt.remember();
    classes
}

/// A year; returns how often a host changed and how many sets there were.
async fn year(store: &Store, fleet: &mut Fleet) -> (usize, usize) {
    let memo = Memo::default();
    let mut lines: Vec<Timeline> = vec![Timeline::default(); HOSTS];
    let mut classes: HashMap<State, ClassId> = HashMap::new();
    let mut changes = 0;
    for day in 0..DAYS {
        let changed = if day == 0 { (0..HOSTS).collect() } else { fleet.day(day) };
        changes += changed.len();
        let states = fleet.states();
        let mut new: Vec<(State, Option<ClassId>)> = Vec::new();
        let mut seen = HashSet::new();
        for n in &changed {
            if !classes.contains_key(&states[*n]) && seen.insert(&states[*n]) {
                new.push((states[*n].clone(), lines[*n].present()));
            }
        }
        for chunk in new.chunks(SETS) {
            let ids = intern(store, &memo, fleet, chunk).await;
            classes.extend(chunk.iter().map(|(state, _)| state.clone()).zip(ids));
        }
        let mut moved = BTreeMap::new();
        for n in changed {
            let second = BEGIN + i64::from(day) * DAY + (n as i64 * 7919) % DAY;
            lines[n].record(second, classes[&states[n]]);
            moved.insert(host(n), lines[n].clone());
        }
        let mut tx = store.begin().await.expect("begun");
        history_timelines::put(&mut tx, &moved).await.expect("stored");
        commit(tx).await.expect("committed");
    }
    (changes, classes.len())
}

fn control(store: Store) -> Control {
    let (key, _) = WorkKey::generate().expect("a key");
    let clock = BenchClock(AtomicI64::new((BEGIN + i64::from(DAYS) * DAY) * 1000));
    Control::new(store, Config::default(), key, Arc::new(clock))
}

fn ms(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Questions about the year.
async fn ask(path: &Path, figures: &mut serde_json::Map<String, serde_json::Value>) {
    let control = control(Store::open(&Location::Sqlite(path.to_owned())).await.expect("opened"));
    let mut rng = fleet::Rng(7);
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let at = Timestamp::from_second(BEGIN + DAY + rng.below((DAYS as usize - 1) * DAY as usize) as i64).expect("in range");
        let since = Instant::now();
        let fleet = control.fleet_packages(Some(at)).await.expect("asked");
        times.push(ms(since));
        assert_eq!(fleet.hosts.len(), HOSTS);
        assert!(fleet.hosts.iter().all(|(_, class)| fleet.classes[class].len() > 500));
        figures.insert("asof_classes".into(), json!(fleet.classes.len()));
    }
    figures.insert("asof_first_ms".into(), json!(times[0]));
    figures.insert("asof_worst_ms".into(), json!(times.iter().copied().fold(0.0, f64::max)));
    figures.insert("asof_ms".into(), json!(median(times)));
    let since = Instant::now();
    control.fleet_packages(None).await.expect("asked");
    figures.insert("present_ms".into(), json!(ms(since)));
    let ctx = control.ctx(Principal::Server, "bench");
    let since = Instant::now();
    let query = HoldingQuery { page: PageQuery { cursor: None, limit: Some(1000) }, ..HoldingQuery::default() };
    let found = control.who_had(&ctx, "pkg0003-tools", &query).await.expect("asked");
    assert!(!found.items.is_empty());
    figures.insert("who_had_ms".into(), json!(ms(since)));
}

fn section<T: serde::Serialize>(kind: &str, value: &T) -> SectionIn {
    packed(kind, serde_json::to_vec(value).expect("JSON"))
}

fn packed(kind: &str, body: Vec<u8>) -> SectionIn {
    SectionIn { kind: kind.into(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) }
}

/// The five sections of a host, all in full.
fn report(n: usize, packages: Vec<u8>) -> Vec<SectionIn> {
    let os = OsFacts {
        hostname: format!("host-{n:05}.example.com"),
        long_name: "Oracle Linux Server 9.4".into(),
        short_name: "ol".into(),
        version: "9.4".into(),
        architecture: "x86_64".into(),
        kernel_release: "5.14.0-427.el9.x86_64".into(),
        kernel_version: "#1 SMP PREEMPT_DYNAMIC".into(),
        boot_id: format!("{n:08x}-0000-4000-8000-000000000000"),
        machine_id: format!("{n:032x}"),
        agent_version: "0.1.0".into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    };
    let update = |i: usize| Update {
        name: format!("pkg{i:04}-libs"),
        arch: "x86_64".into(),
        from: "1.0-1.el9".into(),
        to: format!("1.0-{}.el9", 2 + n % 40),
        repository: "ol9_baseos_latest".into(),
        kind: UpdateKind::Security,
        ..Update::default()
    };
    let updates = UpdateSet { updates: (0..12).map(update).collect(), findings: vec![] };
    let health = Health { running_kernel: "5.14.0-427.el9.x86_64".into(), ..Health::default() };
    vec![
        section("os", &os),
        packed("packages", packages),
        section("updates", &updates),
        section("health", &health),
        section("rules", &HostRules::default()),
    ]
}

/// Processor time of this process so far, seconds (Linux counts in hundredths).
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

/// Sends every host's report, [`AT_ONCE`] at a time; returns reports a second, and processor time a report, microseconds.
async fn send(control: &Control, reports: Vec<Vec<SectionIn>>) -> (f64, f64) {
    let reports: Arc<Vec<std::sync::Mutex<Option<Vec<SectionIn>>>>> =
        Arc::new(reports.into_iter().map(|r| std::sync::Mutex::new(Some(r))).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let (since, processor) = (Instant::now(), processor_s());
    let mut tasks = Vec::new();
    for _ in 0..AT_ONCE {
        let (control, reports, next) = (control.clone(), Arc::clone(&reports), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = reports.get(n) else { return };
                let report = slot.lock().expect("lock").take().expect("once");
                let ctx = control.ctx(Principal::Instance(host(n)), "bench");
                let wanted = control.report_inventory(&ctx, report).await.expect("taken");
                assert!(wanted.is_empty());
            }
        }));
    }
    for task in tasks {
        task.await.expect("ends");
    }
    let per_s = (HOSTS as f64 / since.elapsed().as_secs_f64()).round();
    (per_s, ((processor_s() - processor) / HOSTS as f64 * 1e6).round())
}

/// First reports of all hosts, and then, when every host was patched, again; of the fleet, or with a package of its own
/// on every host so that no two reports are equal.
async fn intake(dir: &Path, fleet: &mut Fleet, distinct: bool, figures: &mut serde_json::Map<String, serde_json::Value>) {
    let store = database(&dir.join(format!("intake-{distinct}.sqlite"))).await;
    let control = control(store);
    let name = if distinct { "distinct" } else { "fleet" };
    for (round, day) in [("first", DAYS), ("changed", DAYS + 40)] {
        if round == "changed" {
            for day in DAYS..day {
                fleet.day(day);
            }
        }
        let mut sets = HashSet::new();
        let mut reports = Vec::new();
        for (n, state) in fleet.states().iter().enumerate() {
            let mut body = fleet.body(state);
            if distinct {
                body.pop();
                body.extend_from_slice(format!(r#",{{"name":"zz-own","arch":"noarch","version":"{n}-1"}}]"#).as_bytes());
            }
            let report = report(n, body);
            sets.insert(report[1].fingerprint.clone());
            reports.push(report);
        }
        figures.insert(format!("{name}_{round}_sets"), json!(sets.len()));
        let (per_s, processor_us) = send(&control, reports).await;
        figures.insert(format!("{name}_{round}_reports_per_s"), json!(per_s));
        figures.insert(format!("{name}_{round}_processor_us"), json!(processor_us));
    }
}

/// Without an argument everything, in a temporary directory; `year DIR`, `ask DIR` and `intake DIR` one part each.
#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = tempfile::tempdir().expect("a directory");
    let base = arguments.get(1).map_or_else(|| dir.path().to_owned(), std::path::PathBuf::from);
    let part = |name: &str| arguments.first().is_none_or(|asked| asked == name);
    let path = base.join("year.sqlite");
    let mut figures = serde_json::Map::new();
    let mut fleet = Fleet::new(20_261_122);
    if part("year") {
        database(&path).await.close().await;
        let before = size(&path);
        let store = Store::open(&Location::Sqlite(path.clone())).await.expect("opened");
        let since = Instant::now();
        let (changes, sets) = year(&store, &mut fleet).await;
        store.close().await;
        figures.insert("year_s".into(), json!((since.elapsed().as_secs_f64() * 10.0).round() / 10.0));
        figures.insert("changes".into(), json!(changes));
        figures.insert("sets".into(), json!(sets));
        figures.insert("stored_mib".into(), json!(mib(size(&path) - before)));
    }
    if part("ask") {
        ask(&path, &mut figures).await;
    }
    if part("intake") {
        intake(&base, &mut fleet, false, &mut figures).await;
        intake(&base, &mut fleet, true, &mut figures).await;
    }
    println!("{}", serde_json::Value::Object(figures));
}
