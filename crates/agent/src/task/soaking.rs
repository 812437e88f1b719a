//! Keeping to a job's soak: what of a plan has not soaked is barred and planned again, until nothing of the plan is too
//! young or the host's package manager cannot do without it.

use drydock_domain::patch::report::{Plan, SkippedUpdate};
use drydock_domain::patch::soak::{OrderSoak, has_room, left_out};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::{BARRED_MAX, Barred};

use super::host::{Host, Trouble};

/// Plans made to keep to a soak, count: each bars everything of the plan before that is too young.
const REPLANS_MAX: usize = 30;
/// Packages named in a message, count.
const NAMED_MAX: usize = 3;

/// The host's plans for `config` with nothing in them that has not soaked. What is barred for it stays in `config`, and in
/// `own` for the next plans.
pub(super) fn plans(
    host: &mut impl Host,
    config: &mut PatchConfig,
    soak: Option<&OrderSoak>,
    own: &mut Vec<Barred>,
) -> Result<Vec<Plan>, Trouble> {
    let mut plans = host.plan(config)?;
    let Some(soak) = soak else { return Ok(plans) };
    for _ in 0..REPLANS_MAX {
        let early = soak.early(&plans);
        // A plan that the host refuses is not carried out.
        if early.is_empty() || plans.iter().any(|p| p.refusal().is_some()) {
            tell(&mut plans, own);
            return Ok(plans);
        }
        let new: Vec<Barred> = early.iter().filter(|bar| !config.barred.iter().any(|b| same(b, bar))).cloned().collect();
        if new.is_empty() {
            return Err(Trouble::Failed(format!("the package manager plans in spite of its soak: {}", named(&early))));
        }
        if !has_room(&config.barred, &new) {
            return Err(Trouble::Failed(format!("more than {BARRED_MAX} versions would have to be left out for the soak")));
        }
        config.barred.extend(new.iter().cloned());
        own.extend(new);
        plans = host.plan(config)?;
    }
    Err(Trouble::Failed(format!("after {REPLANS_MAX} plans one still has what has not soaked: {}", named(&soak.early(&plans)))))
}

fn same(a: &Barred, b: &Barred) -> bool {
    (&a.name, &a.arch, &a.version) == (&b.name, &b.arch, &b.version)
}

/// Says in the plans what the soak left out: the server learns from it what it never saw.
fn tell(plans: &mut [Plan], own: &[Barred]) {
    for bar in own {
        let is = |s: &&mut SkippedUpdate| (&s.name, &s.arch, &s.version) == (&bar.name, &bar.arch, &bar.version);
        let mut told = false;
        for skipped in plans.iter_mut().flat_map(|p| &mut p.skipped).filter(|s| is(s)) {
            told = true;
            if skipped.reason == bar.told() {
                skipped.reason = bar.reason.clone();
            }
        }
        if let (false, Some(first)) = (told, plans.first_mut()) {
            let (name, arch, version) = (bar.name.clone(), bar.arch.clone(), bar.version.clone());
            first.skipped.push(SkippedUpdate { name, arch, version, reason: bar.reason.clone() });
            first.skipped.sort();
        }
    }
}

/// How many versions a task's plans left out for a soak, for people; empty when there are none.
pub(super) fn told(plans: &[Plan]) -> String {
    match left_out(plans) {
        0 => String::new(),
        1 => "1 version soaks".to_owned(),
        n => format!("{n} versions soak"),
    }
}

fn named(early: &[Barred]) -> String {
    let mut words: Vec<String> =
        early.iter().take(NAMED_MAX).map(|b| format!("{} {}, which {}", b.name, b.version, b.reason)).collect();
    if early.len() > NAMED_MAX {
        words.push(format!("{} more", early.len() - NAMED_MAX));
    }
    words.join("; ")
}
