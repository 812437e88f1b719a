//! The helper that speaks for dnf 4 through its own Python API (`helper.py`, for modules `modules.py`): request and answer.
//! Its standard output is for people, except one line:
//!
//! ```text
//! Installing dr-new-1.0-1.noarch
//! DRYDOCK-RESULT {"failure": null, "errors": [], "rebootSuggested": false}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drydock_domain::inventory::{Finding, Update};
use drydock_domain::patch::modules::{ModuleChange, ModuleState, ModuleStream};
use drydock_domain::patch::operation::{PackageWord, UpdateType};
use drydock_domain::patch::report::{Output, PlannedAction};
use drydock_domain::patch::undo::{Barred, Marked, Standing};
use serde::{Deserialize, Serialize};

use crate::run::{Captured, CommandSpec, Finished};
use crate::wish::Wishes;

const SOURCE: &str = concat!(include_str!("helper.py"), "\n\n", include_str!("modules.py"));
const MARK: &str = "DRYDOCK-RESULT ";

/// What the helper is asked.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub action: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusive: Vec<String>,
    pub security: bool,
    pub minimal: bool,
    /// plan: exactly these packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<Named>,
    /// plan: updates that any of these choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choose: Option<Choose>,
    /// plan: these module changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleChange>,
    /// apply: modules and what they become.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// apply: names that are no dependencies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<PlannedAction>,
    /// plan: versions that must not be installed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<Barred>,
    /// undo, apply: package files beside the repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// apply: why packages were installed that come back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Marked>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<PlannedAction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<i64>,
}

/// A package word.
#[derive(Debug, Serialize)]
pub(crate) struct Word {
    name: String,
    arch: Option<String>,
    version: Option<String>,
}

/// Named packages.
#[derive(Debug, Serialize)]
pub(crate) struct Named {
    install: Vec<Word>,
    remove: Vec<Word>,
    update: Vec<Word>,
}

impl From<&Wishes> for Named {
    fn from(wishes: &Wishes) -> Self {
        let words = |list: &[PackageWord]| {
            let word = |w: &PackageWord| Word { name: w.name.clone(), arch: w.arch.clone(), version: w.version.clone() };
            list.iter().map(word).collect()
        };
        Named { install: words(&wishes.install), remove: words(&wishes.remove), update: words(&wishes.update) }
    }
}

/// A module and what it becomes.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub module: String,
    pub after: ModuleState,
}

/// A module that a plan changes or that was named.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    pub module: String,
    pub before: ModuleState,
    pub after: ModuleState,
    pub packages: Vec<String>,
}

/// Which updates.
#[derive(Debug, Serialize)]
pub(crate) struct Choose {
    pub types: Vec<UpdateType>,
    pub advisories: Vec<String>,
    pub cves: Vec<String>,
}

/// What it answers: the fields of the action that was asked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Answer {
    /// It could not do it; for people.
    pub error: Option<String>,
    /// plan: dnf says no to what was named.
    pub refused: Option<String>,
    /// plan: why named updates are not in it, by name.
    pub unmet: BTreeMap<String, String>,
    /// plan: advisories and CVEs that chose something.
    pub met: BTreeSet<String>,
    /// plan: names of new packages that a profile brings.
    pub requested: Vec<String>,
    /// plan: module changes that cannot be, by their number, and why.
    pub refused_changes: BTreeMap<usize, String>,
    /// plan: every module it names or changes.
    pub told: Vec<Told>,
    /// modules: what is offered.
    pub streams: Vec<ModuleStream>,
    /// modules: what is enabled or disabled.
    pub states: BTreeMap<String, ModuleState>,
    /// download: how many packages came or were there.
    pub downloaded: usize,
    /// Another dnf holds a lock.
    pub locked: Option<String>,
    pub findings: Vec<Finding>,
    pub working: usize,
    pub updates: Vec<Update>,
    /// plan: what was available before excludes.
    pub available: Vec<Update>,
    pub actions: Vec<PlannedAction>,
    /// plan: why the installed ones of its packages are there.
    pub marks: Vec<Marked>,
    /// plan: exclusive packages that are not installed.
    pub missing: Vec<String>,
    /// plan: why the solver left updates out, by `name.arch`.
    pub problems: BTreeMap<String, String>,
    /// apply: packages that are gone, or the solver's refusal.
    pub moved: Vec<String>,
    /// apply: another transaction than planned; nothing was done.
    pub would: Option<Vec<PlannedAction>>,
    pub failure: Option<String>,
    pub errors: Vec<String>,
    pub reboot_suggested: bool,
    /// reboot: who asks.
    pub asked: Vec<Asked>,
    /// repair: what was taken away.
    pub removed: Vec<serde_json::Value>,
}

