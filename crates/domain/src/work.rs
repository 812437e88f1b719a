//! What the server sends to an agent: a signed document, addressed to one instance, numbered and dated (DESIGN
//! decision 9). The signature covers exactly the bytes sent; the agent parses only what it has verified.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, JobId, TaskId};
use crate::patch::spec::PatchConfig;

/// Highest version of [`WorkOrder`]'s form. An agent refuses a higher one and says so. An order carries the lowest that
/// says all of it ([`PatchConfig::work_version`]), so that older agents go on taking what they understand whole.
pub const WORK_VERSION: u32 = 3;

/// What an order's signature covers in front of the order's bytes: a signature made for anything else never fits.
pub const ORDER_SIGNATURE_CONTEXT: &[u8] = b"drydock-work-order-v1\n";

/// The bytes an order's signature covers.
pub fn signed_bytes(order: &[u8]) -> Vec<u8> {
    [ORDER_SIGNATURE_CONTEXT, order].concat()
}

/// One order to one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkOrder {
    /// The lowest form that says all of it; at most [`WORK_VERSION`].
    pub version: u32,
    /// The only instance that may act on it.
    pub instance: InstanceId,
    /// Grows with every order to this instance, with gaps: at least the server's time in milliseconds, so that a server
    /// restored from a backup does not repeat one. The agent refuses a number it has passed.
    pub number: u64,
    /// When the server signed it.
    pub issued_at: Timestamp,
    /// Not to be started after this moment.
    pub start_before: Timestamp,
    /// The task.
    pub task: PatchOrder,
}

/// A patch task as ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchOrder {
    /// The task.
    pub task: TaskId,
    /// The job it belongs to.
    pub job: JobId,
    /// Stop before the next step after this moment; absent = no bound.
    pub deadline: Option<Timestamp>,
    /// Plan only; change nothing.
    pub dry_run: bool,
    /// What to do.
    pub config: PatchConfig,
}

/// What the server answers to a report, and what [`WorkOrder`]s under way are told when they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Directive {
    /// Go on.
    Continue,
    /// Finish the running step, then stop.
    Stop,
    /// End the running command's process group now, then stop.
    Kill,
}

impl Directive {
    /// The name on the wire, for example `CONTINUE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Directive::Continue => "CONTINUE",
            Directive::Stop => "STOP",
            Directive::Kill => "KILL",
        }
    }
}

/// Why an agent refuses an order. It is reported, never ignored in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// The form is newer than this agent.
    #[error("the order has form version {given}, this agent reads up to {WORK_VERSION}; upgrade the agent")]
    Version {
        /// Version in the order.
        given: u32,
    },
    /// Addressed to another instance.
    #[error("the order is addressed to instance {to}, this is {own}")]
    Address {
        /// Addressee.
        to: InstanceId,
        /// This agent.
        own: InstanceId,
    },
    /// Already passed.
    #[error("the order has number {given}, but number {last} was taken before; it is old or replayed")]
    Number {
        /// Number in the order.
        given: u64,
        /// Highest number taken.
        last: u64,
    },
    /// Too late.
    #[error("the order was to be started before {before}; it is {now}")]
    Late {
        /// Last moment to start.
        before: Timestamp,
        /// The agent's clock.
        now: Timestamp,
    },
}

impl WorkOrder {
    /// May this agent act on the order? `last` is the highest number it ever took.
    pub fn accept(&self, own: InstanceId, last: u64, now: Timestamp) -> Result<(), OrderRefused> {
        if self.version > WORK_VERSION {
            return Err(OrderRefused::Version { given: self.version });
        }
        if self.instance != own {
            return Err(OrderRefused::Address { to: self.instance, own });
        }
        if self.number <= last {
            return Err(OrderRefused::Number { given: self.number, last });
        }
        if now > self.start_before {
            return Err(OrderRefused::Late { before: self.start_before, now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn only_a_fresh_order_to_this_instance_is_accepted() {
        let id = |n| Uuid::from_u128(n);
        let at = |s| Timestamp::from_second(s).expect("in range");
        let order = WorkOrder {
            version: 1,
            instance: InstanceId(id(1)),
            number: 5,
            issued_at: at(100),
            start_before: at(200),
            task: PatchOrder {
                task: TaskId(id(2)),
                job: JobId(id(3)),
                deadline: None,
                dry_run: true,
                config: PatchConfig::default(),
            },
        };
        let own = InstanceId(id(1));
        assert_eq!(order.accept(own, 4, at(150)), Ok(()));
        assert!(matches!(order.accept(InstanceId(id(9)), 4, at(150)), Err(OrderRefused::Address { .. })));
        assert!(matches!(order.accept(own, 5, at(150)), Err(OrderRefused::Number { .. })));
        assert!(matches!(order.accept(own, 4, at(201)), Err(OrderRefused::Late { .. })));
        assert!(matches!(
            WorkOrder { version: WORK_VERSION + 1, ..order }.accept(own, 4, at(150)),
            Err(OrderRefused::Version { .. })
        ));
    }
}
