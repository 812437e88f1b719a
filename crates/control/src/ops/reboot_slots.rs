//! Reboot slots: an agent asks for one before its host goes down. A host in several groups needs one of each.

use drydock_domain::ids::TaskId;
use drydock_store::calendars::{self, SlotRecord};
use drydock_store::{commit, patch_tasks};
use jiff::{SignedDuration, Timestamp};

use super::act::own_instance;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::SlotAnswer;

/// A host whose task is over is not to ask soon, seconds.
const RETRY_OVER_SECS: u32 = 60;
/// A host that waits asks again after this, seconds.
const RETRY_SECS: u32 = 15;

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
        let granted = SlotAnswer { granted: true, message: String::new(), retry_after_secs: 0 };
        let groups = self.slot_groups_of(instance, ctx.now).await?;
        if groups.is_empty() {
            return Ok(granted);
        }
        let mut tx = self.begin().await?;
        for (group, spec) in groups {
            if !calendars::hold(&mut tx, group.id).await? {
                continue;
            }
            let holders = calendars::holders(&mut tx, group.id, ctx.now).await?;
            if holders.iter().any(|h| h.task == task) {
                continue;
            }
            // A slot that the host kept from another task is still its own: it is down once, not twice.
            let others: Vec<&SlotRecord> = holders.iter().filter(|h| h.instance != instance).collect();
            if others.len() >= usize::try_from(spec.slots).unwrap_or(usize::MAX) {
                // Nothing is kept: a host that waits for one group must not hold up another one.
                return Ok(SlotAnswer { granted: false, message: waits(&spec.name, &others), retry_after_secs: RETRY_SECS });
            }
            let life = SignedDuration::from_secs(i64::try_from(spec.expiry_secs).unwrap_or(i64::MAX));
            let slot = SlotRecord {
                task,
                instance,
                instance_name: found.instance_name.clone(),
                why: format!("reboot for patch job {}", found.job),
                since: ctx.now,
                expires_at: ctx.now.saturating_add(life).unwrap_or(Timestamp::MAX),
            };
            calendars::take_slot(&mut tx, group.id, &slot).await?;
        }
        commit(tx).await?;
        Ok(granted)
    }
}

/// Who is in the way, for people.
fn waits(group: &str, holders: &[&SlotRecord]) -> String {
    /// Holders named, count.
    const NAMED_MAX: usize = 3;
    let named: Vec<String> = holders
        .iter()
        .take(NAMED_MAX)
        .map(|h| format!("{} since {}", h.instance_name, h.since.strftime("%Y-%m-%d %H:%M:%SZ")))
        .collect();
    let more = holders.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("waits for a reboot slot of group {group}: held by {}{more}", named.join(", "))
}
