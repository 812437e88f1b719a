//! The documents of hosts follow what they are made from: attachments, environments, specifications, keys, what hosts
//! say of themselves. All are looked at when something that concerns many changed, when this process begins, and every
//! ten minutes as the net below changes of one host, which are followed at once where they happen.

use drydock_domain::ids::InstanceId;
use drydock_store::host_sources;

use crate::Control;
use crate::content_part::DocumentsSeen;
use crate::error::Result;
use crate::ops::DocumentInputs;

/// Hosts read at once, count.
const HOSTS_AT_ONCE: u32 = 500;
/// All hosts are looked at at least every so many turns (10 minutes when nothing wakes the loop).
const ALL_EVERY: u64 = 600;

/// Inputs that another server of the same database may have changed are looked at every so many turns.
const LOOK_EVERY: u64 = 30;

/// Makes documents anew that changed.
pub(super) async fn turn(control: &Control, number: u64) -> Result<()> {
    let Ok(part) = control.content_part() else { return Ok(()) };
    // Taken first: a change while the documents are made is seen by the next turn.
    let changes = part.changes();
    let seen = part.documents().clone();
    if seen.changes == Some(changes) && !number.is_multiple_of(LOOK_EVERY) {
        return Ok(());
    }
    let inputs = DocumentInputs::read(control, None).await?;
    let stamp = inputs.stamp();
    let same = seen.changes.is_some() && seen.stamp == stamp;
    if !same || number.is_multiple_of(ALL_EVERY) {
        all(control, &inputs).await?;
    }
    *part.documents() = DocumentsSeen { changes: Some(changes), stamp };
    Ok(())
}

async fn all(control: &Control, inputs: &DocumentInputs) -> Result<()> {
    let mut last: Option<InstanceId> = None;
    loop {
        let hosts = host_sources::inputs(&mut *control.read().await?, last, HOSTS_AT_ONCE).await?;
        let Some(end) = hosts.last().map(|h| h.instance) else { return Ok(()) };
        for host in &hosts {
            if !control.put_document(inputs, host, 0).await? {
                // Somebody else stored one meanwhile, perhaps from older inputs.
                control.refresh_host_sources(host.instance).await?;
            }
        }
        last = Some(end);
    }
}
