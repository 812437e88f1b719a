//! Taking a task back with dnf5: exactly the inverse as a stored transaction, with local files of versions that no
//! repository offers; its replay is tried first and refuses whatever would be pulled in.

use drydock_domain::inventory::ManagerKind;
use drydock_domain::patch::report::Plan;
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::UndoOrder;

use super::Dnf5;
use crate::error::PkgError;
use crate::manager::PackageManager;
use crate::rpm;
use crate::run::Runner;
use crate::undo::{Undo, inexact};
use crate::wish::refuse_protected;

const TOOL: &str = "dnf5";

pub(super) fn plan(dnf5: &Dnf5, runner: &dyn Runner, config: &PatchConfig, order: &UndoOrder) -> Result<Plan, PkgError> {
    let undo = Undo::new(config, order, &dnf5.installed(runner)?, &[], &rpm::order)?;
    refuse_protected(runner, TOOL, &undo.actions)?;
    let before = dnf5.standing(&undo.actions);
    let plan = Plan {
        manager: ManagerKind::Dnf5,
        actions: undo.actions.clone(),
        skipped: Vec::new(),
        patches: Vec::new(),
        requested: Vec::new(),
        modules: Vec::new(),
        findings: Vec::new(),
        before: Some(before),
        undo: Some(order.clone()),
    };
    if !undo.actions.is_empty() {
        // The dry run of the replay says whether it is exactly this.
        match dnf5.stored(runner, &plan, &undo.actions) {
            Ok(_) => {}
            Err(PkgError::WorldMoved { details }) => return Err(inexact(TOOL, vec![details])),
            Err(e) => return Err(e),
        }
    }
    Ok(plan)
}
