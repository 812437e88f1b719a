//! Maintenance windows, freeze calendars and groups of reboot slots as people make, edit and delete them. What they do to
//! jobs is in [`crate::calendar_part`].

use drydock_domain::access::{Permission, Scope};
use drydock_domain::patch::filter::InstanceFilter;
use drydock_domain::rollout::{FreezeCalendar, MaintenanceWindow, RebootSlots};
use drydock_domain::validate::Invalid;
use drydock_store::calendars::{self, CalendarKind, CalendarRecord};
use drydock_store::commit;
use drydock_store::compartments::Kind;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::act::{Act, cut};
use super::deployments::zones;
use crate::Control;
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::views::{CalendarView, SlotGroupView};

/// Objects of one kind, count: lists of them are not paged, and every turn looks at all.
const CALENDARS_MAX: usize = 500;

/// What can be kept as a calendar.
pub trait CalendarSpec: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Its kind.
    const KIND: CalendarKind;
    /// Where it lies is asked by this.
    const LIES: Kind;
    /// What people call it.
    const NOUN: &'static str;
    /// Names of its operations: create, edit, delete, list, show.
    const OPERATIONS: [&'static str; 5];
    /// Its name.
    fn name(&self) -> &str;
    /// Which hosts.
    fn filter(&self) -> &InstanceFilter;
    /// Takes out in which compartment it is to be made.
    fn take_compartment(&mut self) -> Option<String>;
    /// Is it right?
    fn check(&self) -> std::result::Result<(), Invalid>;
    /// Would it ever do anything, when it is made at `now`?
    fn check_new(&self, _now: Timestamp) -> std::result::Result<(), Invalid> {
        Ok(())
    }
}

impl CalendarSpec for MaintenanceWindow {
    const KIND: CalendarKind = CalendarKind::Window;
    const LIES: Kind = Kind::Window;
    const NOUN: &'static str = "maintenance window";
    const OPERATIONS: [&'static str; 5] = ["window.create", "window.edit", "window.delete", "window.list", "window.show"];

    fn name(&self) -> &str {
        &self.name
    }

    fn filter(&self) -> &InstanceFilter {
        &self.instance_filter
    }

    fn take_compartment(&mut self) -> Option<String> {
        self.compartment.take()
    }

    fn check(&self) -> std::result::Result<(), Invalid> {
        self.window(zones()).map(drop)
    }
}

impl CalendarSpec for FreezeCalendar {
    const KIND: CalendarKind = CalendarKind::Freeze;
    const LIES: Kind = Kind::Freeze;
    const NOUN: &'static str = "freeze calendar";
    const OPERATIONS: [&'static str; 5] = ["freeze.create", "freeze.edit", "freeze.delete", "freeze.list", "freeze.show"];

    fn name(&self) -> &str {
        &self.name
    }

    fn filter(&self) -> &InstanceFilter {
        &self.instance_filter
    }

    fn take_compartment(&mut self) -> Option<String> {
        self.compartment.take()
    }

    fn check(&self) -> std::result::Result<(), Invalid> {
        self.freeze().map(drop)
    }

    fn check_new(&self, now: Timestamp) -> std::result::Result<(), Invalid> {
        match self.periods.iter().all(|p| p.to <= now) {
            true => Err(Invalid::one("periods", "have all passed; nothing would ever be frozen")),
            false => Ok(()),
        }
    }
}

impl CalendarSpec for RebootSlots {
    const KIND: CalendarKind = CalendarKind::RebootSlots;
    const LIES: Kind = Kind::RebootSlots;
    const NOUN: &'static str = "group of reboot slots";
    const OPERATIONS: [&'static str; 5] =
        ["reboot-slot.create", "reboot-slot.edit", "reboot-slot.delete", "reboot-slot.list", "reboot-slot.show"];

    fn name(&self) -> &str {
        &self.name
    }

    fn filter(&self) -> &InstanceFilter {
        &self.instance_filter
    }

    fn take_compartment(&mut self) -> Option<String> {
        self.compartment.take()
    }

    fn check(&self) -> std::result::Result<(), Invalid> {
        self.validate()
    }
}

impl Control {
    /// Makes a maintenance window, a freeze calendar or a group of reboot slots.
    /// It reaches hosts in its compartment and below.
    pub async fn create_calendar<T: CalendarSpec>(&self, ctx: &OpCtx, mut spec: T) -> Result<CalendarView<T>> {
        let asked = spec.take_compartment();
        let resource = format!("{} {}", T::NOUN, cut(spec.name(), 64));
        let (act, compartment) = self.act_in(ctx, T::OPERATIONS[0], asked.as_deref(), resource).await?;
        let made = self.try_create_calendar(ctx, spec, compartment, &act).await;
        act.settle(made).await
    }

