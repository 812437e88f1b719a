//! What a seed draws: a fleet, its calendars, the jobs, what goes wrong, and what the person does.

use drydock_domain::patch::spec::Concurrency;
use drydock_domain::rollout::window::{Freeze, FreezeCalendar, FreezePeriod, MaintenanceWindow, Window};
use drydock_domain::rollout::{Detect, Gate, Rollout, RolloutMode, Wave, WaveSize};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use serde_json::json;

use super::luck::Luck;

/// The first moment of every run: midnight UTC of a Monday, seconds since 1970.
const EPOCH_SECS: i64 = 1_772_409_600;
/// A day, seconds.
pub(super) const DAY_SECS: i64 = 86_400;
/// The longest any job of a run lasts, seconds.
const DURATION_MAX_SECS: i64 = 2 * DAY_SECS;

/// The moment so many seconds into a run.
pub(super) fn stamp(secs: i64) -> Timestamp {
    Timestamp::from_second(EPOCH_SECS + secs).unwrap_or(Timestamp::MAX)
}

/// Seconds into a run.
pub(super) fn secs(at: Timestamp) -> i64 {
    at.as_second() - EPOCH_SECS
}

/// Everything that a seed draws.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) zones: Vec<String>,
    pub(super) hosts: Vec<HostSpec>,
    pub(super) calendars: Vec<Calendar>,
    pub(super) jobs: Vec<JobSpec>,
    pub(super) faults: Faults,
    /// The first job's update is bad, its first wave is meant to meet that, and nothing else of the run fails a host.
    pub(super) is_measured: bool,
    /// What the person does unasked: when, to which job.
    pub(super) acts: Vec<(i64, usize, Act)>,
    /// Changes that the server stores in one turn of a job, count.
    pub(super) changes_max: usize,
}

/// One host.
#[derive(Debug)]
pub(super) struct HostSpec {
    pub(super) zone: usize,
    pub(super) kind: usize,
    /// Its clock is so many seconds ahead.
    pub(super) skew: i64,
    /// Place in [`Scenario::calendars`].
    pub(super) calendar: usize,
}

/// Windows and freezes that several hosts have in common; each twice: as Drydock takes them, and as plain numbers.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    pub(super) windows: Vec<Window>,
    pub(super) freezes: Vec<Freeze>,
    /// Every day (UTC) from this second of the day, so many seconds long.
    daily: Vec<(i64, i64)>,
    /// Seconds into the run.
    frozen: Vec<(i64, i64)>,
}

impl Calendar {
    /// May its hosts be worked at? By arithmetic of days, without Drydock's schedules.
    pub(super) fn is_open(&self, now: i64) -> bool {
        let in_day = now.rem_euclid(DAY_SECS);
        let open =
            |(from, length): &(i64, i64)| (*from <= in_day && in_day < from + length) || (in_day + DAY_SECS < from + length);
        (self.daily.is_empty() || self.daily.iter().any(open)) && !self.frozen.iter().any(|(a, b)| *a <= now && now < *b)
    }
}

/// One job.
#[derive(Debug)]
pub(super) struct JobSpec {
    pub(super) at: i64,
    pub(super) members: Vec<usize>,
    pub(super) rollout: Rollout,
    pub(super) at_once: Option<u32>,
    pub(super) duration: i64,
    pub(super) reboots: bool,
    /// What the update does to each member.
    pub(super) fates: Vec<Fate>,
}

/// What an update does to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    /// Its post-install fails.
    PostInstall,
    /// Its health check fails.
    Health,
    /// All is well until, so many seconds later, a unit fails.
    Decays(i64),
}

