//! Old rows that nobody needs: used idempotency keys and inventory bodies that no instance points at.

use drydock_store::{commit, idempotency, inventory};
use jiff::SignedDuration;

use crate::Control;
use crate::error::Result;

/// An idempotency key is remembered this long, hours.
const KEYS_KEPT_HOURS: i64 = 24;
/// An inventory body that nothing points at is kept this long after it was first stored, hours: a host that goes back
/// to it need not send it again.
const BODIES_KEPT_HOURS: i64 = 24;

/// Forgets what is old.
pub(super) async fn turn(control: &Control) -> Result<()> {
    let now = control.now();
    let before = |hours| now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(now);
    let mut tx = control.begin().await?;
    idempotency::forget(&mut tx, before(KEYS_KEPT_HOURS)).await?;
    inventory::forget_unused(&mut tx, before(BODIES_KEPT_HOURS)).await?;
    Ok(commit(tx).await?)
}
