//! How a job goes through its hosts, as an operator writes it: Google's `PatchRollout` (mode, disruption budget) in its
//! JSON form; the additions are marked *ours*. What follows from it is in [`super::layout`] and [`super::planner`].

use serde::{Deserialize, Serialize};

use crate::patch::filter::InstanceFilter;
use crate::patch::spec::Concurrency;
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};

/// Waves of one rollout, count: a host's membership of each travels as one bit of 64, and a person must grasp them.
pub const WAVES_MAX: usize = 32;
/// Longest bake time, seconds (14 days).
pub const BAKE_MAX_SECS: u64 = 14 * 24 * 3600;
/// Longest time a host that is off may come back in, seconds (30 days).
pub const CATCH_UP_MAX_SECS: u64 = 30 * 24 * 3600;
/// Longest address of a webhook, bytes.
const URL_MAX_BYTES: usize = 2048;
/// Longest reason, bytes.
const REASON_MAX_BYTES: usize = 1024;

/// Which hosts at which time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// One zone after the other, or all at once.
    pub mode: RolloutMode,
    /// Hosts disrupted at once in each zone: from being let go until done, reboot included; failed and timed-out hosts
    /// keep their place. Absent = all. A percentage is of the job's hosts in that zone, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<Concurrency>,
    /// *Ours*: the waves in order; a host belongs to the first that takes it. Hosts that none takes are the last wave,
    /// `rest`. Empty = one wave of all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// *Ours*: which hosts a share takes follows from this number; absent = drawn when the job begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// *Ours*: the job halts when so many hosts of a wave (a percentage: of the wave's hosts, rounded up) have failed, timed
    /// out or become unreachable. Absent = 1 where there are waves, never where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt_after: Option<Concurrency>,
    /// *Ours*: when the job halts, the hosts of the wave that failed get back what they had.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undo_failed_wave: bool,
    /// *Ours*: another person approves the job before its first host begins.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_approval: bool,
    /// *Ours*: maintenance windows and freezes of the hosts do not count, and why (break-glass; it is in the audit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_windows: Option<String>,
    /// *Ours*: a host that is off may come back within this many seconds of the job's begin and takes its turn then; it does
    /// not hold up later waves meanwhile. Absent = it is given up after the server's patience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up_secs: Option<u64>,
    /// *Ours*: later waves take the newest versions instead of those that the first wave planned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub newest_content: bool,
}

/// Google's two modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RolloutMode {
    /// All zones at the same time, each with a budget of its own.
    #[default]
    #[serde(alias = "MODE_UNSPECIFIED")]
    ConcurrentZones,
    /// The region with the fewest hosts first, in it the zone with the fewest; the next zone after the last one is done.
    ZoneByZone,
}

/// One wave. It takes hosts that `select` chooses (absent = any), as many as `size` says (absent = all of them).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Wave {
    /// Unique in the rollout: `canary`, `ring1` …
    pub name: String,
    /// Which hosts: labels, zones, groups, names, a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<InstanceFilter>,
    /// How many of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<WaveSize>,
    /// Takes more hosts than `size` where needed, until each kind of host (operating system and version, label `role`) that
    /// the job has is there once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cover_kinds: bool,
    /// Seconds between the wave's last host and the next wave. Hosts that fall silent or get new failed units meanwhile
    /// count as failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub bake_secs: u64,
    /// What must say yes before the next wave begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How many hosts a wave takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum WaveSize {
    /// This many; 1 is a canary.
    Fixed(u32),
    /// This share of the job's hosts, 1 to 100, rounded up.
    Percent(u32),
    /// As many as it takes to meet a bad update.
    Detect(Detect),
}

/// A wave big enough to hold, with this confidence, at least one host that fails when this share of all hosts would.
/// Example: 30 % and 99.9 % are 20 hosts of a large fleet and 8 of 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Detect {
    /// Share of the hosts that would fail, percent, 1 to 100.
    pub failure_percent: u32,
    /// Chance of meeting one, thousandths, 1 to 999: 999 is 99.9 %.
    pub confidence_permille: u32,
}