impl Answer {
    /// What the host has beside versions, before the plan.
    pub(crate) fn standing(&mut self) -> Standing {
        let mut marks = std::mem::take(&mut self.marks);
        marks.sort();
        Standing { marks, left: Vec::new() }
    }
}

/// An installed package whose advisory asks for a reboot.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    pub package: String,
    pub advisory: String,
}

/// The command: the script comes by standard input, so that the process list stays readable.
pub(crate) fn spec(python: &str, request: &Request, limit: Duration) -> Result<CommandSpec, serde_json::Error> {
    // A JSON string is also a Python string.
    let literal = serde_json::to_string(&serde_json::to_string(request)?)?;
    let script = format!("{SOURCE}\n\nmain(json.loads({literal}))\n");
    Ok(CommandSpec::new(python, format!("dnf ({})", request.action), limit).args(["-I", "-"]).stdin(script))
}

/// Finds and reads the answer line.
pub(crate) fn parse(text: &str) -> Result<Answer, String> {
    let line = text.lines().rev().find_map(|l| l.strip_prefix(MARK)).ok_or("no answer line")?;
    serde_json::from_str(line).map_err(|e| e.to_string())
}

/// What it printed, without the answer line.
pub(crate) fn people(finished: &Finished) -> Output {
    let text = finished.stdout.text();
    let lines: String = text.split_inclusive('\n').filter(|l| !l.starts_with(MARK)).collect();
    Captured::from_bytes(lines.as_bytes()).to_output()
}

/// Packages named in dnf's error lines:
/// `Error in PREIN scriptlet in rpm package dr-fails`, `error: %prein(dr-fails-2.0-1.noarch) scriptlet failed, exit status 1`,
/// `Error in POSTIN scriptlet in rpm package dr-postfails`.
pub(crate) fn failures(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(name) = line.split_once("scriptlet in rpm package ").map(|(_, n)| n.trim()) else { continue };
        if !out.iter().any(|(n, _)| n == name) {
            out.push((name.to_owned(), crate::exec::cut(line)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_quotes_and_comes_as_one_python_literal() {
        let request = Request { action: "plan", exclusive: vec!["a\"b\\c".into()], ..Default::default() };
        let spec = spec("python3", &request, Duration::from_secs(1)).expect("a command");
        let script = String::from_utf8(spec.stdin.expect("a script")).expect("text");
        let last = script.lines().last().expect("a call");
        let literal = last.strip_prefix("main(json.loads(").and_then(|l| l.strip_suffix("))")).expect("the call");
        let inner: String = serde_json::from_str(literal).expect("a string");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&inner).expect("json")["exclusive"][0], "a\"b\\c");
    }

    #[test]
    fn the_answer_is_the_last_marked_line() {
        let answer = parse("Installing x\nDRYDOCK-RESULT {\"working\": 2, \"findings\": []}\n").expect("an answer");
        assert_eq!(answer.working, 2);
        assert!(parse("Traceback (most recent call last):\n").is_err());
    }

    #[test]
    fn failed_scriptlets_name_their_package_once() {
        let text = "error: %prein(dr-fails-2.0-1.noarch) scriptlet failed, exit status 1\nError in PREIN scriptlet in rpm package dr-fails\n\
            Error in PREIN scriptlet in rpm package dr-fails\n";
        let names: Vec<_> = failures(text).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["dr-fails"]);
    }
}