/// How much goes wrong, in thousandths of what could.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) lost: u32,
    pub(super) late: u32,
    pub(super) doubled: u32,
    pub(super) agent_dies: u32,
    pub(super) never_returns: u32,
    pub(super) ledger_lost: u32,
    pub(super) is_off: u32,
    pub(super) partitions: u32,
    pub(super) server_kills: u32,
}

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Approve,
    ApproveGate(u16),
    Pause,
    Unpause,
    Halt,
    Resume,
    Abort,
    /// Writes the rollout anew: a plan with a parent.
    Replan,
}

impl Scenario {
    /// What this seed draws.
    pub(super) fn draw(seed: u64) -> Scenario {
        let luck = &mut Luck::new(seed, 1);
        let is_measured = luck.permille(450);
        let hosts_n = match luck.below(1000) {
            0..=919 => luck.between(10, 60),
            920..=981 => luck.between(61, 500),
            982..=995 => luck.between(501, 2000),
            _ => luck.between(2001, 10_000),
        } as usize;
        let zones_n = 1 + luck.below(5);
        let zones = (0..zones_n).map(|z| format!("r{}-{}", luck.below(2 + z), ["b", "a", "d", "c", "e"][z])).collect();
        let kinds = 1 + luck.below(4);
        let calendars = calendars(luck);
        let skewed = luck.permille(500);
        let hosts = (0..hosts_n).map(|_| HostSpec {
            zone: luck.below(zones_n).min(luck.below(zones_n)),
            kind: luck.below(kinds),
            skew: if skewed { luck.between(-900, 900) + i64::from(luck.permille(5)) * 8000 } else { 0 },
            calendar: luck.below(calendars.len()),
        });
        let mut hosts: Vec<HostSpec> = hosts.collect();
        if is_measured {
            hosts.iter_mut().for_each(|h| h.skew = h.skew.clamp(-900, 900));
        }
        let faults = faults(luck, is_measured);
        let jobs_n = 1 + luck.below(3).min(1) + usize::from(luck.permille(100));
        let jobs: Vec<JobSpec> = (0..jobs_n).map(|j| job(luck, &hosts, is_measured && j == 0, j)).collect();
        let acts = acts(luck, &jobs, is_measured);
        let changes_max = if hosts.len() <= 60 && luck.permille(300) { 1 + luck.below(20) } else { 2000 };
        Scenario { zones, hosts, calendars, jobs, faults, is_measured, acts, changes_max }
    }

    /// When everything must be over, seconds into the run.
    pub(super) fn end(&self) -> i64 {
        self.jobs.iter().map(|j| j.at + j.duration).max().unwrap_or(0)
    }
}

fn calendars(luck: &mut Luck) -> Vec<Calendar> {
    if luck.permille(600) {
        return vec![Calendar::default()];
    }
    let several = 1 + luck.below(3);
    (0..several).map(|_| calendar(luck)).collect()
}

fn calendar(luck: &mut Luck) -> Calendar {
    let daily: Vec<(i64, i64)> = (0..luck.below(3)).map(|_| (luck.between(0, 1439) * 60, luck.between(60, 1200) * 60)).collect();
    let frozen: Vec<(i64, i64)> = (0..luck.below(3))
        .map(|_| {
            let from = luck.between(0, DAY_SECS);
            (from, from + luck.between(60, 36_000))
        })
        .collect();
    let zones = TimeZoneDatabase::bundled();
    let window = |(from, length): &(i64, i64)| -> Option<Window> {
        let written: MaintenanceWindow = serde_json::from_value(json!({
            "name": "nights", "instanceFilter": {"all": true}, "durationSecs": length,
            "schedule": {"timeZone": {"id": "UTC"}, "frequency": "DAILY",
                "timeOfDay": {"hours": from / 3600, "minutes": from % 3600 / 60}},
        }))
        .ok()?;
        written.window(&zones).ok()
    };
    let windows: Vec<Window> = daily.iter().filter_map(window).collect();
    assert_eq!(windows.len(), daily.len(), "every drawn window is a good one: {daily:?}");
    let period = |(from, to): &(i64, i64)| FreezePeriod { from: stamp(*from), to: stamp(*to), reason: String::new() };
    let written = FreezeCalendar {
        name: "freeze".into(),
        description: String::new(),
        instance_filter: serde_json::from_value(json!({"all": true})).unwrap_or_default(),
        periods: frozen.iter().map(period).collect(),
        compartment: None,
    };
    let freezes = written.freeze().into_iter().collect::<Vec<Freeze>>();
    assert_eq!(freezes.is_empty(), frozen.is_empty(), "every drawn freeze is a good one: {frozen:?}");
    Calendar { windows, freezes, daily, frozen }
}