/// What must say yes after a wave. Both, where both are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Gate {
    /// A person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// This address, asked with POST: 2xx passes, 425 asks to be asked again, anything else halts the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl Rollout {
    /// Checks a rollout that stands alone.
    pub fn validate(&self, at: &str) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        self.check(at, &mut problems);
        problems.finish()
    }

    /// Everything an operator can get wrong, each with its field.
    pub fn check(&self, at: &str, problems: &mut Problems) {
        check_amount(&format!("{at}.disruptionBudget"), self.disruption_budget, problems);
        check_amount(&format!("{at}.haltAfter"), self.halt_after, problems);
        problems.count(&format!("{at}.waves"), self.waves.len(), WAVES_MAX);
        let last = self.waves.len().saturating_sub(1);
        for (i, wave) in self.waves.iter().enumerate().take(WAVES_MAX) {
            let field = format!("{at}.waves[{i}]");
            wave.check(&field, problems);
            if self.waves[..i].iter().any(|w| w.name == wave.name) {
                problems.add(format!("{field}.name"), format!("{} is the name of an earlier wave", wave.name));
            }
            if wave.takes_all() && i < last {
                problems.add(&field, "takes every host that is left, so the waves after it are empty; give select or size");
            }
        }
        if self.catch_up_secs.is_some_and(|s| s == 0 || s > CATCH_UP_MAX_SECS) {
            problems.add(format!("{at}.catchUpSecs"), format!("must be between 1 and {CATCH_UP_MAX_SECS} seconds (30 days)"));
        }
        if let Some(reason) = &self.ignore_windows {
            let field = format!("{at}.ignoreWindows");
            problems.text(&field, reason, REASON_MAX_BYTES);
            if reason.trim().is_empty() {
                problems.add(field, "needs the reason why windows and freezes do not count");
            }
        }
        if self.undo_failed_wave && self.failure_limit().is_none() {
            problems.add(format!("{at}.undoFailedWave"), "needs haltAfter or waves: without them the job never halts");
        }
    }

    /// How many failures of a wave halt the job; `None`: none do.
    pub fn failure_limit(&self) -> Option<Concurrency> {
        self.halt_after.or(if self.waves.is_empty() { None } else { Some(Concurrency::Fixed(1)) })
    }
}

impl Wave {
    /// Neither chooses nor counts.
    fn takes_all(&self) -> bool {
        self.select.is_none() && self.size.is_none()
    }

    fn check(&self, at: &str, problems: &mut Problems) {
        check_name(&format!("{at}.name"), &self.name, problems);
        if let Some(select) = &self.select {
            select.check(&format!("{at}.select"), problems);
        }
        match self.size {
            Some(WaveSize::Fixed(0)) => {
                problems.add(format!("{at}.size.fixed"), "must be at least 1; an empty wave proves nothing")
            }
            Some(WaveSize::Percent(p)) if !(1..=100).contains(&p) => {
                problems.add(format!("{at}.size.percent"), "must be between 1 and 100");
            }
            Some(WaveSize::Detect(detect)) => {
                if !(1..=100).contains(&detect.failure_percent) {
                    problems.add(format!("{at}.size.detect.failurePercent"), "must be between 1 and 100");
                }
                if !(1..=999).contains(&detect.confidence_permille) {
                    problems.add(format!("{at}.size.detect.confidencePermille"), "must be between 1 and 999 (99.9 %)");
                }
            }
            _ => {}
        }
        if self.bake_secs > BAKE_MAX_SECS {
            problems.add(format!("{at}.bakeSecs"), format!("must be at most {BAKE_MAX_SECS} seconds (14 days)"));
        }
        if let Some(gate) = &self.gate {
            gate.check(&format!("{at}.gate"), problems);
        }
    }
}

impl Gate {
    fn check(&self, at: &str, problems: &mut Problems) {
        if !self.approval && self.webhook.is_none() {
            problems.add(at, "asks nobody; set approval or webhook, or leave the gate out");
        }
        let Some(url) = &self.webhook else { return };
        let field = format!("{at}.webhook");
        problems.text(&field, url, URL_MAX_BYTES);
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.map(|r| r.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
            problems.add(&field, "must be an address such as https://gates.example.org/patch");
        }
        if host.is_some_and(|h| h.contains('@')) {
            problems.add(&field, "must not hold a user name or password");
        }
    }
}

