//! Heads that were signed by other keys than those that sign now are signed anew, with the date they have: what a
//! client holds stays as new as it is.

use drydock_store::source_records::PointerRecord;
use drydock_store::{commit, pointers};

use crate::Control;
use crate::content_part::ContentPart;
use crate::error::{Error, Result};
use crate::ops::{head_json, parse_root};

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
    let renewed = head_json(part, &publication, current.moved_at).await?;
    if renewed == head {
        return Ok(());
    }
    let mut tx = control.begin().await?;
    pointers::renew_head(&mut tx, &current, &renewed).await?;
    Ok(commit(tx).await?)
}
