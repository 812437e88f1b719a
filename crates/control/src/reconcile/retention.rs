//! Old rows that nobody needs: used idempotency keys, signatures that their dates refuse by now, inventory bodies that no instance points at, and the inventory
//! history of long ago, sets of open CVEs that are true of no host. Also the one thing that is begun here: the histories
//! of hosts from before there were any.

use drydock_store::{api_keys, calendars, commit, history_timelines, history_writer, idempotency, inventory, open_cves};
use jiff::{SignedDuration, Timestamp};

use crate::Control;
use crate::error::Result;
use crate::ops::intake::begin_histories;

/// An idempotency key is remembered this long, hours.
const KEYS_KEPT_HOURS: i64 = 24;
/// An inventory body that nothing points at is kept this long after it was first stored, hours: a host that goes back
/// to it need not send it again.
const BODIES_KEPT_HOURS: i64 = 24;

/// What hosts had is known for this long, days: a year and a month, so that this month can be held against the same
/// one of the year before.
pub(crate) const HISTORY_KEPT_DAYS: i64 = 400;
/// Histories cut or begun in one turn, transactions.
const HISTORY_TRANSACTIONS_MAX: usize = 50;
/// Histories cut in one transaction, count.
const CUT_HOSTS: u32 = 500;
/// Classes and packages that nothing names are looked for this often, hours.
const SWEEP_EVERY_HOURS: i64 = 24;

/// Forgets what is old.
pub(super) async fn turn(control: &Control) -> Result<()> {
    rows(control).await?;
    history(control).await
}

fn before(now: Timestamp, hours: i64) -> Timestamp {
    now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(now)
}

/// Begins, cuts and sweeps the inventory history, in transactions that hold the database for some milliseconds each
/// (the sweep: some tenths of a second, once a day).
async fn history(control: &Control) -> Result<()> {
    for _ in 0..HISTORY_TRANSACTIONS_MAX {
        if begin_histories(control).await? == 0 {
            break;
        }
    }
    let now = control.now();
    let old = before(now, HISTORY_KEPT_DAYS * 24);
    for _ in 0..HISTORY_TRANSACTIONS_MAX {
        let mut tx = control.begin().await?;
        let mut lines = history_timelines::ended_before(&mut tx, old, CUT_HOSTS).await?;
        if lines.is_empty() {
            break;
        }
        for line in lines.values_mut() {
            line.cut(old.as_second());
        }
        history_timelines::note(&mut tx).await?;
        history_timelines::put(&mut tx, &lines).await?;
        commit(tx).await?;
    }
    let mut tx = control.begin().await?;
    history_writer::sweep(&mut tx, before(now, SWEEP_EVERY_HOURS), now).await?;
    Ok(commit(tx).await?)
}

async fn rows(control: &Control) -> Result<()> {
    let now = control.now();
    let before = |hours| before(now, hours);
    let mut tx = control.begin().await?;
    idempotency::forget(&mut tx, before(KEYS_KEPT_HOURS)).await?;
    inventory::forget_unused(&mut tx, before(BODIES_KEPT_HOURS)).await?;
    calendars::forget_expired(&mut tx, now).await?;
    open_cves::forget_unused(&mut tx, before(BODIES_KEPT_HOURS)).await?;
    api_keys::forget_signatures(&mut tx, now).await?;
    Ok(commit(tx).await?)
}