fn faults(luck: &mut Luck, is_measured: bool) -> Faults {
    if luck.permille(100) {
        return Faults::default();
    }
    let mut some = |of: &[u32]| luck.of(of);
    let harmless = Faults {
        lost: some(&[0, 20, 100, 250]),
        late: some(&[0, 20, 100]),
        doubled: some(&[0, 20, 150]),
        partitions: some(&[0, 0, 30, 100]),
        server_kills: some(&[0, 0, 2, 10, 40]),
        agent_dies: some(&[0, 20, 60]),
        ..Faults::default()
    };
    if is_measured {
        // What halts such a run is to be the update and nothing else.
        return harmless;
    }
    Faults { never_returns: some(&[0, 0, 5, 30]), ledger_lost: some(&[0, 0, 5]), is_off: some(&[0, 20, 100]), ..harmless }
}

fn job(luck: &mut Luck, hosts: &[HostSpec], is_measured: bool, place: usize) -> JobSpec {
    let all = place == 0 || luck.permille(500);
    let members: Vec<usize> = (0..hosts.len()).filter(|_| all || luck.permille(500)).collect();
    let mut rollout = if is_measured { measured_rollout(luck) } else { any_rollout(luck) };
    if hosts.len() > 500 {
        // One host at a time would last for weeks.
        rollout.disruption_budget = Some(Concurrency::Percent(luck.of(&[20, 30, 50])));
    }
    rollout.validate("rollout").unwrap_or_else(|e| panic!("a drawn rollout is wrong: {e}: {rollout:?}"));
    let bake = rollout.waves.first().map_or(0, |w| i64::try_from(w.bake_secs).unwrap_or(0));
    let fates = fates(luck, hosts, &members, is_measured, bake);
    JobSpec {
        at: place as i64 * luck.between(0, 7200),
        members,
        rollout,
        at_once: (hosts.len() <= 500 && !is_measured && luck.permille(150)).then(|| 1 + luck.below(10) as u32),
        duration: if luck.permille(200) { luck.between(3600, 20_000) } else { luck.between(DAY_SECS, DURATION_MAX_SECS) },
        reboots: luck.permille(500),
        fates,
    }
}

/// The first wave holds with 99.9 % a host that fails where 30 % would, and every kind of host.
fn measured_rollout(luck: &mut Luck) -> Rollout {
    let detect = Detect { failure_percent: 30, confidence_permille: 999 };
    let mut waves = vec![Wave {
        name: "first".into(),
        size: Some(WaveSize::Detect(detect)),
        cover_kinds: true,
        bake_secs: luck.of(&[1800, 3600]),
        ..Wave::default()
    }];
    if luck.permille(500) {
        waves.push(Wave { name: "half".into(), size: Some(WaveSize::Percent(50)), ..Wave::default() });
    }
    Rollout { waves, mode: mode(luck), disruption_budget: budget(luck), ..Rollout::default() }
}

fn mode(luck: &mut Luck) -> RolloutMode {
    luck.of(&[RolloutMode::ConcurrentZones, RolloutMode::ConcurrentZones, RolloutMode::ZoneByZone])
}

fn budget(luck: &mut Luck) -> Option<Concurrency> {
    match luck.below(4) {
        0 => None,
        1 => Some(Concurrency::Percent(luck.of(&[10, 25, 50, 100]))),
        _ => Some(Concurrency::Fixed(1 + luck.below(6) as u32)),
    }
}

