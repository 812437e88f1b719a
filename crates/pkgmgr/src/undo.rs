//! Taking a task back with any manager: what is left to do of an order, as plan lines, and the refusal of a transaction
//! that would not be exactly that. Absent: the tools' words; each manager's folder has those.

use std::cmp::Ordering;

use drydock_domain::inventory::{Package, UpdateKind};
use drydock_domain::patch::report::{ActionKind, Plan, PlannedAction};
use drydock_domain::patch::spec::PatchConfig;
use drydock_domain::patch::undo::{UndoAction, UndoOrder};

use crate::error::PkgError;

/// Differences named in a refusal, count: the rest is counted.
const NAMED_MAX: usize = 10;

/// What is left of an undo on this host.
#[derive(Debug)]
pub(crate) struct Undo {
    /// What is not yet as before, as plan lines.
    pub actions: Vec<PlannedAction>,
}

impl Undo {
    /// Reads the order of `config`, whose words were checked by whoever signed it and are checked again here.
    pub fn new(
        config: &PatchConfig,
        order: &UndoOrder,
        installed: &[Package],
        half: &[Package],
        compare: &dyn Fn(&str, &str) -> Ordering,
    ) -> Result<Self, PkgError> {
        if let Some(problem) = config.undo_problem() {
            return Err(PkgError::BadPlan { details: problem.to_owned() });
        }
        order.validate().map_err(|bad| PkgError::BadPlan { details: bad.to_string() })?;
        Ok(Undo::left(order, installed, half, compare))
    }

    /// What is left of an order that was checked.
    pub fn left(order: &UndoOrder, installed: &[Package], half: &[Package], compare: &dyn Fn(&str, &str) -> Ordering) -> Self {
        let todo = order.remaining(installed, half);
        // Of a change that got half-way only the other half is left.
        let there = |a: &UndoAction, v: &Option<String>| {
            let all = installed.iter().chain(half);
            v.as_ref().filter(|v| all.clone().any(|p| p.name == a.name && p.arch == a.arch && p.version == **v)).cloned()
        };
        let mut actions: Vec<PlannedAction> = Vec::new();
        for a in &todo.actions {
            let back = installed.iter().any(|p| p.name == a.name && p.arch == a.arch && Some(&p.version) == a.before.as_ref());
            let to = a.before.clone().filter(|_| !back);
            actions.extend(line(a, there(a, &a.now), to, compare));
        }
        actions.sort();
        Undo { actions }
    }

    /// `actions` is exactly what is left, or the refusal says what would not happen and what would happen besides.
    pub fn exact(&self, tool: &str, actions: &[PlannedAction]) -> Result<(), PkgError> {
        let lines = beside(&self.actions, actions);
        if lines.is_empty() { Ok(()) } else { Err(inexact(tool, lines)) }
    }
}

/// Refuses, with these reasons.
pub(crate) fn inexact(tool: &str, mut lines: Vec<String>) -> PkgError {
    let more = lines.len().saturating_sub(NAMED_MAX);
    lines.truncate(NAMED_MAX);
    if more > 0 {
        lines.push(format!("{more} more"));
    }
    let details = format!("the task cannot be taken back exactly: {}", lines.join("; "));
    PkgError::Refused { tool: tool.to_owned(), details: crate::exec::cut(&details) }
}

/// How `would` differs from `wanted`, as versions that come and go.
fn beside(wanted: &[PlannedAction], would: &[PlannedAction]) -> Vec<String> {
    let order = UndoOrder {
        actions: wanted
            .iter()
            .map(|a| UndoAction {
                name: a.name.clone(),
                arch: a.arch.clone(),
                now: a.from.clone(),
                before: a.to.clone(),
                purge: false,
                mark: None,
            })
            .collect(),
        files: Vec::new(),
    };
    Plan::differences(would, &order)
}

fn line(
    action: &UndoAction,
    from: Option<String>,
    to: Option<String>,
    compare: &dyn Fn(&str, &str) -> Ordering,
) -> Option<PlannedAction> {
    let kind = match (&from, &to) {
        (None, None) => return None,
        (None, Some(_)) => ActionKind::Install,
        (Some(_), None) => ActionKind::Remove,
        (Some(from), Some(to)) => match compare(to, from) {
            Ordering::Less => ActionKind::Downgrade,
            Ordering::Equal => ActionKind::Reinstall,
            Ordering::Greater => ActionKind::Upgrade,
        },
    };
    Some(PlannedAction {
        action: kind,
        name: action.name.clone(),
        arch: action.arch.clone(),
        from,
        to,
        repository: String::new(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    })
}
