//! Reports of many hosts become one transaction: whoever comes while another batch is being written waits in a queue and
//! is written with all who came meanwhile. A lone report is written at once; a fleet that reports at the same moment
//! shares the cost of a commit (a sync to disk) and of each statement.
//!
//! Nothing waits for a batch to fill, and no report is answered before its commit.

mod batch;
mod packages;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::SectionKind;
use drydock_store::history_writer::Reported;
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::Control;
use crate::error::{Error, Result};

pub(crate) use packages::begin_histories;

/// Reports written in one transaction, count: some 50 ms of writing, which is how long others wait for the database.
const BATCH_MAX: usize = 256;

/// A section that is to be stored.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) kind: SectionKind,
    /// As the agent names it.
    pub(super) reported: String,
    /// SHA-256 of the canonical body.
    pub(super) fingerprint: String,
    pub(super) body: Body,
}

/// A checked body.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// It was stored already.
    Stored,
    /// Canonical JSON.
    Bytes(Vec<u8>),
    /// A package set, whose canonical JSON has the fingerprint.
    Packages(Reported),
    /// The canonical JSON of a package set that was stored lately.
    Known(Arc<Vec<u8>>),
}

/// What one report changes.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub(super) instance: InstanceId,
    pub(super) now: Timestamp,
    /// Sections that are as they were.
    pub(super) confirmed: Vec<SectionKind>,
    /// Sections that may be new, each kind once.
    pub(super) sections: Vec<Checked>,
}

/// Reports that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    intake: Intake,
    done: oneshot::Sender<Result<Vec<SectionKind>>>,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest reports, at most one of each host: a second one is judged by what the first one left.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let mut hosts = BTreeSet::new();
        let mut batch = Vec::new();
        let mut later = VecDeque::new();
        while let Some(next) = waiting.pop_front() {
            if batch.len() == BATCH_MAX {
                waiting.push_front(next);
                break;
            }
            if hosts.insert(next.intake.instance) { batch.push(next) } else { later.push_back(next) }
        }
        while let Some(next) = later.pop_back() {
            waiting.push_front(next);
        }
        batch
    }
}

impl Control {
    /// Stores what a report changes, with whatever else is to be stored at the moment; returns the sections that changed.
    pub(super) async fn take_report(&self, intake: Intake) -> Result<Vec<SectionKind>> {
        let (done, answer) = oneshot::channel();
        self.intake().waiting().push_back(Waiting { intake, done });
        // Its own task: a caller that goes away must not undo the reports of others.
        let control = self.clone();
        tokio::spawn(async move { control.write_batch().await });
        answer.await.map_err(|e| Error::Internal { doing: "store an inventory report", source: Box::new(e) })?
    }

    async fn write_batch(&self) {
        let _turn = self.intake().turn.lock().await;
        let batch = self.intake().next();
        if batch.is_empty() {
            return;
        }
        let (intakes, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.intake, w.done)).unzip();
        match self.store_reports(&intakes).await {
            Ok(results) => {
                for (done, result) in answers.into_iter().zip(results) {
                    // Whoever does not wait any more needs no answer.
                    let _ = done.send(result);
                }
            }
            // One report must not fail another: each by itself shows whose fault it is.
            Err(_) if intakes.len() > 1 => {
                for (done, intake) in answers.into_iter().zip(&intakes) {
                    let alone = self.store_reports(std::slice::from_ref(intake)).await;
                    let _ = done.send(alone.and_then(|mut results| results.pop().unwrap_or_else(|| Ok(Vec::new()))));
                }
            }
            Err(error) => {
                if let Some(done) = answers.into_iter().next() {
                    let _ = done.send(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn waiting(host: u128) -> Waiting {
        let instance = InstanceId(Uuid::from_u128(host));
        Waiting {
            intake: Intake { instance, now: Timestamp::UNIX_EPOCH, confirmed: vec![], sections: vec![] },
            done: oneshot::channel().0,
        }
    }

    fn hosts(batch: &[Waiting]) -> Vec<u128> {
        batch.iter().map(|w| w.intake.instance.0.as_u128()).collect()
    }

    #[test]
    fn a_batch_holds_the_oldest_report_of_each_host() {
        let queue = Queue::default();
        queue.waiting().extend([1, 2, 1, 3, 1].map(waiting));
        assert_eq!(hosts(&queue.next()), [1, 2, 3]);
        assert_eq!(hosts(&queue.next()), [1]);
        assert_eq!(hosts(&queue.next()), [1]);
        assert!(queue.next().is_empty());
        queue.waiting().extend((0..2 * BATCH_MAX as u128 + 1).map(waiting));
        assert_eq!([queue.next().len(), queue.next().len(), queue.next().len()], [BATCH_MAX, BATCH_MAX, 1]);
    }
}
