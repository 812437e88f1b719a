//! Reboot slots: an agent asks for one before its host goes down.

use drydock_domain::ids::TaskId;
use drydock_store::patch_tasks;

use super::act::own_instance;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::SlotAnswer;

/// A host whose task is over is not to ask soon, seconds.
const RETRY_OVER_SECS: u32 = 60;

impl Control {
    /// May the host of `task` reboot now? Asked as often as the agent likes: a task that has its slot has it.
    pub async fn acquire_reboot_slot(&self, ctx: &OpCtx, task: TaskId) -> Result<SlotAnswer> {
        let instance = own_instance(ctx)?;
        let found = patch_tasks::find(&mut *self.read().await?, task).await?.filter(|t| t.instance == instance);
        let found = found.ok_or_else(|| Error::NotFound(format!("patch task {task} of this instance")))?;
        if !found.state.is_running() {
            let message = format!("no reboot slot: the task is {}", found.state.as_str());
            return Ok(SlotAnswer { granted: false, message, retry_after_secs: RETRY_OVER_SECS });
        }
        Ok(SlotAnswer { granted: true, message: String::new(), retry_after_secs: 0 })
    }
}
