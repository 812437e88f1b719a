//! Taking a task back with dnf 4: the helper puts exactly the inverse into one transaction, with local files of versions
//! that no repository offers, and dnf's solver says whether it is that.

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::report::{Plan, PlannedAction};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::UndoOrder;

use super::Dnf;
use super::helper::Request;
use crate::error::PkgError;
use crate::exec::{SOLVE_TIME_LIMIT, join_findings};
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::undo::{Undo, inexact};
use crate::wish::refuse_protected;

const TOOL: &str = "dnf";

pub(super) fn plan(dnf: &Dnf, runner: &dyn Runner, config: &PatchConfig, order: &UndoOrder) -> Result<Plan, PkgError> {
    let undo = Undo::new(config, order, &dnf.installed(runner)?, &[], &rpm::order)?;
    refuse_protected(runner, TOOL, &undo.actions)?;
    let mut answer = match dnf.ask(runner, &request("undo", order, &undo.actions), SOLVE_TIME_LIMIT) {
        Ok((answer, _)) => answer,
        Err(PkgError::Refused { details, .. }) => return Err(inexact(TOOL, vec![details])),
        Err(e) => return Err(e),
    };
    if config.strict_repositories && !answer.findings.is_empty() {
        return Err(PkgError::BrokenRepository { details: join_findings(&answer.findings) });
    }
    answer.actions.sort();
    undo.exact(TOOL, &answer.actions)?;
    let before = answer.standing();
    Ok(Plan {
        manager: ManagerKind::Dnf,
        actions: answer.actions,
        skipped: Vec::new(),
        patches: Vec::new(),
        requested: Vec::new(),
        modules: Vec::new(),
        findings: answer.findings,
        before: Some(before),
        undo: Some(order.clone()),
    })
}

/// Asks for an action on what is left of an order.
pub(super) fn request(action: &'static str, order: &UndoOrder, todo: &[PlannedAction]) -> Request {
    Request {
        action,
        actions: todo.to_vec(),
        // Nothing that comes back is a dependency because it comes back; the marks say what was one.
        requested: todo.iter().map(|a| a.name.clone()).collect(),
        files: rpm::local_files(order, todo),
        marks: rpm::marks_of(order),
        ..Default::default()
    }
}
