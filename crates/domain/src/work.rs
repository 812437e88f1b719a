//! What the server sends to an agent: a signed document, addressed to one instance, numbered and dated (DESIGN
//! decision 9). The signature covers exactly the bytes sent; the agent parses only what it has verified.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{InstanceId, JobId, TaskId};
use crate::limits::{DISPLAY_NAME_MAX_BYTES, PACKAGES_MAX};
use crate::patch::report::PlannedAction;
use crate::patch::soak::OrderSoak;
use crate::patch::spec::PatchConfig;

/// Highest version of [`WorkOrder`]'s form. An agent refuses a higher one and says so. An order carries the lowest that
/// says all of it ([`PatchConfig::work_version`]), so that older agents go on taking what they understand whole.
pub const WORK_VERSION: u32 = 5;

/// The form of an order with windows, reboot slots or frozen versions.
const VERSION_ROLLOUT: u32 = 4;

/// Openings of a maintenance window told to a host, count: the server computes them ahead, some months of nights.
pub const INTERVALS_MAX: usize = 64;
/// Frozen versions of one order, count.
pub const FROZEN_MAX: usize = PACKAGES_MAX;

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
    /// Not to be taken after this moment. An order that was taken may wait longer, for its window or a reboot slot.
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
    /// When the host may be changed; absent = at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<OrderWindows>,
    /// Each reboot needs a slot that the server gives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboot_slot: bool,
    /// What the job's first wave planned: no other versions of these packages where that can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<FrozenVersion>,
    /// What has soaked: nothing else comes. Present when, and only when, `config.soakDays` asks for a soak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<OrderSoak>,
}

/// The maintenance window of a host, as the moments between which it is open: the agent keeps it without the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderWindows {
    /// Its name, for messages.
    pub name: String,
    /// When it is open: sorted, apart from each other, at most [`INTERVALS_MAX`].
    pub intervals: Vec<Interval>,
}

/// From a moment to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

/// How a maintenance window stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowNow {
    /// Open.
    Open {
        /// Until before this moment.
        until: Timestamp,
    },
    /// Closed.
    Closed {
        /// Opens then.
        opens: Timestamp,
    },
    /// The last opening is over.
    Over,
}

/// A version that hosts of an earlier wave have planned. The server names to a host what hosts of its own operating
/// system and version planned; of one package several versions may be named, and each is as good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrozenVersion {
    /// Package name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version.
    pub version: String,
}

impl FrozenVersion {
    /// The package that an action installs.
    pub fn of(action: &PlannedAction) -> Option<Self> {
        let version = action.to.clone()?;
        Some(FrozenVersion { name: action.name.clone(), arch: action.arch.clone(), version })
    }
}

impl OrderWindows {
    /// How it stands at `now`.
    pub fn at(&self, now: Timestamp) -> WindowNow {
        match self.intervals.iter().find(|i| now < i.to) {
            None => WindowNow::Over,
            Some(i) if i.from <= now => WindowNow::Open { until: i.to },
            Some(i) => WindowNow::Closed { opens: i.from },
        }
    }

    fn wrong(&self) -> Option<String> {
        let apart = self.intervals.iter().all(|i| i.from < i.to) && self.intervals.windows(2).all(|w| w[0].to <= w[1].from);
        if self.intervals.is_empty() || self.intervals.len() > INTERVALS_MAX || !apart {
            return Some(format!(
                "its maintenance window has no openings, more than {INTERVALS_MAX}, or they are not in order and apart"
            ));
        }
        (self.name.len() > DISPLAY_NAME_MAX_BYTES).then(|| "its maintenance window's name is too long".to_owned())
    }
}

impl PatchOrder {
    /// The lowest [`WORK_VERSION`] of agents that read all of this.
    pub fn work_version(&self) -> u32 {
        let ours = self.windows.is_some() || self.reboot_slot || !self.frozen.is_empty();
        self.config.work_version().max(if ours { VERSION_ROLLOUT } else { 0 })
    }

