//! Hosts that share packages, kind and running kernel are one class and share one result: the union of what follows from their lots.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::env::Env;
use super::intern::{EMPTY, IdHasher, Text};
use super::rules_rpm::Held;
use super::tables::{LotId, Tables};
use super::verdict::{OpenState, Verdict, judge};
use crate::advisory::{AdvisoryKind, Severity};
use crate::ids::InstanceId;

/// Numbers by severity, in the order of [`Severity::ALL`].
pub type BySeverity = [u32; Severity::ALL.len()];

/// A host's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// Updates that would be installed.
    pub updates: u32,
    /// Of these, the ones that close vulnerabilities.
    pub security_updates: u32,
    /// Updates held back by the host's rules.
    pub held: u32,
    /// Advisories that apply.
    pub advisories: BySeverity,
    /// Of these, the ones whose fixes are all in what the host sees.
    pub installable: BySeverity,
    /// Open vulnerabilities.
    pub vulnerabilities: BySeverity,
}

/// What follows for a class. Ids and states are packed into one integer each: 4 bytes an advisory or vulnerability a class.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Sorted: id and worst [`OpenState`] of its packages.
    pub advisories: Box<[u32]>,
    /// Sorted: id and worst state.
    pub open: Box<[u32]>,
    pub counts: HostCounts,
    /// Of the offers.
    pub offers: u64,
}

/// Bits of a packed integer that hold the state.
const STATE_BITS: u32 = 3;

/// Packs an id and a state.
fn pack(id: u32, state: u8) -> u32 {
    (id << STATE_BITS) | u32::from(state)
}

/// The id and state of a packed integer.
pub(super) fn unpack(packed: u32) -> (u32, OpenState) {
    let state = OpenState::ALL.get((packed & ((1 << STATE_BITS) - 1)) as usize).copied();
    (packed >> STATE_BITS, state.unwrap_or(OpenState::WontFix))
}

/// The state of an id in a sorted list of packed integers.
pub(super) fn find(list: &[u32], id: u32) -> Option<OpenState> {
    let at = list.partition_point(|packed| packed >> STATE_BITS < id);
    list.get(at).copied().map(unpack).filter(|(found, _)| *found == id).map(|(_, state)| state)
}

impl Outcome {
    /// Changes when anything a host is shown changes.
    pub fn digest(&self) -> u64 {
        let mut hasher = IdHasher::default();
        self.advisories.hash(&mut hasher);
        self.open.hash(&mut hasher);
        hasher.write_u64(self.offers);
        hasher.finish()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Class {
    pub env: u32,
    pub set: u32,
    pub kernel: Text,
    pub lots: Arc<[LotId]>,
    pub hosts: BTreeSet<InstanceId>,
    pub outcome: Outcome,
}

/// Room to unite lists without allocating for each class.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Per id: state + 1, 0 = not there.
    advisories: Vec<u8>,
    vulns: Vec<u8>,
    severities: Vec<Severity>,
    found: Vec<u32>,
    open: Vec<u32>,
}

/// The verdict on a lot, remembered per kind of host. Only for kernels the running one matters.
pub(super) fn verdict<'e>(tables: &Tables, env: &'e mut Env, lot: LotId, kernel: Text) -> Option<&'e Arc<Verdict>> {
    let key = (lot, if tables.lots[lot as usize].kernel { kernel } else { EMPTY });
    if !env.verdicts.contains_key(&key) {
        let verdict = judge(tables, env, lot, tables.texts.get(key.1));
        env.verdicts.insert(key, (!verdict.is_empty()).then(|| Arc::new(verdict)));
    }
    env.verdicts.get(&key)?.as_ref()
}

/// The same for who only looks: made now when it is not remembered.
pub(super) fn known(tables: &Tables, env: &Env, lot: LotId, kernel: Text) -> Option<Arc<Verdict>> {
    let key = (lot, if tables.lots[lot as usize].kernel { kernel } else { EMPTY });
    match env.verdicts.get(&key) {
        Some(remembered) => remembered.clone(),
        None => {
            let verdict = judge(tables, env, lot, tables.texts.get(key.1));
            (!verdict.is_empty()).then(|| Arc::new(verdict))
        }
    }
}

/// Unites what follows from the lots of a class.
pub(super) fn unite(tables: &Tables, env: &mut Env, lots: &[LotId], kernel: Text, scratch: &mut Scratch) -> Outcome {
    scratch.advisories.resize(tables.advisories.records.len(), 0);
    scratch.vulns.resize(tables.advisories.vulns.len(), 0);
    scratch.severities.resize(tables.advisories.vulns.len(), Severity::Unknown);
    let mut counts = HostCounts::default();
    let mut offers = IdHasher::default();
    for lot in lots {
        let Some(verdict) = verdict(tables, env, *lot, kernel) else { continue };
        for row in &verdict.offers {
            row.offer.hash(&mut offers);
            (row.kind as u32, row.severity as u32).hash(&mut offers);
            row.advisories.hash(&mut offers);
            let free = row.offer.held == Held::Free;
            counts.updates += u32::from(free);
            counts.held += u32::from(!free);
            counts.security_updates += u32::from(free && row.kind == AdvisoryKind::Security);
        }
        for row in &verdict.advisories {
            note(&mut scratch.advisories, &mut scratch.found, row.advisory, row.state);
        }
        for row in &verdict.open {
            note(&mut scratch.vulns, &mut scratch.open, row.vuln, row.state);
            let severity = &mut scratch.severities[row.vuln as usize];
            *severity = (*severity).max(row.severity);
        }
    }
    let advisories = collect(&mut scratch.advisories, &mut scratch.found);
    for packed in &advisories {
        let (id, state) = unpack(*packed);
        let severity = tables.advisories.weight(id, |root| env.sees(root)).1 as usize;
        counts.advisories[severity] += 1;
        counts.installable[severity] += u32::from(state <= OpenState::Installable);
    }
    for id in &scratch.open {
        let own = std::mem::take(&mut scratch.severities[*id as usize]);
        let severity = if own == Severity::Unknown { tables.advisories.vulns[*id as usize].severity } else { own };
        counts.vulnerabilities[severity as usize] += 1;
    }
    let open = collect(&mut scratch.vulns, &mut scratch.open);
    Outcome { advisories, open, counts, offers: offers.finish() }
}

fn note(states: &mut [u8], found: &mut Vec<u32>, id: u32, state: OpenState) {
    let slot = &mut states[id as usize];
    if *slot == 0 {
        found.push(id);
    }
    *slot = (*slot).max(state as u8 + 1);
}

/// Takes what was noted, sorted, and leaves the room as it was.
fn collect(states: &mut [u8], found: &mut Vec<u32>) -> Box<[u32]> {
    found.sort_unstable();
    let packed = found.iter().map(|id| pack(*id, std::mem::take(&mut states[*id as usize]) - 1)).collect();
    found.clear();
    packed
}
