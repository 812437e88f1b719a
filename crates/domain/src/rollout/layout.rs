//! The plan of a rollout: which host is in which wave, which zones there are. Made once when a job begins and again when a
//! person changes the rollout; a plan never changes, the next one names it as its parent.
//!
//! Who is taken by a share follows from the seed alone: hosts are put in order by a hash of seed and id, and the first n
//! are taken. Absent: who goes when ([`super::planner`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::spec::{Detect, Gate, Rollout, Wave, WaveSize};
use crate::ids::{InstanceId, TaskId};
use crate::patch::admission::limit;

/// The name of the wave of hosts that no other takes.
pub const REST: &str = "rest";

/// One host of the job as it is laid out.
#[derive(Debug, Clone)]
pub struct LayoutHost<'a> {
    /// Its task.
    pub task: TaskId,
    /// The host.
    pub instance: InstanceId,
    /// Its zone.
    pub zone: &'a str,
    /// What kind of host it is, for covering: operating system, version and role.
    pub kind: String,
    /// Bit i: wave i's `select` chooses it. A wave without `select` looks at no bit.
    pub selected: u64,
    /// It has begun in this wave of the parent plan and stays there.
    pub begun_in: Option<u16>,
}

/// A plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RolloutPlan {
    /// 1, 2 …
    pub number: u32,
    /// The plan before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who asked for it and why.
    #[serde(default)]
    pub why: String,
    /// What shares follow from.
    pub seed: u64,
    /// The rollout it was made from.
    pub rollout: Rollout,
    /// At least one.
    pub waves: Vec<PlannedWave>,
    /// By name.
    pub zones: Vec<PlannedZone>,
}

/// A wave of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedWave {
    /// Its name.
    pub name: String,
    /// Its hosts, count. May be 0: nobody was left for it.
    pub hosts: u32,
    /// Failures that halt the job; absent = none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halts_at: Option<u32>,
    /// Seconds before the next wave.
    #[serde(default)]
    pub bake_secs: u64,
    /// What must say yes before the next wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// A failure domain of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedZone {
    /// Its name; empty = hosts without a zone.
    pub zone: String,
    /// Its region.
    pub region: String,
    /// The job's hosts in it, count.
    pub hosts: u32,
    /// Hosts that may be disrupted at once; absent = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
}

/// The region of a zone: what stands before the last `-`, as in `europe-west1-b`. A zone without one is its own region.
pub fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

/// What a plan follows from besides its hosts.
#[derive(Debug, Clone)]
pub struct LayoutFacts<'a> {
    /// What the operator wrote.
    pub rollout: &'a Rollout,
    /// Used where the operator gave no seed.
    pub drawn_seed: u64,
    /// The plan it takes the place of.
    pub parent: Option<&'a RolloutPlan>,
    /// Who asked for it and why.
    pub why: &'a str,
    /// When it is made.
    pub now: Timestamp,
}

/// Makes the plan, and says for every host, in the order given, which wave it is in.
pub fn lay_out(facts: &LayoutFacts<'_>, hosts: &[LayoutHost<'_>]) -> (RolloutPlan, Vec<u16>) {
    let seed = facts.rollout.seed.or(facts.parent.map(|p| p.seed)).unwrap_or(facts.drawn_seed);
    let waves = with_rest(&facts.rollout.waves);
    let wave_of = assign(&waves, seed, hosts);
    let planned = waves.iter().enumerate().map(|(i, wave)| {
        let members = count(wave_of.iter().filter(|w| usize::from(**w) == i).count());
        PlannedWave {
            name: wave.name.clone(),
            hosts: members,
            halts_at: facts.rollout.failure_limit().map(|l| limit(Some(l), members)),
            bake_secs: wave.bake_secs,
            gate: wave.gate.clone(),
        }
    });
    let plan = RolloutPlan {
        number: facts.parent.map_or(1, |p| p.number.saturating_add(1)),
        parent: facts.parent.map(|p| p.number),
        made_at: facts.now,
        why: facts.why.to_owned(),
        seed,
        rollout: facts.rollout.clone(),
        waves: planned.collect(),
        zones: zones(facts.rollout, hosts),
    };
    (plan, wave_of)
}

/// The waves as written, and one for whoever they leave over.
fn with_rest(waves: &[Wave]) -> Vec<Wave> {
    let mut waves = waves.to_vec();
    if waves.last().is_none_or(|w| w.select.is_some() || w.size.is_some()) {
        let mut name = REST.to_owned();
        while waves.iter().any(|w| w.name == name) {
            name.push('_');
        }
        waves.push(Wave { name, ..Wave::default() });
    }
    waves
}

