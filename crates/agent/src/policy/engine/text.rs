//! Texts of kinds on their way into a report: without secrets, without characters no report may hold, within their bounds.

use drydock_domain::policy::report::{EVIDENCE_MAX_BYTES, HOST_POLICIES_REPORT_MAX_BYTES, MESSAGE_MAX_BYTES};
use drydock_domain::policy::{ComplianceState, Evidence, HostPoliciesReport, ResourceResult};

use crate::policy::kind::Secrets;

/// What exec leaves in its outputFilePath, bytes, as Google's agent keeps it.
const OUTPUT_MAX_BYTES: usize = 500_000;
/// Room for what stands in the place of what was cut, bytes.
const CUT_BYTES: usize = 64;

fn clean(text: &str, max: usize, secrets: &dyn Secrets) -> String {
    let text: String = secrets.redact(text).chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    cut(&text, max)
}

/// At most `max` bytes: what is left out is in the middle.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let part = max.saturating_sub(CUT_BYTES) / 2;
    let head = text.floor_char_boundary(part);
    let tail = text.ceil_char_boundary(text.len() - part);
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

/// A message or what was found.
pub fn message(text: &str, secrets: &dyn Secrets) -> String {
    clean(text.trim(), MESSAGE_MAX_BYTES, secrets)
}

/// What exec left.
pub fn output(text: &str, secrets: &dyn Secrets) -> String {
    clean(text, OUTPUT_MAX_BYTES, secrets)
}

/// What shows it.
pub fn evidence(given: Evidence, secrets: &dyn Secrets) -> Evidence {
    let text = |text: &str| clean(text, EVIDENCE_MAX_BYTES, secrets);
    match given {
        Evidence::Diff { text: diff } => Evidence::Diff { text: text(&diff) },
        Evidence::State { old, new } => Evidence::State { old: text(&old), new: text(&new) },
        Evidence::Output { end, text: printed } => Evidence::Output { end: text(&end), text: text(&printed) },
    }
}

/// The report without what makes it too large: first what shows that compliant resources are so, then all evidence, then all
/// steps.
pub fn fitted(mut report: HostPoliciesReport) -> HostPoliciesReport {
    let is_large = |r: &HostPoliciesReport| serde_json::to_vec(r).map_or(0, |b| b.len()) > HOST_POLICIES_REPORT_MAX_BYTES;
    let bare = |r: &mut ResourceResult| {
        r.output.clear();
        r.steps.iter_mut().for_each(|s| s.evidence = None);
    };
    let cuts: [&dyn Fn(&mut ResourceResult); 3] = [
        &|r| {
            if r.state == ComplianceState::Compliant {
                bare(r);
            }
        },
        &bare,
        &|r| r.steps.clear(),
    ];
    for cut in cuts {
        if !is_large(&report) {
            break;
        }
        report.policies.iter_mut().flat_map(|p| &mut p.resources).for_each(cut);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::values::Values;
    use drydock_domain::policy::{PolicyResult, StepKind, StepOutcome, StepResult};
    use jiff::Timestamp;

    #[test]
    fn every_text_of_a_host_makes_a_report_the_server_takes() {
        let secrets = Values::default();
        let hostile = format!("\u{1b}[31m{}\u{0}", "é".repeat(400_000));
        let step = StepResult {
            kind: StepKind::Validation,
            outcome: StepOutcome::Succeeded,
            duration_ms: 1,
            message: message(&hostile, &secrets),
            evidence: Some(evidence(Evidence::State { old: hostile.clone(), new: hostile.clone() }, &secrets)),
        };
        let resource = |id: usize| ResourceResult {
            id: format!("r{id}"),
            output: output(&hostile, &secrets),
            steps: vec![step.clone(); 4],
            ..Default::default()
        };
        let report = HostPoliciesReport {
            version: 1,
            seq: 1,
            generation: 1,
            preview: None,
            check: 0,
            at: Timestamp::UNIX_EPOCH,
            problem: String::new(),
            policies: vec![PolicyResult { resources: (0..500).map(resource).collect(), ..Default::default() }],
            drift: Vec::new(),
            health: Vec::new(),
        };
        report.validate().expect("bounded");
        let fitted = fitted(report);
        assert!(serde_json::to_vec(&fitted).expect("json").len() <= HOST_POLICIES_REPORT_MAX_BYTES);
        assert_eq!(fitted.policies[0].resources.len(), 500);
        assert!(cut("short", 10) == "short" && cut(&"x".repeat(1000), 100).len() <= 100);
    }
}
