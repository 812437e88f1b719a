//! What calendars mean to hosts now: which windows and freezes are whose, who may be worked at, what an order says of it,
//! and which groups of reboot slots a host is in. Whom a filter reaches is remembered for some seconds.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::access::Scope;
use drydock_domain::access::scope::is_below;
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::rollout::window::{for_order, state};
use drydock_domain::rollout::{Closed, Freeze, FreezeCalendar, MaintenanceWindow, RebootSlots, Window};
use drydock_domain::work::OrderWindows;
use drydock_store::calendars::{self, CalendarKind, CalendarRecord};
use drydock_store::patch_tasks::OpenTask;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Control;
use crate::error::{Error, Result};

/// Whom a calendar reaches is looked up anew after this, seconds: labels and groups of hosts change seldom, and each look
/// reads the whole fleet's rows.
const MEMBERS_FRESH_SECS: i64 = 5;
/// Calendars remembered, count. Beyond it all are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Whom a calendar reached when it was last looked at.
#[derive(Clone)]
struct Members {
    version: i64,
    read_at: Timestamp,
    hosts: Arc<HashSet<InstanceId>>,
}

/// What this process remembers of calendars.
#[derive(Default)]
pub(crate) struct CalendarPart {
    members: Mutex<HashMap<Uuid, Members>>,
}

impl CalendarPart {
    /// A host lies elsewhere now: whom calendars reach is looked up anew.
    pub(crate) fn forget(&self) {
        self.members().clear();
    }

    fn members(&self) -> MutexGuard<'_, HashMap<Uuid, Members>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window or a freeze, and whom it reaches.
enum Rule {
    Window(Window),
    Freeze(Freeze),
}

/// Every window and freeze, with whom they reach.
struct Rules(Vec<(Rule, Arc<HashSet<InstanceId>>)>);

impl Rules {
    /// The places of those that reach a host.
    fn of(&self, host: InstanceId) -> Vec<usize> {
        (0..self.0.len()).filter(|i| self.0[*i].1.contains(&host)).collect()
    }

    fn split(&self, places: &[usize]) -> (Vec<Window>, Vec<Freeze>) {
        let (mut windows, mut freezes) = (Vec::new(), Vec::new());
        for place in places {
            match self.0.get(*place).map(|(rule, _)| rule) {
                Some(Rule::Window(window)) => windows.push(window.clone()),
                Some(Rule::Freeze(freeze)) => freezes.push(freeze.clone()),
                None => {}
            }
        }
        (windows, freezes)
    }
}

impl Control {
    /// Why the calendars of these tasks' hosts forbid work on them now; those that may be worked at are absent.
    pub(crate) async fn closed_now(&self, open: &[OpenTask], now: Timestamp) -> Result<HashMap<TaskId, Closed>> {
        let rules = self.calendar_rules(now).await?;
        let mut out = HashMap::new();
        if rules.0.is_empty() {
            return Ok(out);
        }
        // Hosts with the same rules stand the same.
        let mut known: HashMap<Vec<usize>, Option<Closed>> = HashMap::new();
        for one in open {
            let places = rules.of(one.task.instance);
            let closed = known.entry(places).or_insert_with_key(|places| {
                let (windows, freezes) = rules.split(places);
                state(&windows, &freezes, now)
            });
            if let Some(closed) = closed {
                out.insert(one.task.id, closed.clone());
            }
        }
        Ok(out)
    }

    /// When a host may be worked at from now on, for its order; `None`: at any time.
    pub(crate) async fn order_windows(&self, host: InstanceId, now: Timestamp) -> Result<Option<OrderWindows>> {
        let rules = self.calendar_rules(now).await?;
        let (windows, freezes) = rules.split(&rules.of(host));
        Ok(for_order(&windows, &freezes, now))
    }

    /// The groups of reboot slots that a host is in, in one order everywhere.
    pub(crate) async fn slot_groups_of(&self, host: InstanceId, now: Timestamp) -> Result<Vec<(CalendarRecord, RebootSlots)>> {
        let records = calendars::list(&mut *self.read().await?, &[CalendarKind::RebootSlots], &Scope::Everywhere).await?;
        let mut out = Vec::new();
        for record in records {
            let spec: RebootSlots = parse(&record)?;
            if self.members_of(&record, &spec.instance_filter, now).await?.contains(&host) {
                out.push((record, spec));
            }
        }
        out.sort_by_key(|(record, _)| record.id);
        Ok(out)
    }

    async fn calendar_rules(&self, now: Timestamp) -> Result<Rules> {
        let kinds = [CalendarKind::Window, CalendarKind::Freeze];
        let records = calendars::list(&mut *self.read().await?, &kinds, &Scope::Everywhere).await?;
        let mut rules = Vec::with_capacity(records.len());
        for record in records {
            let (rule, filter) = match record.kind {
                CalendarKind::Window => {
                    let spec: MaintenanceWindow = parse(&record)?;
                    (Rule::Window(spec.window(jiff::tz::db())?), spec.instance_filter)
                }
                _ => {
                    let spec: FreezeCalendar = parse(&record)?;
                    (Rule::Freeze(spec.freeze()?), spec.instance_filter)
                }
            };
            rules.push((rule, self.members_of(&record, &filter, now).await?));
        }
        Ok(Rules(rules))
    }

    async fn members_of(
        &self,
        record: &CalendarRecord,
        filter: &InstanceFilter,
        now: Timestamp,
    ) -> Result<Arc<HashSet<InstanceId>>> {
        let is_fresh = |m: &Members| {
            let age = now.duration_since(m.read_at);
            m.version == record.version && age < SignedDuration::from_secs(MEMBERS_FRESH_SECS) && !age.is_negative()
        };
        if let Some(known) = self.calendar_part().members().get(&record.id).filter(|m| is_fresh(m)) {
            return Ok(Arc::clone(&known.hosts));
        }
        let mut chosen = self.targets_of(filter, now).await?;
        chosen.retain(|host| is_below(&host.compartment, &record.compartment));
        let hosts: Arc<HashSet<InstanceId>> = Arc::new(chosen.into_iter().map(|host| host.id).collect());
        let mut members = self.calendar_part().members();
        if members.len() >= REMEMBERED_MAX {
            members.clear();
        }
        members.insert(record.id, Members { version: record.version, read_at: now, hosts: Arc::clone(&hosts) });
        Ok(hosts)
    }
}

fn parse<T: serde::de::DeserializeOwned>(record: &CalendarRecord) -> Result<T> {
    serde_json::from_str(&record.spec).map_err(|e| Error::Internal { doing: "read a calendar", source: Box::new(e) })
}
