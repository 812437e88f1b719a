//! Keeping to what the job's first wave planned: a host that would install another version of a package plans again
//! without that version, and what differs even so is told.

use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::patch::report::{DIFFERS_MAX, Plan, PlanDifference};
use drydock_domain::patch::undo::{BARRED_MAX, Barred};
use drydock_domain::work::FrozenVersion;

/// Plans made to keep to the first wave's versions, count: each bars more; a host that still differs says so.
pub(super) const REPLANS_MAX: usize = 3;
/// Packages named in a message, count.
const NAMED_MAX: usize = 3;

/// Where the plans differ from `frozen`; sorted. Nothing differs from a wave that is not named.
pub(super) fn differences(frozen: &[FrozenVersion], plans: &[Plan]) -> Vec<PlanDifference> {
    let mut versions: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for one in frozen {
        versions.entry((&one.name, &one.arch)).or_default().push(&one.version);
    }
    let mut all = BTreeSet::new();
    for action in plans.iter().flat_map(|p| &p.actions).filter(|_| !frozen.is_empty()) {
        let Some(planned) = FrozenVersion::of(action) else { continue };
        let known = versions.get(&(planned.name.as_str(), planned.arch.as_str()));
        if known.is_some_and(|known| known.contains(&planned.version.as_str())) {
            continue;
        }
        let first = known.and_then(|known| known.first()).map(|v| (*v).to_owned());
        all.insert(PlanDifference { name: planned.name, arch: planned.arch, frozen: first, planned: planned.version });
    }
    all.into_iter().take(DIFFERS_MAX).collect()
}

/// The versions to be barred so that the first wave's are planned: those that are not barred yet.
pub(super) fn bars(differs: &[PlanDifference], barred: &[Barred]) -> Vec<Barred> {
    let new = differs.iter().filter(|d| d.frozen.is_some()).map(|d| Barred {
        name: d.name.clone(),
        arch: d.arch.clone(),
        version: d.planned.clone(),
        reason: "the job's first wave planned another version".to_owned(),
    });
    let known = |bar: &Barred| barred.iter().any(|b| (&b.name, &b.arch, &b.version) == (&bar.name, &bar.arch, &bar.version));
    new.filter(|bar| !known(bar)).take(BARRED_MAX.saturating_sub(barred.len())).collect()
}

/// The differences for people; empty when there are none.
pub(super) fn told(differs: &[PlanDifference]) -> String {
    if differs.is_empty() {
        return String::new();
    }
    let named: Vec<String> = differs
        .iter()
        .take(NAMED_MAX)
        .map(|d| match &d.frozen {
            Some(frozen) => format!("{} {} instead of {frozen}", d.name, d.planned),
            None => format!("{} {} is new", d.name, d.planned),
        })
        .collect();
    let more = differs.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    format!("differs from the job's first wave: {}{more}", named.join(", "))
}