    async fn try_create_calendar<T: CalendarSpec>(
        &self,
        ctx: &OpCtx,
        spec: T,
        compartment: String,
        act: &Act<'_>,
    ) -> Result<CalendarView<T>> {
        spec.check()?;
        spec.check_new(ctx.now)?;
        self.check_filter(ctx, "instanceFilter", spec.filter()).await?;
        if calendars::list(&mut *self.read().await?, &[T::KIND], &Scope::Everywhere).await?.len() >= CALENDARS_MAX {
            return Err(Error::conflict(format!("there are {CALENDARS_MAX} of them already; delete some")));
        }
        let record = CalendarRecord {
            id: self.mint(ctx.now),
            kind: T::KIND,
            name: spec.name().to_owned(),
            spec: write(&spec)?,
            compartment,
            created_by: ctx.who.name(),
            created_at: ctx.now,
            updated_at: ctx.now,
            version: 1,
        };
        let mut tx = self.begin().await?;
        match calendars::insert(&mut tx, &record).await {
            Err(e) if e.is_duplicate() => {
                return Err(Error::conflict(format!("there is a {} {} already", T::NOUN, record.name)));
            }
            other => other?,
        }
        act.allowed(&mut tx).await?;
        commit(tx).await?;
        self.wake();
        Ok(CalendarView { record, spec })
    }