fn any_rollout(luck: &mut Luck) -> Rollout {
    let names = ["canary", "ring1", "ring2"];
    let waves = names.iter().take(luck.below(4)).map(|name| Wave {
        name: (*name).into(),
        size: Some(luck.of(&[WaveSize::Fixed(1), WaveSize::Fixed(4), WaveSize::Percent(10), WaveSize::Percent(40)])),
        cover_kinds: luck.permille(300),
        bake_secs: luck.of(&[0, 0, 300, 1800]),
        gate: luck
            .permille(250)
            .then(|| Gate { approval: true, webhook: luck.permille(500).then(|| "https://gate.example.org/".to_owned()) }),
        ..Wave::default()
    });
    let waves: Vec<Wave> = waves.collect();
    let halt_after = match luck.below(3) {
        0 => None,
        1 => Some(Concurrency::Fixed(1 + luck.below(5) as u32)),
        _ => Some(Concurrency::Percent(luck.of(&[10, 30, 60]))),
    };
    Rollout {
        waves,
        halt_after,
        mode: mode(luck),
        disruption_budget: budget(luck),
        require_approval: luck.permille(200),
        catch_up_secs: luck.permille(250).then_some(20_000),
        ..Rollout::default()
    }
}

/// A bad update fails at least 30 % of the members: some at random, or every host of some kinds.
fn fates(luck: &mut Luck, hosts: &[HostSpec], members: &[usize], is_measured: bool, bake: i64) -> Vec<Fate> {
    let percent = if is_measured { luck.of(&[30, 30, 30, 35, 50, 70]) } else { luck.of(&[0, 0, 0, 5, 15, 30, 60]) };
    let wanted = (members.len() * percent).div_ceil(100);
    let how = luck.below(3);
    let bad = |luck: &mut Luck| match how {
        0 => Fate::PostInstall,
        1 => Fate::Health,
        _ if bake >= 1800 => Fate::Decays(luck.between(60, bake * 7 / 10)),
        _ => Fate::PostInstall,
    };
    let mut fates = vec![Fate::Good; members.len()];
    let mut order: Vec<usize> = (0..members.len()).collect();
    luck.shuffle(&mut order);
    if luck.permille(400) {
        // By kind: the members' kinds, one after the other, until enough hosts fail.
        let first = luck.below(4);
        order.sort_by_key(|i| (hosts[members[*i]].kind + first) % 4);
        let last_kind = wanted.checked_sub(1).and_then(|i| order.get(i)).map(|i| hosts[members[*i]].kind);
        let reaches = |i: &usize| Some(hosts[members[*i]].kind) == last_kind;
        let whole = order.iter().rposition(reaches).map_or(0, |at| at + 1);
        order.iter().take(whole).for_each(|i| fates[*i] = bad(luck));
    } else {
        order.iter().take(wanted).for_each(|i| fates[*i] = bad(luck));
    }
    fates
}

fn acts(luck: &mut Luck, jobs: &[JobSpec], is_measured: bool) -> Vec<(i64, usize, Act)> {
    let mut acts = Vec::new();
    for (j, job) in jobs.iter().enumerate() {
        if job.rollout.require_approval {
            acts.push((job.at + luck.between(10, 5000), j, Act::Approve));
        }
        if luck.permille(250) {
            let at = job.at + luck.between(60, 9000);
            acts.push((at, j, Act::Pause));
            acts.push((at + luck.between(60, 7200), j, Act::Unpause));
        }
        if is_measured {
            continue;
        }
        for (permille, act) in [(80, Act::Halt), (80, Act::Replan), (40, Act::Abort)] {
            if luck.permille(permille) {
                acts.push((job.at + luck.between(60, 20_000), j, act));
            }
        }
    }
    acts
}
