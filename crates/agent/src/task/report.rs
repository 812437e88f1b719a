//! Writing the cumulative report: opening and closing steps, judging results, keeping it within what the server takes.

use drydock_domain::limits::TASK_REPORT_MAX_BYTES;
use drydock_domain::patch::modules::ModuleResult;
use drydock_domain::patch::report::{
    Output, PackageOutcome, PackageResult, Plan, STEPS_MAX, StepKind, StepOutcome, StepReport, TaskReport,
};
use jiff::Timestamp;

/// Output parts are cut to this when the whole report is too long, bytes.
const SHORT_OUTPUT_BYTES: usize = 2 * 1024;
/// Skipped updates told per plan when the whole report is too long, count.
const SHORT_SKIPPED: usize = 100;
/// Packages named in a failure line, count.
const NAMED_MAX: usize = 5;
/// A message, bytes: the server takes 8 KiB.
const MESSAGE_MAX_BYTES: usize = 4 * 1024;

/// How a step ended.
#[derive(Debug, Clone, Default)]
pub struct StepEnd {
    /// Exit code, where one command stands for the step.
    pub exit_code: Option<i32>,
    /// One line.
    pub message: String,
    /// What it printed.
    pub output: Output,
}

/// Opens a step, unless it is open already (taken up after a restart).
pub fn open(report: &mut TaskReport, kind: StepKind, now: Timestamp) {
    let open = report.steps.last().is_some_and(|s| s.step == kind && s.outcome == StepOutcome::Running);
    if !open && report.steps.len() < STEPS_MAX {
        report.steps.push(StepReport {
            step: kind,
            started_at: now,
            ended_at: None,
            outcome: StepOutcome::Running,
            exit_code: None,
            message: String::new(),
            output: Output::default(),
        });
    }
}

/// Closes the open step, if there is one.
pub fn close(report: &mut TaskReport, outcome: StepOutcome, end: StepEnd, now: Timestamp) {
    if let Some(step) = report.steps.last_mut().filter(|s| s.outcome == StepOutcome::Running) {
        step.ended_at = Some(now);
        step.outcome = outcome;
        step.exit_code = end.exit_code;
        step.message = cut(end.message);
        step.output = end.output;
    }
}

/// Drops the open step: it turned out that there was nothing to do.
pub fn discard(report: &mut TaskReport) {
    if report.steps.last().is_some_and(|s| s.outcome == StepOutcome::Running) {
        report.steps.pop();
    }
}

/// A message within its bound.
pub fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_MAX_BYTES {
        let mut at = MESSAGE_MAX_BYTES;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push('…');
    }
    text
}

/// The plans of one round as one, for verification.
pub fn merged(plans: &[Plan]) -> Option<Plan> {
    let mut plans = plans.iter();
    let mut all = plans.next()?.clone();
    for plan in plans {
        all.actions.extend(plan.actions.iter().cloned());
    }
    all.actions.sort();
    Some(all)
}