fn zones(rollout: &Rollout, hosts: &[LayoutHost<'_>]) -> Vec<PlannedZone> {
    let mut by_zone: BTreeMap<&str, u32> = BTreeMap::new();
    hosts.iter().for_each(|h| *by_zone.entry(h.zone).or_default() += 1);
    let planned = by_zone.into_iter().map(|(zone, hosts)| PlannedZone {
        zone: zone.to_owned(),
        region: region_of(zone).to_owned(),
        hosts,
        budget: rollout.disruption_budget.map(|b| limit(Some(b), hosts)),
    });
    planned.collect()
}

/// The wave of every host.
fn assign(waves: &[Wave], seed: u64, hosts: &[LayoutHost<'_>]) -> Vec<u16> {
    let rest = u16::try_from(waves.len() - 1).unwrap_or(u16::MAX);
    let mut wave_of: Vec<Option<u16>> = hosts.iter().map(|h| h.begun_in.map(|w| w.min(rest))).collect();
    let mut order: Vec<usize> = (0..hosts.len()).collect();
    order.sort_by_key(|i| (rank(seed, hosts[*i].instance), hosts[*i].instance));
    for (index, wave) in waves.iter().enumerate() {
        let index16 = u16::try_from(index).unwrap_or(u16::MAX);
        let mine = |i: usize| wave.select.is_none() || hosts[i].selected >> index & 1 == 1;
        let already = wave_of.iter().filter(|w| **w == Some(index16)).count();
        let room = size(wave, hosts.len()).saturating_sub(already);
        let chosen: Vec<usize> = order.iter().copied().filter(|i| wave_of[*i].is_none() && mine(*i)).take(room).collect();
        chosen.into_iter().for_each(|i| wave_of[i] = Some(index16));
        if wave.cover_kinds {
            cover(index16, &order, hosts, mine, &mut wave_of);
        }
    }
    wave_of.into_iter().map(|w| w.unwrap_or(rest)).collect()
}

/// Takes one host more of every kind that the wave may choose from and does not have.
fn cover(wave: u16, order: &[usize], hosts: &[LayoutHost<'_>], mine: impl Fn(usize) -> bool, wave_of: &mut [Option<u16>]) {
    let members = hosts.iter().zip(wave_of.iter()).filter(|(_, w)| **w == Some(wave));
    let mut kinds: BTreeSet<&str> = members.map(|(h, _)| h.kind.as_str()).collect();
    for &i in order {
        if wave_of[i].is_none() && mine(i) && kinds.insert(&hosts[i].kind) {
            wave_of[i] = Some(wave);
        }
    }
}

fn size(wave: &Wave, hosts: usize) -> usize {
    match wave.size {
        None => usize::MAX,
        Some(WaveSize::Fixed(n)) => n as usize,
        Some(WaveSize::Percent(p)) => (hosts * p as usize).div_ceil(100),
        Some(WaveSize::Detect(detect)) => sample(detect, hosts),
    }
}

/// The smallest sample without replacement of `hosts` that misses every failing host with a chance of at most
/// 1 − confidence (hypergeometric). Example: 30 %, 99.9 %: 8 of 10 hosts, 20 of 10,000.
fn sample(detect: Detect, hosts: usize) -> usize {
    let failing = (hosts * detect.failure_percent as usize).div_ceil(100);
    let may_miss = 1.0 - f64::from(detect.confidence_permille) / 1000.0;
    let mut missed = 1.0;
    for taken in 0..hosts {
        // A hair of tolerance: 1 − 0.999 is not 0.001 in binary.
        if missed <= may_miss * (1.0 + 1e-9) {
            return taken;
        }
        let good_left = hosts.saturating_sub(failing).saturating_sub(taken);
        missed *= good_left as f64 / (hosts - taken) as f64;
    }
    hosts
}

/// A host's place in the order of shares: SplitMix64 over seed and id, so that each bit of both counts.
fn rank(seed: u64, instance: InstanceId) -> u64 {
    let id = instance.0.as_u128();
    mix(mix(seed ^ (id >> 64) as u64) ^ id as u64)
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn host(n: u128, zone: &'static str, kind: &str, selected: u64) -> LayoutHost<'static> {
        let id = Uuid::from_u128(n);
        LayoutHost { task: TaskId(id), instance: InstanceId(id), zone, kind: kind.into(), selected, begun_in: None }
    }

    fn laid_out(rollout: &str, hosts: &[LayoutHost<'_>]) -> (RolloutPlan, Vec<u16>) {
        let rollout: Rollout = serde_json::from_str(rollout).expect("a rollout");
        rollout.validate("rollout").expect("valid");
        let facts = LayoutFacts { rollout: &rollout, drawn_seed: 7, parent: None, why: "", now: Timestamp::UNIX_EPOCH };
        lay_out(&facts, hosts)
    }

    #[test]
    fn a_rollout_without_waves_is_one_wave() {
        let hosts = [host(1, "a-1", "x", 0), host(2, "a-1", "x", 0), host(3, "b-1", "x", 0)];
        let (plan, waves) = laid_out(r#"{"disruptionBudget":{"percent":34}}"#, &hosts);
        assert_eq!(waves, [0, 0, 0]);
        assert_eq!(plan.waves.iter().map(|w| (w.name.as_str(), w.hosts, w.halts_at)).collect::<Vec<_>>(), [("rest", 3, None)]);
        let zones: Vec<_> = plan.zones.iter().map(|z| (z.zone.as_str(), z.region.as_str(), z.hosts, z.budget)).collect();
        assert_eq!(zones, [("a-1", "a", 2, Some(1)), ("b-1", "b", 1, Some(1))]);
    }

    #[test]
    fn shares_follow_from_the_seed_and_selectors_from_the_bits() {
        let hosts: Vec<_> = (0..100).map(|n| host(n, "z", "k", u64::from(n < 10) << 1)).collect();
        let text = r#"{"seed":1,"waves":[{"name":"canary","size":{"fixed":1}},{"name":"ring1","select":{"zones":["z"]}},
            {"name":"half","size":{"percent":50}}],"haltAfter":{"percent":10}}"#;
        let (plan, waves) = laid_out(text, &hosts);
        let sizes: Vec<u32> = plan.waves.iter().map(|w| w.hosts).collect();
        assert_eq!(sizes.iter().sum::<u32>(), 100);
        assert_eq!((sizes[0], sizes[2]), (1, 50));
        assert!(sizes[1] >= 9, "{sizes:?}");
        assert_eq!(plan.waves[2].halts_at, Some(5));
        assert_eq!(laid_out(text, &hosts).1, waves);
        assert_ne!(laid_out(&text.replace("\"seed\":1", "\"seed\":2"), &hosts).1, waves);
    }

    #[test]
    fn a_covering_wave_has_every_kind_once() {
        let hosts: Vec<_> = (0..60).map(|n| host(n, "z", &format!("kind{}", n % 7), 0)).collect();
        let (plan, waves) = laid_out(r#"{"waves":[{"name":"first","size":{"fixed":2},"coverKinds":true}]}"#, &hosts);
        let kinds: BTreeSet<&str> = hosts.iter().zip(&waves).filter(|(_, w)| **w == 0).map(|(h, _)| h.kind.as_str()).collect();
        assert_eq!(kinds.len(), 7);
        assert!((7..=8).contains(&plan.waves[0].hosts), "{}", plan.waves[0].hosts);
    }

    #[test]
    fn a_sample_meets_a_bad_update() {
        let d = |failure_percent, confidence_permille| Detect { failure_percent, confidence_permille };
        assert_eq!(sample(d(30, 999), 10), 8);
        assert_eq!(sample(d(30, 999), 10_000), 20);
        assert_eq!(sample(d(100, 999), 500), 1);
        assert_eq!(sample(d(1, 999), 1), 1);
        assert_eq!(sample(d(30, 999), 0), 0);
    }

    #[test]
    fn a_new_plan_keeps_those_who_have_begun() {
        let mut hosts: Vec<_> = (0..20).map(|n| host(n, "z", "k", 0)).collect();
        let first: Rollout = serde_json::from_str(r#"{"waves":[{"name":"a","size":{"fixed":5}}]}"#).expect("a rollout");
        let facts = LayoutFacts { rollout: &first, drawn_seed: 3, parent: None, why: "", now: Timestamp::UNIX_EPOCH };
        let (plan, waves) = lay_out(&facts, &hosts);
        for (host, wave) in hosts.iter_mut().zip(&waves) {
            host.begun_in = (*wave == 0).then_some(0);
        }
        let second: Rollout =
            serde_json::from_str(r#"{"waves":[{"name":"a","size":{"fixed":2}},{"name":"b","size":{"fixed":3}}]}"#)
                .expect("a rollout");
        let facts = LayoutFacts { rollout: &second, parent: Some(&plan), ..facts };
        let (next, after) = lay_out(&facts, &hosts);
        assert_eq!((next.number, next.parent, next.seed), (2, Some(1), plan.seed));
        assert_eq!(next.waves.iter().map(|w| w.hosts).collect::<Vec<_>>(), [5, 3, 12]);
        assert!(waves.iter().zip(&after).all(|(before, now)| *before != 0 || *now == 0));
    }
}
