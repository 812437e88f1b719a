//! What all rpm hosts share, whichever manager sits on top: the package database read through rpm itself (its file
//! formats are rpm's affair), packages left twice by a killed transaction, and reboot reasons.

pub(crate) mod query;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drydock_domain::inventory::{Package, RebootReason};
use drydock_domain::patch::report::{ActionKind, PlannedAction};
use drydock_domain::patch::undo::{Marked, UndoOrder};
use jiff::Timestamp;

use crate::error::PkgError;
use crate::exec::{QUERY_TIME_LIMIT, REPAIR_TIME_LIMIT, cut, last_words, run, run_text, uname};
use crate::kernel::kernel_installed;
use crate::manager::{BrokenPackage, RepairReport};
use crate::run::{CommandSpec, Runner};
use query::Entry;

/// Where rpm keeps its database when it does not say.
const DBPATH_DEFAULT: &str = "/var/lib/rpm";

/// Packages whose new version only works after a reboot: what Red Hat's needs-restarting and Google's agent name,
/// in the names of both families.
const CORE_PACKAGES: [&str; 22] = [
    "kernel",
    "kernel-core",
    "kernel-rt",
    "kernel-uek",
    "kernel-uek-core",
    "kernel-default",
    "kernel-firmware",
    "linux-firmware",
    "microcode_ctl",
    "ucode-intel",
    "ucode-amd",
    "glibc",
    "systemd",
    "dbus",
    "dbus-1",
    "dbus-broker",
    "dbus-daemon",
    "gnutls",
    "openssl-libs",
    "libopenssl1_1",
    "libopenssl3",
    "libopenssl1_0_0",
];

/// Everything installed, with install times.
pub(crate) fn entries(runner: &dyn Runner) -> Result<Vec<Entry>, PkgError> {
    let spec = query::all();
    let text = run_text(runner, &spec, &[0])?;
    query::parse(&text).map_err(|what| PkgError::Parse { label: spec.label, what })
}

/// Everything installed.
pub(crate) fn installed(runner: &dyn Runner) -> Result<Vec<Package>, PkgError> {
    Ok(entries(runner)?.into_iter().map(|e| e.package).collect())
}

/// The directory of the database, as rpm is configured.
pub(crate) fn dbpath(runner: &dyn Runner) -> PathBuf {
    let spec = CommandSpec::new("rpm", "rpm --eval %_dbpath", QUERY_TIME_LIMIT).args(["--eval", "%{_dbpath}"]);
    let path = run_text(runner, &spec, &[0]).map(|t| t.trim().to_owned()).unwrap_or_default();
    if path.starts_with('/') { PathBuf::from(path) } else { PathBuf::from(DBPATH_DEFAULT) }
}