/// What is wrong with the results, in one line; `None` when everything planned is true.
pub fn shortfall(results: &[PackageResult], modules: &[ModuleResult]) -> Option<String> {
    let planned = results.iter().filter(|r| r.outcome != PackageOutcome::Unplanned).count();
    let wrong: Vec<&PackageResult> =
        results.iter().filter(|r| matches!(r.outcome, PackageOutcome::NotApplied | PackageOutcome::Different)).collect();
    let packages = wrong.iter().map(|r| r.planned.name.clone()).collect();
    let modules_wrong = modules.iter().filter(|r| r.outcome != PackageOutcome::Applied);
    let changes = modules_wrong.map(|r| r.planned.change.to_string()).collect();
    let lines = [missed(packages, planned, "packages"), missed(changes, modules.len(), "module changes")];
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

fn missed(mut names: Vec<String>, planned: usize, what: &str) -> Option<String> {
    let wrong = names.len();
    names.truncate(NAMED_MAX);
    if wrong > NAMED_MAX {
        names.push(format!("{} more", wrong - NAMED_MAX));
    }
    (wrong > 0).then(|| format!("{wrong} of {planned} {what} are not as planned: {}", names.join(", ")))
}

/// The verification for people.
pub fn tally(results: &[PackageResult], modules: &[ModuleResult]) -> String {
    let count = |o| results.iter().filter(|r| r.outcome == o).count();
    let mut text = format!("{} as planned", count(PackageOutcome::Applied));
    for (outcome, words) in [
        (PackageOutcome::NotApplied, "not applied"),
        (PackageOutcome::Different, "different"),
        (PackageOutcome::Unplanned, "changed without being planned"),
    ] {
        if count(outcome) > 0 {
            text += &format!(", {} {words}", count(outcome));
        }
    }
    if !modules.is_empty() {
        let applied = modules.iter().filter(|r| r.outcome == PackageOutcome::Applied).count();
        text += &format!("; {applied} of {} module changes as planned", modules.len());
    }
    text
}

/// Shortens a report that the server would not take: outputs first, then lists of what was not done.
pub fn fit(report: &mut TaskReport) {
    let too_long = |r: &TaskReport| serde_json::to_vec(r).is_ok_and(|b| b.len() > TASK_REPORT_MAX_BYTES);
    if !too_long(report) {
        return;
    }
    for step in &mut report.steps {
        shorten(&mut step.output);
    }
    if too_long(report) {
        for plan in &mut report.plans {
            plan.skipped.truncate(SHORT_SKIPPED);
        }
    }
    // Older rounds are in the package results already.
    while too_long(report) && report.plans.len() > 1 {
        report.plans.remove(0);
    }
}

fn shorten(output: &mut Output) {
    let all = output.head.len() + output.tail.len();
    let end = floor(&output.head, SHORT_OUTPUT_BYTES);
    let from = if output.tail.is_empty() { &output.head[end..] } else { &output.tail[..] };
    let start = from.len() - floor(from, SHORT_OUTPUT_BYTES.min(from.len()));
    let start = (start..=from.len()).find(|i| from.is_char_boundary(*i)).unwrap_or(from.len());
    let tail = from[start..].to_owned();
    output.head.truncate(end);
    output.dropped_bytes += (all - output.head.len() - tail.len()) as u64;
    output.tail = tail;
}

fn floor(text: &str, max: usize) -> usize {
    let mut at = text.len().min(max);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::order::{new_entry, tests::order};
    use drydock_domain::inventory::{ManagerKind, UpdateKind};
    use drydock_domain::patch::report::{ActionKind, PlannedAction, SkippedUpdate};

    fn result(name: &str, outcome: PackageOutcome) -> PackageResult {
        let planned = PlannedAction {
            action: ActionKind::Upgrade,
            name: name.into(),
            arch: "x".into(),
            from: Some("1".into()),
            to: Some("2".into()),
            repository: String::new(),
            kind: UpdateKind::Unknown,
            advisories: vec![],
        };
        PackageResult { planned, outcome, found: None, detail: String::new() }
    }

    #[test]
    fn a_shortfall_names_packages_and_unplanned_changes_are_none() {
        use PackageOutcome::{Applied, Different, NotApplied, Unplanned};
        assert_eq!(shortfall(&[result("a", Applied), result("u", Unplanned)], &[]), None);
        let bad: Vec<_> = ('a'..='h').map(|c| result(&c.to_string(), if c < 'd' { NotApplied } else { Different })).collect();
        assert_eq!(shortfall(&bad, &[]).as_deref(), Some("8 of 8 packages are not as planned: a, b, c, d, e, 3 more"));
        assert_eq!(tally(&[result("a", Applied), result("b", Unplanned)], &[]), "1 as planned, 1 changed without being planned");
    }

    #[test]
    fn a_report_that_is_too_long_loses_output_and_never_the_truth() {
        let mut report = new_entry(order(1), "b", Timestamp::UNIX_EPOCH).report;
        for _ in 0..40 {
            open(&mut report, StepKind::Apply, Timestamp::UNIX_EPOCH);
            let output = Output { head: "ä".repeat(40_000), tail: "z".repeat(60_000), dropped_bytes: 1 };
            close(&mut report, StepOutcome::Succeeded, StepEnd { output, ..Default::default() }, Timestamp::UNIX_EPOCH);
        }
        let skipped = SkippedUpdate { name: "n".repeat(200), arch: String::new(), version: String::new(), reason: "r".into() };
        report.plans.push(Plan {
            manager: ManagerKind::Apt,
            actions: vec![],
            skipped: vec![skipped; 20_000],
            patches: vec![],
            requested: vec![],
            modules: vec![],
            findings: vec![],
            before: None,
            undo: None,
        });
        report.packages = vec![result("a", PackageOutcome::Applied); 1000];
        fit(&mut report);
        assert!(serde_json::to_vec(&report).expect("json").len() <= TASK_REPORT_MAX_BYTES);
        assert_eq!((report.steps.len(), report.packages.len()), (40, 1000));
        let output = &report.steps[0].output;
        assert_eq!(output.head.len() + output.tail.len() + output.dropped_bytes as usize, 80_000 + 60_000 + 1);
        report.validate().expect("the server takes it");
    }
}