    fn wrong(&self) -> Option<String> {
        if self.frozen.len() > FROZEN_MAX {
            return Some(format!("it names {} frozen versions; at most {FROZEN_MAX} are allowed", self.frozen.len()));
        }
        if self.soak.as_ref().map_or(0, |soak| soak.days) != self.config.soak_days {
            return Some("its settings and what it says of soak do not fit together".to_owned());
        }
        self.windows.as_ref().and_then(OrderWindows::wrong).or_else(|| self.soak.as_ref().and_then(OrderSoak::wrong))
    }
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
    /// It cannot be kept as it is written.
    #[error("the order cannot be kept: {0}")]
    Wrong(String),
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
        self.task.wrong().map_or(Ok(()), |why| Err(OrderRefused::Wrong(why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn order() -> WorkOrder {
        let id = |n| Uuid::from_u128(n);
        WorkOrder {
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
                windows: None,
                reboot_slot: false,
                frozen: Vec::new(),
                soak: None,
            },
        }
    }

    fn windows(intervals: &[(i64, i64)]) -> OrderWindows {
        let intervals = intervals.iter().map(|(from, to)| Interval { from: at(*from), to: at(*to) }).collect();
        OrderWindows { name: "nights".into(), intervals }
    }

    #[test]
    fn a_window_is_open_from_its_first_moment_to_before_its_last() {
        let windows = windows(&[(100, 200), (200, 210), (300, 400)]);
        assert_eq!(windows.at(at(99)), WindowNow::Closed { opens: at(100) });
        assert_eq!(windows.at(at(100)), WindowNow::Open { until: at(200) });
        assert_eq!(windows.at(at(200)), WindowNow::Open { until: at(210) });
        assert_eq!(windows.at(at(210)), WindowNow::Closed { opens: at(300) });
        assert_eq!(windows.at(at(399)), WindowNow::Open { until: at(400) });
        assert_eq!(windows.at(at(400)), WindowNow::Over);
    }

    #[test]
    fn an_order_with_a_window_that_cannot_be_kept_is_refused() {
        let with = |intervals: &[(i64, i64)]| {
            let mut order = order();
            order.task.windows = Some(windows(intervals));
            order.accept(order.instance, 4, at(150))
        };
        // The order may be taken before and wait longer than it may lie about.
        assert_eq!(with(&[(1000, 2000)]), Ok(()));
        let many: Vec<(i64, i64)> = (0..=INTERVALS_MAX as i64).map(|i| (10 * i, 10 * i + 5)).collect();
        for bad in [&[][..], &[(5, 5)], &[(5, 4)], &[(10, 20), (5, 6)], &[(10, 20), (19, 30)], &many] {
            assert!(matches!(with(bad), Err(OrderRefused::Wrong(_))), "{bad:?}");
        }
        assert_eq!(with(&many[1..]), Ok(()));
    }

    #[test]
    fn what_only_newer_agents_keep_asks_for_one() {
        let plain = order().task;
        assert_eq!(plain.work_version(), 1);
        let text = serde_json::to_string(&plain).expect("JSON");
        assert!(!["windows\"", "rebootSlot", "frozen"].iter().any(|f| text.contains(f)), "as older agents know it: {text}");
        let frozen = vec![FrozenVersion { name: "a".into(), arch: "x".into(), version: "1".into() }];
        for newer in [
            PatchOrder { windows: Some(windows(&[(1, 2)])), ..plain.clone() },
            PatchOrder { reboot_slot: true, ..plain.clone() },
            PatchOrder { frozen, ..plain.clone() },
        ] {
            assert_eq!(newer.work_version(), 4);
            let again: PatchOrder = serde_json::from_str(&serde_json::to_string(&newer).expect("JSON")).expect("read");
            assert_eq!(again, newer);
        }
        let config = PatchConfig { from_cache: true, ..PatchConfig::default() };
        assert_eq!(PatchOrder { config, ..plain.clone() }.work_version(), 2);
        let config = PatchConfig { soak_days: 7, ..PatchConfig::default() };
        assert_eq!(PatchOrder { config, ..plain }.work_version(), WORK_VERSION);
    }

    #[test]
    fn an_order_whose_soak_cannot_be_kept_is_refused() {
        let with = |days: u32, soak: Option<u32>| {
            let mut order = order();
            order.task.config.soak_days = days;
            order.task.soak = soak.map(|days| OrderSoak { days, ..OrderSoak::default() });
            order.accept(order.instance, 4, at(150))
        };
        assert_eq!(with(0, None), Ok(()));
        assert_eq!(with(7, Some(7)), Ok(()));
        for bad in [(7, None), (0, Some(7)), (7, Some(6)), (0, Some(0)), (181, Some(181))] {
            assert!(matches!(with(bad.0, bad.1), Err(OrderRefused::Wrong(_))), "{bad:?}");
        }
    }

    #[test]
    fn only_a_fresh_order_to_this_instance_is_accepted() {
        let id = |n| Uuid::from_u128(n);
        let order = order();
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