/// Packages installed more than once that must not be: an interrupted transaction left the old one behind.
pub(crate) fn twice(root: &Path, runner: &dyn Runner) -> Result<Vec<BrokenPackage>, PkgError> {
    let entries = entries(runner)?;
    let mut by_key: BTreeMap<(&str, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in &entries {
        by_key.entry((&entry.package.name, &entry.package.arch)).or_default().push(entry);
    }
    by_key.retain(|_, list| list.len() > 1);
    if by_key.is_empty() {
        return Ok(Vec::new());
    }
    // rpm's exit code counts the words that nothing provides.
    let words = query::side_by_side(root);
    let good: Vec<i32> = (0..=words.len().min(255) as i32).collect();
    let side_by_side = query::parse_names(&run_text(runner, &query::install_only(&words), &good)?);
    let mut out = Vec::new();
    for ((name, _), mut list) in by_key {
        if side_by_side.iter().any(|n| n == name) {
            continue;
        }
        list.sort_by(|a, b| order(&a.package.version, &b.package.version));
        // All but the newest are left over.
        for entry in &list[..list.len() - 1] {
            out.push(BrokenPackage {
                package: entry.package.clone(),
                state: "left behind by an interrupted transaction".to_owned(),
            });
        }
    }
    Ok(out)
}

/// Orders versions by rpm's rules; what rpm itself stored always parses.
pub(crate) fn order(a: &str, b: &str) -> std::cmp::Ordering {
    use drydock_domain::version::{Scheme, compare};
    compare(Scheme::Rpm, a, b).unwrap_or_else(|_| a.cmp(b))
}

/// Core packages installed since the boot, and a newer kernel than the running one.
pub(crate) fn reboot_reasons(root: &Path, runner: &dyn Runner, booted_at: Timestamp) -> Result<Vec<RebootReason>, PkgError> {
    // rpm's exit code counts the names that are not installed.
    let spec = query::named(&CORE_PACKAGES);
    let good: Vec<i32> = (0..=CORE_PACKAGES.len() as i32).collect();
    let text = run_text(runner, &spec, &good)?;
    let mut reasons: Vec<RebootReason> = query::parse_known(&text)
        .map_err(|what| PkgError::Parse { label: spec.label, what })?
        .into_iter()
        .filter(|e| e.installed_at > booted_at.as_second())
        .map(|e| RebootReason {
            source: "core-package".to_owned(),
            detail: format!("{} {} was installed after the boot", e.package.name, e.package.version),
        })
        .collect();
    let running = run_text(runner, &uname(), &[0])?;
    reasons.extend(kernel_installed(root, running.trim()).reboot_reason());
    reasons.sort();
    reasons.dedup();
    Ok(reasons)
}

/// What is left of a plan, in the form the transaction will have: where a killed transaction already installed the new
/// version, only the removal of the old one is left.
pub(crate) fn as_transaction(todo: Vec<PlannedAction>, installed: &drydock_domain::inventory::PackageSet) -> Vec<PlannedAction> {
    let there = |a: &PlannedAction| a.to.as_ref().is_some_and(|v| installed.find(&a.name, &a.arch).any(|p| p.version == *v));
    todo.into_iter().map(|a| if there(&a) { PlannedAction { action: ActionKind::Remove, to: None, ..a } } else { a }).collect()
}

/// Package files of what comes back, where the order brings some.
pub(crate) fn local_files(order: &UndoOrder, todo: &[PlannedAction]) -> Vec<String> {
    let file = |a: &PlannedAction| order.local_file(&a.name, &a.arch, a.to.as_deref()?);
    todo.iter().filter_map(file).filter(|f| f.starts_with('/')).map(str::to_owned).collect()
}

/// Why packages were installed that come back.
pub(crate) fn marks_of(order: &UndoOrder) -> Vec<Marked> {
    let back = order.actions.iter().filter(|a| a.before.is_some());
    back.filter_map(|a| Some(Marked { name: a.name.clone(), arch: a.arch.clone(), mark: a.mark? })).collect()
}

/// Takes away the older ones of packages that a killed transaction left twice. Their scripts do not run: the newer
/// version is in place and its scripts have run or will.
pub(crate) fn mend_twice(root: &Path, runner: &dyn Runner) -> Result<RepairReport, PkgError> {
    let twice = twice(root, runner)?;
    if twice.is_empty() {
        return Ok(RepairReport { message: "nothing to mend".to_owned(), ..Default::default() });
    }
    // Not every rpm understands an epoch here.
    let bare = |v: &str| v.split_once(':').map_or(v, |(_, rest)| rest).to_owned();
    let words: Vec<String> =
        twice.iter().map(|b| format!("{}-{}.{}", b.package.name, bare(&b.package.version), b.package.arch)).collect();
    let spec = CommandSpec::new("rpm", "rpm --erase", REPAIR_TIME_LIMIT)
        .args(["--erase", "--noscripts", "--"])
        .args(words.clone())
        .mutating();
    let finished = run(runner, &spec)?;
    let message = if finished.success() {
        format!("took away what an interrupted transaction left behind: {}", words.join(", "))
    } else if self::twice(root, runner)?.is_empty() {
        // It was not interrupted at all: rpm waited for its lock until the transaction had ended by itself.
        "a transaction that outlived its starter has finished by itself".to_owned()
    } else {
        format!("{} could not be taken away: {}", words.join(", "), last_words(&finished))
    };
    Ok(RepairReport { needed: true, output: finished.output(), message: cut(&message) })
}

/// The removals that mend packages installed twice.
pub(crate) fn removals(twice: &[BrokenPackage]) -> Vec<PlannedAction> {
    let removal = |b: &BrokenPackage| PlannedAction {
        action: ActionKind::Remove,
        name: b.package.name.clone(),
        arch: b.package.arch.clone(),
        from: Some(b.package.version.clone()),
        to: None,
        repository: String::new(),
        kind: drydock_domain::inventory::UpdateKind::Unknown,
        advisories: Vec::new(),
    };
    twice.iter().map(removal).collect()
}
