//! Services hear of the changes of what notifies them: once, after all of their policy's resources.

use drydock_domain::policy::ComplianceState;

use super::way::Bench;
use super::{Engine, Going};

impl Engine {
    /// Tells the services of one policy what they are owed. One that is not as it should be hears of it when it is.
    pub(super) fn notify(&mut self, at: usize, going: &mut Going<'_, '_>) {
        let owed = going.leave.owed();
        let policy = &self.policies[at];
        let places: Vec<usize> = policy.order.iter().copied().filter(|s| owed.contains(&policy.slots[*s].key)).collect();
        for place in places {
            let slot = &self.policies[at].slots[place];
            // Changed in this run: how it stands is seen at the end.
            let ready =
                !slot.is_away && (slot.result.state == ComplianceState::Compliant || slot.ran == going.number || slot.deaf);
            let key = slot.key.clone();
            if !ready || going.leave.may_change(&key, false).is_err() {
                continue;
            }
            if Bench::new(self, (at, place), going).notified() {
                going.leave.heard(&key);
            }
            going.changed((at, place));
        }
    }
}
