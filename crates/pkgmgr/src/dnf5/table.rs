//! The table of a dnf5 dry run. dnf5 has no other form for an unconfirmed transaction (storing one downloads every
//! package). Printed by dnf5 5.4 when its output is no terminal:
//!
//! ```text
//! Problem: package dr-app-2.0-1.noarch from lab requires dr-lib >= 3.0, but none of the providers can be installed
//!   - package dr-lib-3.0-1.noarch from lab is filtered out by exclude filtering
//!
//! Package              Arch   Version Repository      Size
//! Upgrading:
//!  dr-grow             noarch 0:2.0-1 lab          8.0   B
//!    replacing dr-grow noarch 0:1.0-1 lab          8.0   B
//! Installing:
//!  dr-repl             noarch 0:2.0-1 lab          8.0   B
//!    replacing dr-old  noarch 0:1.0-1 lab          8.0   B
//! Installing dependencies:
//!  dr-new              noarch 0:1.0-1 lab          8.0   B
//! Skipping packages with broken dependencies:
//!  dr-app              noarch 2.0-1   lab          8.0   B
//!
//! Transaction Summary:
//! Operation aborted by the user.
//! ```
//!
//! The sections are recognised by their first word; an unknown one is an error, because a line in it could be anything.

use drydock_domain::inventory::UpdateKind;
use drydock_domain::patch::report::{ActionKind, PlannedAction};

/// A dry run's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Sorted.
    pub actions: Vec<PlannedAction>,
    /// The solver's explanations, one per problem.
    pub problems: Vec<String>,
}

/// What the lines of a section mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Arriving,
    Leaving,
    Ignored,
}

impl Section {
    fn of(title: &str) -> Result<Self, String> {
        match title.split([' ', ':']).next().unwrap_or(title) {
            "Upgrading" | "Installing" | "Downgrading" | "Reinstalling" => Ok(Section::Arriving),
            "Removing" => Ok(Section::Leaving),
            "Skipping" | "Changing" | "Replacing" => Ok(Section::Ignored),
            _ => Err(format!("unknown section {title:?}")),
        }
    }
}

/// A line: name, arch, version, repository.
type Line = (String, String, String, String);

/// Reads the table. `None` when there is none: nothing to do, or a failure that the caller tells by the exit code.
pub(crate) fn parse(text: &str) -> Result<Option<Table>, String> {
    let mut table = Table { problems: problems(text), ..Default::default() };
    let mut lines = text.lines().skip_while(|l| !(l.starts_with("Package ") && l.contains(" Version ")));
    if lines.next().is_none() {
        return Ok(None);
    }
    let mut section = Section::Ignored;
    let mut arriving: Vec<(Line, Vec<Line>)> = Vec::new();
    let mut leaving: Vec<Line> = Vec::new();
    for line in lines {
        if line.trim().is_empty() || line.starts_with("Transaction Summary") {
            break;
        }
        if !line.starts_with(' ') {
            section = Section::of(line)?;
        } else if let Some(old) = line.trim_start().strip_prefix("replacing ") {
            if section == Section::Arriving {
                let (_, replaced) = arriving.last_mut().ok_or("a replaced package without a new one")?;
                replaced.push(columns(old)?);
            }
        } else {
            match section {
                Section::Arriving => arriving.push((columns(line)?, Vec::new())),
                Section::Leaving => leaving.push(columns(line)?),
                Section::Ignored => {}
            }
        }
    }
    for (new, replaced) in arriving {
        let same = |old: &Line| old.0 == new.0 && old.1 == new.1;
        let from = replaced.iter().find(|old| same(old)).map(|old| old.2.clone());
        leaving.extend(replaced.into_iter().filter(|old| !same(old)));
        table.actions.push(arrival(new, from));
    }
    table.actions.extend(leaving.into_iter().map(departure));
    table.actions.sort();
    // Two new packages may replace one old package.
    table.actions.dedup();
    Ok(Some(table))
}

