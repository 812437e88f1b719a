//! The table of a yum 3 dry run (`--assumeno`). At 80 columns long fields wrap onto the next line:
//!
//! ```text
//! ================================================================================
//!  Package          Arch       Version                  Repository          Size
//! ================================================================================
//! Installing:
//!  kernel           x86_64     3.10.0-1160.el7          ol7_latest          50 M
//!  new-name         noarch     2.0-1                    ol7_latest         3.0 k
//!      replacing  old-name.noarch 1.0-1
//! Updating:
//!  a-package-with-a-very-long-name
//!                   noarch     2.0-1                    ol7_latest         3.0 k
//! Installing for dependencies:
//!  new-dep          noarch     1.0-1                    ol7_latest         3.0 k
//! Removing:
//!  kernel           x86_64     3.10.0-957.el7           @ol7_latest         60 M
//!
//! Transaction Summary
//! ================================================================================
//! ```

use drydock_domain::inventory::{PackageSet, UpdateKind};
use drydock_domain::patch::report::{ActionKind, PlannedAction};

/// Columns of a line: name, arch, version, repository, size, unit.
const COLUMNS: usize = 6;

/// Reads the table; `installed` tells what an update replaces, which yum does not print. `None` = no table.
pub(crate) fn parse(text: &str, installed: &PackageSet) -> Result<Option<Vec<PlannedAction>>, String> {
    let mut lines = text.lines().skip_while(|l| !(l.starts_with(" Package ") && l.contains(" Version ")));
    if lines.next().is_none() {
        return Ok(None);
    }
    let mut actions = Vec::new();
    let mut section = String::new();
    let mut words: Vec<String> = Vec::new();
    for line in lines {
        if line.starts_with("Transaction Summary") {
            break;
        }
        if line.starts_with("===") || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            section = line.trim_end_matches(':').to_owned();
            words.clear();
            continue;
        }
        if section.starts_with("Skipped") {
            continue;
        }
        if let Some(old) = line.trim_start().strip_prefix("replacing ") {
            let mut parts = old.split_whitespace();
            let (Some(package), Some(version)) = (parts.next(), parts.next()) else { return Err(format!("{line:?}")) };
            let (name, arch) = package.rsplit_once('.').ok_or_else(|| format!("{line:?}"))?;
            actions.push(line_of(ActionKind::Remove, name, arch, Some(bare(version)), None, ""));
            continue;
        }
        words.extend(line.split_whitespace().map(str::to_owned));
        if words.len() < COLUMNS {
            continue;
        }
        let row = std::mem::take(&mut words);
        actions.push(action(&section, &row[0], &row[1], bare(&row[2]), &row[3], installed)?);
    }
    actions.sort();
    actions.dedup();
    Ok(Some(actions))
}

fn bare(version: &str) -> String {
    version.strip_prefix("0:").unwrap_or(version).to_owned()
}

fn action(
    section: &str,
    name: &str,
    arch: &str,
    version: String,
    repository: &str,
    installed: &PackageSet,
) -> Result<PlannedAction, String> {
    let kind = match section.split(' ').next().unwrap_or(section) {
        "Installing" => ActionKind::Install,
        "Updating" => ActionKind::Upgrade,
        "Downgrading" => ActionKind::Downgrade,
        "Reinstalling" => ActionKind::Reinstall,
        "Removing" => ActionKind::Remove,
        _ => return Err(format!("unknown section {section:?}")),
    };
    let newest = installed.find(name, arch).max_by(|a, b| crate::rpm::order(&a.version, &b.version)).map(|p| p.version.clone());
    Ok(match kind {
        ActionKind::Remove => line_of(kind, name, arch, Some(version), None, ""),
        ActionKind::Install => line_of(kind, name, arch, None, Some(version), repository),
        _ => line_of(kind, name, arch, newest, Some(version), repository),
    })
}

fn line_of(
    action: ActionKind,
    name: &str,
    arch: &str,
    from: Option<String>,
    to: Option<String>,
    repository: &str,
) -> PlannedAction {
    PlannedAction {
        action,
        name: name.to_owned(),
        arch: arch.to_owned(),
        from,
        to,
        repository: repository.to_owned(),
        kind: UpdateKind::Unknown,
        advisories: Vec::new(),
    }
}