fn check_amount(field: &str, amount: Option<Concurrency>, problems: &mut Problems) {
    match amount {
        Some(Concurrency::Fixed(0)) => problems.add(format!("{field}.fixed"), "must be at least 1"),
        Some(Concurrency::Percent(p)) if !(1..=100).contains(&p) => {
            problems.add(format!("{field}.percent"), "must be between 1 and 100");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let rollout: Rollout = serde_json::from_str(text).expect("the form is right");
        match rollout.validate("rollout") {
            Ok(()) => Vec::new(),
            Err(invalid) => invalid.errors.into_iter().map(|e| format!("{}: {}", e.field, e.message)).collect(),
        }
    }

    #[test]
    fn good_rollouts_pass() {
        for good in [
            "{}",
            r#"{"mode":"ZONE_BY_ZONE","disruptionBudget":{"percent":10}}"#,
            r#"{"waves":[{"name":"canary","size":{"fixed":1},"bakeSecs":600,"gate":{"approval":true}},
                {"name":"ring1","select":{"groupLabels":[{"labels":{"ring":"1"}}]},"size":{"percent":20}},{"name":"others"}],
                "haltAfter":{"percent":5},"undoFailedWave":true,"requireApproval":true,"catchUpSecs":86400}"#,
            r#"{"waves":[{"name":"first","size":{"detect":{"failurePercent":30,"confidencePermille":999}},"coverKinds":true}]}"#,
        ] {
            assert_eq!(problems_of(good), Vec::<String>::new(), "{good}");
        }
    }

    /// Approvals cannot go in circles: a gate stands behind its own wave and has no words for another one, and waves are a
    /// list. What tries to say so is not passed over.
    #[test]
    fn a_gate_cannot_name_another_wave() {
        for circle in [
            r#"{"waves":[{"name":"a","size":{"fixed":1},"gate":{"approval":true,"after":"b"}}]}"#,
            r#"{"waves":[{"name":"a","after":"b"},{"name":"b","after":"a"}]}"#,
            r#"{"waves":[{"name":"a","size":{"fixed":1},"gate":{"approval":{"wave":"a"}}}]}"#,
            r#"{"mode":"ZONE_AFTER_ZONE"}"#,
            r#"{"waves":[{"name":"a","size":{"percent":-5}}]}"#,
        ] {
            let read: Result<Rollout, _> = serde_json::from_str(circle);
            assert!(read.is_err(), "{circle}");
        }
    }

    #[test]
    fn bad_rollouts_are_refused_with_their_field() {
        for (bad, field) in [
            (r#"{"disruptionBudget":{"percent":0}}"#, "rollout.disruptionBudget.percent"),
            (r#"{"disruptionBudget":{"percent":101}}"#, "rollout.disruptionBudget.percent"),
            (r#"{"disruptionBudget":{"fixed":0}}"#, "rollout.disruptionBudget.fixed"),
            (r#"{"haltAfter":{"percent":0}}"#, "rollout.haltAfter.percent"),
            (r#"{"waves":[{"name":"a","size":{"fixed":0}}]}"#, "rollout.waves[0].size.fixed"),
            (r#"{"waves":[{"name":"a","size":{"percent":0}}]}"#, "rollout.waves[0].size.percent"),
            (r#"{"waves":[{"name":"a","size":{"percent":101}}]}"#, "rollout.waves[0].size.percent"),
            (r#"{"waves":[{"name":"a","select":{"zones":[" "]}}]}"#, "rollout.waves[0].select.zones"),
            (r#"{"waves":[{"name":"a"},{"name":"b"}]}"#, "rollout.waves[0]"),
            (r#"{"waves":[{"name":"a","size":{"fixed":1}},{"name":"a"}]}"#, "rollout.waves[1].name"),
            (r#"{"waves":[{"name":"","size":{"fixed":1}}]}"#, "rollout.waves[0].name"),
            (r#"{"waves":[{"name":"a","select":{}}]}"#, "rollout.waves[0].select"),
            (r#"{"waves":[{"name":"a","gate":{}}]}"#, "rollout.waves[0].gate"),
            (r#"{"waves":[{"name":"a","gate":{"webhook":"ftp://x"}}]}"#, "rollout.waves[0].gate.webhook"),
            (r#"{"waves":[{"name":"a","gate":{"webhook":"https://u:p@x/"}}]}"#, "rollout.waves[0].gate.webhook"),
            (r#"{"waves":[{"name":"a","bakeSecs":99999999}]}"#, "rollout.waves[0].bakeSecs"),
            (
                r#"{"waves":[{"name":"a","size":{"detect":{"failurePercent":0,"confidencePermille":999}}}]}"#,
                "rollout.waves[0].size.detect.failurePercent",
            ),
            (
                r#"{"waves":[{"name":"a","size":{"detect":{"failurePercent":30,"confidencePermille":1000}}}]}"#,
                "rollout.waves[0].size.detect.confidencePermille",
            ),
            (r#"{"ignoreWindows":" "}"#, "rollout.ignoreWindows"),
            (r#"{"catchUpSecs":0}"#, "rollout.catchUpSecs"),
            (r#"{"undoFailedWave":true}"#, "rollout.undoFailedWave"),
        ] {
            let found = problems_of(bad);
            assert!(found.iter().any(|p| p.starts_with(&format!("{field}: "))), "{bad}: {found:?}");
        }
    }
}