fn arrival((name, arch, to, repository): Line, from: Option<String>) -> PlannedAction {
    let action = match from.as_ref().map(|from| crate::rpm::order(&to, from)) {
        None => ActionKind::Install,
        Some(std::cmp::Ordering::Greater) => ActionKind::Upgrade,
        Some(std::cmp::Ordering::Less) => ActionKind::Downgrade,
        Some(std::cmp::Ordering::Equal) => ActionKind::Reinstall,
    };
    PlannedAction { action, name, arch, from, to: Some(to), repository, kind: UpdateKind::Unknown, advisories: Vec::new() }
}

fn departure((name, arch, from, _): Line) -> PlannedAction {
    PlannedAction {
        action: ActionKind::Remove,
        name,
        arch,
        from: Some(from),
        to: None,
        repository: String::new(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    }
}

fn columns(line: &str) -> Result<Line, String> {
    let mut words = line.split_whitespace().map(str::to_owned);
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(name), Some(arch), Some(version), Some(repository)) => {
            let version = version.strip_prefix("0:").map(str::to_owned).unwrap_or(version);
            Ok((name, arch, version, repository))
        }
        _ => Err(format!("a line with too few columns: {line:?}")),
    }
}

/// `Problem: …` or `Problem 1: …` with the indented lines below it, each as one text.
fn problems(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("Problem") && line.contains(": ") {
            out.push(line.split_once(": ").map_or(line, |(_, rest)| rest).to_owned());
            inside = true;
        } else if inside && line.starts_with("  - ") {
            if let Some(last) = out.last_mut() {
                last.push_str("; ");
                last.push_str(line.trim_start_matches("  - "));
            }
        } else {
            inside = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Problem: package dr-app-2.0-1.noarch from lab requires dr-lib >= 3.0, but none of the providers can be installed\n  - package dr-lib-3.0-1.noarch from lab is filtered out by exclude filtering\n\nPackage              Arch   Version Repository      Size\nUpgrading:\n dr-grow             noarch 0:2.0-1 lab          8.0   B\n   replacing dr-grow noarch 0:1.0-1 lab          8.0   B\nInstalling:\n dr-repl             noarch 1:2.0-1 lab          8.0   B\n   replacing dr-old  noarch 0:1.0-1 lab          8.0   B\n kernel              x86_64 0:5.1-1 lab          8.0   B\nRemoving:\n kernel              x86_64 0:4.0-1 lab          8.0   B\nSkipping packages with broken dependencies:\n dr-app              noarch 2.0-1   lab          8.0   B\n\nTransaction Summary:\n Installing:         2 packages\n";

    #[test]
    fn arrivals_are_paired_with_what_they_replace() {
        let table = parse(TEXT).expect("parses").expect("a table");
        let short: Vec<_> =
            table.actions.iter().map(|a| (a.action, a.name.as_str(), a.from.as_deref(), a.to.as_deref())).collect();
        assert_eq!(
            short,
            [
                (ActionKind::Upgrade, "dr-grow", Some("1.0-1"), Some("2.0-1")),
                (ActionKind::Install, "dr-repl", None, Some("1:2.0-1")),
                (ActionKind::Install, "kernel", None, Some("5.1-1")),
                (ActionKind::Remove, "dr-old", Some("1.0-1"), None),
                (ActionKind::Remove, "kernel", Some("4.0-1"), None),
            ]
        );
        assert_eq!(table.problems.len(), 1);
        assert!(table.problems[0].ends_with("filtered out by exclude filtering"));
    }

    #[test]
    fn no_table_is_no_transaction_and_an_unknown_section_an_error() {
        assert_eq!(parse("Repositories loaded.\nNothing to do.\n"), Ok(None));
        assert!(parse("Package Arch Version Repository Size\nTransmogrifying:\n a noarch 1 lab 1 B\n").is_err());
    }
}