    /// Replaces the specification; the name never changes.
    pub async fn edit_calendar<T: CalendarSpec>(
        &self,
        ctx: &OpCtx,
        name: &str,
        mut spec: T,
        if_match: Option<&str>,
    ) -> Result<CalendarView<T>> {
        let act = self.act_on(ctx, T::OPERATIONS[1], self.about(T::LIES, name).await?).await?;
        let edited = async {
            if spec.name() != name {
                return Err(Error::invalid("name", "never changes; delete it and make another one"));
            }
            spec.check()?;
            self.check_filter(ctx, "instanceFilter", spec.filter()).await?;
            let before = self.calendar::<T>(name).await?.record;
            self.stays(spec.take_compartment().as_deref(), &before.compartment).await?;
            let wanted = if_match.filter(|tag| *tag != "*");
            if wanted.is_some_and(|tag| tag != before.version.to_string()) {
                return Err(stale::<T>(name));
            }
            let record = CalendarRecord { spec: write(&spec)?, updated_at: ctx.now, ..before };
            let mut tx = self.begin().await?;
            if !calendars::update(&mut tx, &record).await? {
                return Err(stale::<T>(name));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.wake();
            Ok(CalendarView { record: CalendarRecord { version: record.version + 1, ..record }, spec })
        }
        .await;
        act.settle(edited).await
    }

    /// Removes it: jobs look at it no more.
    pub async fn delete_calendar<T: CalendarSpec>(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act_on(ctx, T::OPERATIONS[2], self.about(T::LIES, name).await?).await?;
        let deleted = async {
            let record = self.calendar::<T>(name).await?.record;
            let mut tx = self.begin().await?;
            if !calendars::delete(&mut tx, record.id).await? {
                return Err(no_calendar::<T>(name));
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            self.wake();
            Ok(())
        }
        .await;
        act.settle(deleted).await
    }

    /// All of one kind, by name.
    pub async fn list_calendars<T: CalendarSpec>(&self, ctx: &OpCtx) -> Result<Vec<CalendarView<T>>> {
        let scope = self.scope(ctx, T::OPERATIONS[3], Permission::PatchRead).await?;
        let records = calendars::list(&mut *self.read().await?, &[T::KIND], &scope).await?;
        records.into_iter().map(CalendarView::of).collect()
    }

    /// One of them.
    pub async fn get_calendar<T: CalendarSpec>(&self, ctx: &OpCtx, name: &str) -> Result<CalendarView<T>> {
        self.may_see(ctx, T::OPERATIONS[4], self.about(T::LIES, name).await?).await?;
        self.calendar(name).await
    }

    pub(crate) async fn calendar<T: CalendarSpec>(&self, name: &str) -> Result<CalendarView<T>> {
        let found = calendars::find(&mut *self.read().await?, T::KIND, name).await?;
        CalendarView::of(found.ok_or_else(|| no_calendar::<T>(name))?)
    }

    /// Groups of reboot slots with who holds one, by name.
    pub async fn list_slot_groups(&self, ctx: &OpCtx) -> Result<Vec<SlotGroupView>> {
        let mut out = Vec::new();
        for view in self.list_calendars::<RebootSlots>(ctx).await? {
            let holders = calendars::holders(&mut *self.read().await?, view.record.id, ctx.now).await?;
            out.push(SlotGroupView { group: view, holders });
        }
        Ok(out)
    }

    /// A group of reboot slots with who holds one.
    pub async fn get_slot_group(&self, ctx: &OpCtx, name: &str) -> Result<SlotGroupView> {
        let group = self.get_calendar::<RebootSlots>(ctx, name).await?;
        let holders = calendars::holders(&mut *self.read().await?, group.record.id, ctx.now).await?;
        Ok(SlotGroupView { group, holders })
    }

    /// Takes a slot back from a host that will not give it back itself (break-glass).
    pub async fn release_reboot_slot(&self, ctx: &OpCtx, name: &str, host: &str) -> Result<SlotGroupView> {
        let resource = format!("{} {}, instance {}", RebootSlots::NOUN, cut(name, 64), cut(host, 255));
        let about = self.about(Kind::RebootSlots, name).await?.called(resource);
        let act = self.act_on(ctx, "reboot-slot.release", about).await?;
        let released = async {
            let group = self.calendar::<RebootSlots>(name).await?;
            let held = calendars::holders(&mut *self.read().await?, group.record.id, ctx.now).await?;
            // By the names that are shown: the instance may be deleted since.
            let holder = held.iter().find(|h| h.instance_name == host || h.instance.to_string() == host);
            let holder = holder.ok_or_else(|| Error::NotFound(format!("reboot slot of {} in group {name}", cut(host, 255))))?;
            let mut tx = self.begin().await?;
            calendars::release_of_host(&mut tx, group.record.id, holder.instance).await?;
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            let holders = calendars::holders(&mut *self.read().await?, group.record.id, ctx.now).await?;
            Ok(SlotGroupView { group, holders })
        }
        .await;
        act.settle(released).await
    }
}

impl<T: CalendarSpec> CalendarView<T> {
    fn of(record: CalendarRecord) -> Result<Self> {
        let spec =
            serde_json::from_str(&record.spec).map_err(|e| Error::Internal { doing: "read a calendar", source: Box::new(e) })?;
        Ok(CalendarView { record, spec })
    }
}

fn write<T: Serialize>(spec: &T) -> Result<String> {
    serde_json::to_string(spec).map_err(|e| Error::Internal { doing: "write a calendar", source: Box::new(e) })
}

fn stale<T: CalendarSpec>(name: &str) -> Error {
    Error::Conflict { message: format!("{} {name} was changed meanwhile; look at it again", T::NOUN), stale: true }
}

fn no_calendar<T: CalendarSpec>(name: &str) -> Error {
    Error::NotFound(format!("{} {}", T::NOUN, cut(name, 255)))
}
