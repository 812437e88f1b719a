//! Heads that were signed by other keys than those that sign now are signed anew, with a later date: a client that asks
//! for what is newer than the head it has must get the one of the present keys.

use drydock_store::source_records::PointerRecord;
use drydock_store::{commit, pointers};

use crate::Control;
use crate::content_part::ContentPart;
use crate::error::{Error, Result};
use crate::ops::{head_json, head_time, parse_root};

/// Signs every head anew when the keys changed since this process last looked.
pub(super) async fn turn(control: &Control) -> Result<()> {
    let part = control.content_part()?;
    let signing = part.signing_fingerprints();
    if part.signed_with() == Some(signing.clone()) {
        return Ok(());
    }
    let _not_while_collecting = part.collecting.read().await;
    for pointer in pointers::all(&mut *control.read().await?).await? {
        renew(control, part, &pointer).await?;
    }
    part.note_signed_with(signing);
    Ok(())
}

async fn renew(control: &Control, part: &ContentPart, pointer: &PointerRecord) -> Result<()> {
    let stored = pointers::with_head(&mut *control.read().await?, pointer.environment, pointer.source).await?;
    // Moved or deleted meanwhile: then it is signed with the present keys, or gone.
    let Some((current, head)) = stored.filter(|(p, _)| p.version == pointer.version) else { return Ok(()) };
    let root = parse_root(&current.root)?;
    let published = part.publish(root, &drydock_content::ProgressSink::none()).await;
    let publication = published.map_err(|e| Error::Internal { doing: "publish a snapshot", source: Box::new(e) })?;
    // The same signatures over the same date are the same head: then a process that began has nothing to renew.
    if head_json(part, &publication, current.moved_at).await? == head {
        return Ok(());
    }
    let at = head_time(Some(&current), control.now());
    let renewed = head_json(part, &publication, at).await?;
    let mut tx = control.begin().await?;
    pointers::renew_head(&mut tx, &current, &renewed, at).await?;
    Ok(commit(tx).await?)
}
