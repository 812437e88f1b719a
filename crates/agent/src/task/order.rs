//! Taking an order: the signature over exactly the bytes received, then address, number and time, then the ledger.
//! What is refused is told to the server with the reason.

use drydock_api::agent::signed_bytes;
use drydock_api::agent::v1::SignedOrder;
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::{OrderRefused, WorkOrder};
use jiff::Timestamp;
use serde::Deserialize;

use super::machine::State;
use crate::ledger::{Entry, Ledger, LedgerError};

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The signature does not fit.
    #[error(
        "the order's signature does not fit the server's key; somebody changed it, or the server's signing key was replaced: enrol again"
    )]
    Signature,
    /// The bytes are signed, but not an order this agent knows.
    #[error("the order cannot be read: {0}; upgrade the agent")]
    Unreadable(String),
    /// Address, number, time or version.
    #[error(transparent)]
    Refused(#[from] OrderRefused),
    /// The host's owner allows dry runs only.
    #[error(
        "this host is enrolled read-only: it takes dry runs only; set read_only = false in its agent.toml to let it be patched"
    )]
    ReadOnly,
    /// The ledger cannot be written.
    #[error("the order was not begun, because the agent's ledger cannot keep it: {0}")]
    Ledger(#[from] LedgerError),
}

/// What every form has: an order of a newer one may have other fields everywhere else. The task lets the server end the
/// task that waits for it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    #[serde(default)]
    task: Option<Addressed>,
}

#[derive(Deserialize)]
struct Addressed {
    task: Option<TaskId>,
}

/// Who takes orders.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// This instance.
    pub instance: InstanceId,
    /// The server's signing key.
    pub work_key: &'a [u8],
    /// Dry runs only.
    pub read_only: bool,
    /// This boot.
    pub boot: &'a str,
}

/// Verifies and takes `signed`; `Ok(None)` when the ledger holds the task already. The task's id comes with a
/// refusal when it could be read.
pub fn take(
    ledger: &mut Ledger,
    signed: &SignedOrder,
    taker: &Taker<'_>,
    now: Timestamp,
) -> Result<Option<TaskId>, (Option<TaskId>, NotTaken)> {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, taker.work_key);
    key.verify(&signed_bytes(&signed.order), &signed.signature).map_err(|_| (None, NotTaken::Signature))?;
    let unreadable = |e: serde_json::Error| (None, NotTaken::Unreadable(e.to_string()));
    let Versioned { version, task } = serde_json::from_slice(&signed.order).map_err(unreadable)?;
    if version > drydock_domain::work::WORK_VERSION {
        return Err((task.and_then(|t| t.task), OrderRefused::Version { given: version }.into()));
    }
    let order: WorkOrder = serde_json::from_slice(&signed.order).map_err(unreadable)?;
    let task = order.task.task;
    if ledger.get(task).is_some() {
        return Ok(None);
    }
    order.accept(taker.instance, ledger.number(), now).map_err(|e| (Some(task), e.into()))?;
    if taker.read_only && !order.task.dry_run {
        return Err((Some(task), NotTaken::ReadOnly));
    }
    ledger.take(new_entry(order, taker.boot, now)).map_err(|e| (Some(task), e.into()))?;
    Ok(Some(task))
}

/// A fresh entry: accepted, nothing begun, first report due.
pub fn new_entry(order: WorkOrder, boot: &str, now: Timestamp) -> Entry {
    let report = TaskReport {
        task: order.task.task,
        seq: 1,
        at: now,
        state: TaskState::Started,
        message: "accepted".to_owned(),
        steps: Vec::new(),
        plans: Vec::new(),
        packages: Vec::new(),
        modules: vec![],
        health: vec![],
        differs: vec![],
        reboots: 0,
        reboot_reasons: Vec::new(),
    };
    Entry {
        order,
        taken_at: now,
        boot: boot.to_owned(),
        state: State::Accepted,
        rebooted_after: false,
        round_from: 0,
        failed_packages: Vec::new(),
        refresh_findings: Vec::new(),
        applied: false,
        failed_units: None,
        reboot_suggested: false,
        report,
        stored_seq: 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use drydock_domain::ids::JobId;
    use drydock_domain::work::PatchOrder;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use uuid::Uuid;

    pub(crate) fn order(number: u64) -> WorkOrder {
        let at = |s| Timestamp::from_second(s).expect("in range");
        WorkOrder {
            version: 1,
            instance: InstanceId(Uuid::from_u128(1)),
            number,
            issued_at: at(100),
            start_before: at(200),
            task: PatchOrder {
                task: TaskId(Uuid::from_u128(0x100 + u128::from(number))),
                job: JobId(Uuid::from_u128(3)),
                deadline: None,
                dry_run: false,
                config: Default::default(),
                windows: None,
                reboot_slot: false,
                frozen: vec![],
                soak: None,
            },
        }
    }

    fn sign(pair: &Ed25519KeyPair, order: &[u8]) -> SignedOrder {
        SignedOrder { order: order.to_vec(), signature: pair.sign(&signed_bytes(order)).as_ref().to_vec() }
    }

    #[test]
    fn only_a_signed_addressed_fresh_order_is_taken_once() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key");
        let key = pair.public_key().as_ref();
        let dir = tempfile::tempdir().expect("a directory");
        let mut ledger = Ledger::open(dir.path()).expect("opened");
        let taker = Taker { instance: InstanceId(Uuid::from_u128(1)), work_key: key, read_only: false, boot: "boot" };
        let now = Timestamp::from_second(150).expect("in range");
        let mut take = |signed: &SignedOrder, now| super::take(&mut ledger, signed, &taker, now);
        let good = sign(&pair, &serde_json::to_vec(&order(5)).expect("json"));

        let mut changed = good.clone();
        changed.order.push(b' ');
        assert!(matches!(take(&changed, now), Err((None, NotTaken::Signature))));
        let newer = sign(&pair, br#"{"version":9,"strange":true}"#);
        let refused = take(&newer, now).expect_err("refused");
        assert!(refused.1.to_string().contains("form version 9"), "{}", refused.1);
        let mut named = serde_json::to_value(order(5)).expect("json");
        named["version"] = (drydock_domain::work::WORK_VERSION + 1).into();
        let refused = take(&sign(&pair, named.to_string().as_bytes()), now).expect_err("refused");
        assert_eq!(refused.0, Some(order(5).task.task), "the server learns which task waits in vain");
        let late = take(&good, Timestamp::from_second(201).expect("in range")).expect_err("late");
        assert_eq!(late.0, Some(order(5).task.task));

        assert_eq!(take(&good, now).expect("taken"), Some(order(5).task.task));
        assert_eq!(take(&good, now).expect("known"), None, "the same order again is no second task");
        let old = sign(&pair, &serde_json::to_vec(&order(4)).expect("json"));
        assert!(matches!(take(&old, now), Err((Some(_), NotTaken::Refused(OrderRefused::Number { .. })))));
        let read_only = Taker { read_only: true, ..taker };
        let next = sign(&pair, &serde_json::to_vec(&order(6)).expect("json"));
        assert!(matches!(super::take(&mut ledger, &next, &read_only, now), Err((Some(_), NotTaken::ReadOnly))));
        let again = Ledger::open(dir.path()).expect("opened");
        assert_eq!((again.number(), again.entries().count()), (5, 1));
    }
}
