//! Patch deployments: runs that are due are decided, runs that wait are begun when the job before them is done.

use drydock_store::deployments;

use crate::Control;
use crate::error::{Error, Result};

/// Deployments looked at in one turn, count; what is left comes in the next turn, which follows at once.
const PER_TURN_MAX: u32 = 100;
/// Executions kept of one deployment, count: nearly three years of daily runs.
const EXECUTIONS_KEPT: u32 = 1000;

/// Does what is due. Returns what failed; one deployment does not hold up the others.
pub(super) async fn turn(control: &Control) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    match begin_waiting(control, &mut failed).await {
        Ok(()) => {}
        Err(e) => failed.push(("reading waiting runs".to_owned(), e)),
    }
    match decide_due(control, &mut failed).await {
        Ok(()) => {}
        Err(e) => failed.push(("reading patch deployments that are due".to_owned(), e)),
    }
    failed
}

async fn begin_waiting(control: &Control, failed: &mut Vec<(String, Error)>) -> Result<()> {
    let waiting = deployments::waiting(&mut *control.read().await?, PER_TURN_MAX).await?;
    for record in waiting {
        let name = record.spec.name.clone();
        if let Err(e) = control.waiting_run(record).await {
            failed.push((format!("the waiting run of patch deployment {name}"), e));
        }
    }
    Ok(())
}

async fn decide_due(control: &Control, failed: &mut Vec<(String, Error)>) -> Result<()> {
    let now = control.now();
    let due = deployments::due(&mut *control.read().await?, now, PER_TURN_MAX).await?;
    for record in due {
        let name = record.spec.name.clone();
        if let Err(e) = control.due_run(record).await {
            failed.push((format!("the due run of patch deployment {name}"), e));
        }
    }
    Ok(())
}

/// Forgets the oldest executions.
pub(super) async fn forget(control: &Control) -> Result<()> {
    let mut tx = control.begin().await?;
    deployments::forget_executions(&mut tx, EXECUTIONS_KEPT).await?;
    Ok(drydock_store::commit(tx).await?)
}
