//! The first page: what the fleet needs, which jobs are at work, who waits at the door.

use askama::Template;
use askama::filters::HtmlSafe;
use drydock_control::records::{FleetCounts, InstanceQuery, JobQuery, PageQuery};
use drydock_domain::access::Permission;
use drydock_domain::instance::InstanceState;
use drydock_domain::patch::job::JobState;

use super::instances::when_allowed;
use crate::console::auth::{Chrome, Signed};
use crate::console::charts::{Slice, percent, slices};
use crate::console::error::{Fail, Html};
use crate::console::rows::{InstanceRow, JobRow};

/// Running jobs shown, rows.
const RUNNING_ROWS: u32 = 10;
/// Finished jobs shown, rows.
const RECENT_ROWS: u32 = 5;
/// Pending enrolments shown, rows.
const PENDING_ROWS: u32 = 20;

/// A number that leads to the list behind it.
pub struct Tile {
    tone: &'static str,
    label: &'static str,
    value: u32,
    href: &'static str,
}

/// One bar of the chart.
pub struct NeedBar {
    label: &'static str,
    tone: &'static str,
    value: u32,
    width: String,
    href: &'static str,
}

/// The part that refreshes itself.
#[derive(Template)]
#[template(path = "overview_live.html")]
pub struct Live {
    tiles: Vec<Tile>,
    running: Vec<JobRow>,
    recent: Vec<JobRow>,
    active: u32,
    reach: Vec<Slice>,
    reach_words: String,
    bars: Vec<NeedBar>,
    may_enrol: bool,
}

impl HtmlSafe for Live {}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    c: Chrome,
    live: Live,
    pending: Vec<InstanceRow>,
    more_pending: bool,
}

/// Counts as pages show them.
struct Counts {
    active: u32,
    pending: u32,
    online: u32,
    offline: u32,
    never_seen: u32,
    updates: u32,
    security: u32,
    held: u32,
    reboot: u32,
    findings: u32,
}

impl Counts {
    fn new(f: &FleetCounts) -> Self {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let state = |s: InstanceState| small(f.instances.get(s.as_str()).copied().unwrap_or(0));
        Counts {
            active: state(InstanceState::Active),
            pending: state(InstanceState::Pending),
            online: small(f.online),
            offline: small(f.offline),
            never_seen: small(f.never_seen),
            updates: small(f.with_updates),
            security: small(f.with_security_updates),
            held: small(f.with_held_updates),
            reboot: small(f.reboot_required),
            findings: small(f.with_findings),
        }
    }
}

