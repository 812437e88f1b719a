//! What the server wants of each task, shared between the link that hears it and the executor that obeys. A wish only
//! grows: CONTINUE < STOP < KILL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use drydock_domain::ids::TaskId;
use drydock_domain::work::Directive;
use drydock_pkgmgr::run::KillSwitch;

/// Shared wishes.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Mutex<Wishes>>);

#[derive(Debug, Default)]
struct Wishes {
    of: HashMap<TaskId, Directive>,
    running: Option<(TaskId, KillSwitch)>,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The server's answer for a task. A first KILL ends the reading command that runs for it.
    pub fn tell(&self, task: TaskId, directive: Directive) {
        let mut wishes = self.lock();
        let wish = wishes.of.entry(task).or_insert(Directive::Continue);
        let first_kill = directive == Directive::Kill && *wish != Directive::Kill;
        *wish = (*wish).max(directive);
        if first_kill {
            tracing::warn!("task {task}: the server asks to kill it");
            if let Some((running, switch)) = &wishes.running
                && *running == task
            {
                switch.kill();
            }
        }
    }

    /// The strongest wish so far.
    pub fn wish(&self, task: TaskId) -> Directive {
        self.lock().of.get(&task).copied().unwrap_or(Directive::Continue)
    }

    /// A task's command may now be ended through `switch`; `None` = it must not be (mending, reading the truth).
    pub fn arm(&self, task: TaskId, switch: Option<KillSwitch>) {
        self.lock().running = switch.map(|s| (task, s));
    }

    /// The task is over.
    pub fn forget(&self, task: TaskId) {
        let mut wishes = self.lock();
        wishes.of.remove(&task);
        if wishes.running.as_ref().is_some_and(|(t, _)| *t == task) {
            wishes.running = None;
        }
    }
}
