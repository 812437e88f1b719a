//! Planning named packages with dnf 4: the helper marks them and dnf's solver says what else that takes.

use drydock_domain::inventory::{ManagerKind, PackageSet};
use drydock_domain::patch::operation::PackageChanges;
use drydock_domain::patch::report::Plan;

use super::Dnf;
use super::helper::{Named, Request};
use crate::barred::Bars;
use crate::error::PkgError;
use crate::exec::{SOLVE_TIME_LIMIT, cut, join_findings};
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::wish::{Wishes, refuse_protected};

const TOOL: &str = "dnf";

pub(super) fn plan(
    dnf: &Dnf,
    runner: &dyn Runner,
    packages: &PackageChanges,
    bars: Bars<'_>,
    strict: bool,
) -> Result<Plan, PkgError> {
    let installed = PackageSet::new(dnf.installed(runner)?);
    let mut wishes = Wishes::new(packages, &installed, &rpm::order)?;
    let request =
        Request { action: "plan", named: Some(Named::from(&wishes)), barred: bars.all().to_vec(), ..Default::default() };
    let (mut answer, _) = dnf.ask(runner, &request, SOLVE_TIME_LIMIT)?;
    if strict && !answer.findings.is_empty() {
        return Err(PkgError::BrokenRepository { details: join_findings(&answer.findings) });
    }
    answer.actions.sort();
    refuse_protected(runner, TOOL, &answer.actions)?;
    wishes.settle(TOOL, &answer.actions, &|word| answer.unmet.get(&word.name).map(|words| cut(words)))?;
    let before = answer.standing();
    Ok(Plan {
        manager: ManagerKind::Dnf,
        actions: answer.actions,
        requested: wishes.requested(),
        modules: Vec::new(),
        skipped: wishes.notes,
        patches: Vec::new(),
        findings: answer.findings,
        before: Some(before),
        undo: None,
    })
}