/// A count that asks for something has its tone, a zero has none.
fn tone(value: u32, tone: &'static str) -> &'static str {
    if value == 0 { "none" } else { tone }
}

fn tiles(n: &Counts) -> Vec<Tile> {
    let tile = |label, value, t, href| Tile { tone: tone(value, t), label, value, href };
    let silent = n.offline + n.never_seen;
    vec![
        tile("active instances", n.active, "none", "/instances?state=ACTIVE"),
        tile("not online", silent, "warn", "/instances?need=offline"),
        tile("need security updates", n.security, "bad", "/instances?need=security"),
        tile("need a reboot", n.reboot, "warn", "/instances?need=reboot"),
        tile("have held updates", n.held, "idle", "/instances?need=held"),
        tile("have broken repositories", n.findings, "warn", "/instances?need=findings"),
        tile("pending enrolments", n.pending, "run", "/instances?state=PENDING"),
    ]
}

fn bars(n: &Counts) -> Vec<NeedBar> {
    let bar = |label, tone, value, href| NeedBar { label, tone, value, width: percent(value, n.active), href };
    vec![
        bar("Security updates", "bad", n.security, "/instances?need=security"),
        bar("Any updates", "run", n.updates, "/instances?need=updates"),
        bar("Reboot required", "warn", n.reboot, "/instances?need=reboot"),
        bar("Held updates", "idle", n.held, "/instances?need=held"),
        bar("Broken repositories", "warn", n.findings, "/instances?need=findings"),
    ]
}

async fn read_live(who: &Signed) -> Result<Live, Fail> {
    let (control, ctx) = (who.control(), &who.ctx);
    let counts = when_allowed(who, Permission::InstanceRead, control.overview(ctx)).await?;
    let counts = Counts::new(&counts.unwrap_or_default());
    let limit = |n: u32| PageQuery { limit: Some(n), ..PageQuery::default() };
    let at_work = JobQuery { state: Some(JobState::Patching), page: limit(RUNNING_ROWS), ..JobQuery::default() };
    let running = when_allowed(who, Permission::PatchRead, control.list_patch_jobs(ctx, &at_work)).await?;
    let running = running.map_or_else(Vec::new, |found| found.items);
    let newest = JobQuery { page: limit(RUNNING_ROWS + RECENT_ROWS), ..JobQuery::default() };
    let newest = when_allowed(who, Permission::PatchRead, control.list_patch_jobs(ctx, &newest)).await?;
    let newest = newest.map_or_else(Vec::new, |found| found.items);
    // Jobs that look up their hosts are at work too; they are among the newest.
    let looking_up = newest.iter().filter(|j| matches!(j.record.state, JobState::Started | JobState::InstanceLookup));
    let row = |j| JobRow::new(j, ctx.now);
    let reach = slices(
        &[
            ("ok", "online", counts.online, "/instances?need=online"),
            ("warn", "offline", counts.offline, "/instances?need=offline"),
            ("idle", "never seen", counts.never_seen, "/instances?need=offline"),
        ],
        0,
    );
    let reach_words: Vec<String> = reach.iter().map(|s| format!("{} {}", s.value, s.label)).collect();
    Ok(Live {
        tiles: tiles(&counts),
        running: looking_up.chain(&running).map(row).collect(),
        recent: newest.iter().filter(|j| j.record.state.is_final()).take(RECENT_ROWS as usize).map(row).collect(),
        active: counts.active,
        reach,
        reach_words: reach_words.join(", "),
        bars: bars(&counts),
        may_enrol: who.may.manage_enrolment,
    })
}

/// `GET /`
pub async fn show(who: Signed) -> Result<Html<impl Template>, Fail> {
    let page = PageQuery { limit: Some(PENDING_ROWS), ..PageQuery::default() };
    let query = InstanceQuery { state: Some(InstanceState::Pending), page, ..InstanceQuery::default() };
    let pending = when_allowed(&who, Permission::InstanceRead, who.control().list_instances(&who.ctx, &query)).await?;
    let (pending, more_pending) = pending.map_or_else(Default::default, |page| (page.items, page.next_cursor.is_some()));
    let live = read_live(&who).await?;
    Ok(Html(Page {
        c: who.chrome("Overview", "/"),
        live,
        pending: pending.iter().map(|i| InstanceRow::new(i, who.ctx.now)).collect(),
        more_pending,
    }))
}

/// `GET /overview/live`: the part that refreshes itself.
pub async fn live(who: Signed) -> Result<Html<Live>, Fail> {
    read_live(&who).await.map(Html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_asks_for_nothing_and_every_tile_leads_to_its_list() {
        let mut fleet = FleetCounts { with_security_updates: 2, offline: 1, never_seen: 1, ..FleetCounts::default() };
        fleet.instances.insert("ACTIVE", 5);
        let tiles = tiles(&Counts::new(&fleet));
        let of = |label: &str| tiles.iter().find(|t| t.label == label).map(|t| (t.value, t.tone, t.href));
        assert_eq!(of("active instances"), Some((5, "none", "/instances?state=ACTIVE")));
        assert_eq!(of("need security updates"), Some((2, "bad", "/instances?need=security")));
        assert_eq!(of("not online"), Some((2, "warn", "/instances?need=offline")));
        assert_eq!(of("need a reboot"), Some((0, "none", "/instances?need=reboot")));
    }
}
