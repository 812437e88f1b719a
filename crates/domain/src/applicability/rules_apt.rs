//! Candidates of deb hosts, as `apt list --upgradable` chooses them: apt_preferences(5). Of the versions a package has, the one of the
//! highest priority, then the newest; never an older one below priority 1000. A hold does not change the candidate, it is shown.

use regex_lite::Regex;

use super::env::Env;
use super::intern::{NONE, Name, small};
use super::patterns::glob;
use super::rules_rpm::{Held, Offer};
use super::snapshot::{Available, AvailableId};
use super::tables::{Installed, PackageKey, Tables};
use crate::host_rules::Pin;
use crate::limits::REGEX_SIZE_MAX_BYTES;

/// Priority of an archive that nothing is said of.
const DEFAULT: i32 = 500;
/// Of what is installed, and of `NotAutomatic` archives with `ButAutomaticUpgrades`.
const INSTALLED: i32 = 100;
/// Of `NotAutomatic` archives.
const NOT_AUTOMATIC: i32 = 1;
/// Of the release that `APT::Default-Release` names.
const TARGET: i32 = 990;
/// From here on a candidate may be older than what is installed.
const DOWNGRADES: i32 = 1000;
/// apt gives generic pins of priority 0 falling numbers from here.
const UNSAID: i32 = 989;

/// Pins made ready.
#[derive(Debug, Default)]
pub(super) struct AptPins {
    /// Per view.
    archives: Vec<i32>,
    specific: Vec<Specific>,
}

#[derive(Debug)]
struct Specific {
    packages: Vec<Meant>,
    what: What,
    priority: i32,
}

/// A word of `Package:`: what it matches, and for which architecture: none = the host's own, `any` = all.
#[derive(Debug)]
struct Meant {
    word: Word,
    arch: Option<String>,
}

/// A pattern.
#[derive(Debug)]
enum Word {
    Glob(String),
    Regex(Regex),
    Source(Box<Word>),
    Never,
}

/// What a pin looks at.
#[derive(Debug)]
enum What {
    Version(Word),
    /// Per view: does its release match?
    Release(Vec<bool>),
    Never,
}

impl AptPins {
    pub fn new(env: &Env, tables: &Tables) -> Self {
        let views = env.views.len();
        let mut archives: Vec<Option<i32>> = vec![None; views];
        let mut specific = Vec::new();
        let mut unsaid = UNSAID;
        let target = (!env.rules.default_release.is_empty()).then(|| Pin {
            packages: vec!["*".to_owned()],
            pin: format!("release {}", env.rules.default_release),
            priority: TARGET,
        });
        for pin in target.iter().chain(&env.rules.pins) {
            let what = what(&pin.pin, env, tables);
            if pin.packages.iter().any(|p| p == "*") {
                if let What::Release(matching) = &what {
                    for (archive, _) in archives.iter_mut().zip(matching).filter(|(a, m)| a.is_none() && **m) {
                        *archive = Some(if pin.priority == 0 { unsaid } else { pin.priority });
                    }
                }
                unsaid -= 1;
            } else {
                specific.push(Specific {
                    packages: pin.packages.iter().map(|w| meant(w)).collect(),
                    what,
                    priority: pin.priority,
                });
            }
        }
        let default = |n: usize| {
            let release = tables.snapshot(env.views[n].root).map(|s| &s.release);
            match release.map(|r| (r.not_automatic, r.but_automatic_upgrades)) {
                Some((true, true)) => INSTALLED,
                Some((true, false)) => NOT_AUTOMATIC,
                _ => DEFAULT,
            }
        };
        let archives = archives.into_iter().enumerate().map(|(n, p)| p.unwrap_or_else(|| default(n))).collect();
        AptPins { archives, specific }
    }

    /// Of a version that is in these views (none: only installed).
    fn priority(&self, of: &Pinned<'_>, source: &str, version: &str, views: &[usize], installed: bool) -> i32 {
        let pinned = self.specific.iter().find(|s| {
            s.packages.iter().any(|m| m.fits(of) && m.word.means(of.name, source))
                && match &s.what {
                    What::Version(word) => word.is(version),
                    What::Release(matching) => views.iter().any(|v| matching.get(*v).copied().unwrap_or(false)),
                    What::Never => false,
                }
        });
        if let Some(pin) = pinned {
            return pin.priority;
        }
        let archives = views.iter().map(|v| self.archives.get(*v).copied().unwrap_or(DEFAULT)).max();
        let own = installed.then_some(INSTALLED);
        archives.max(own).unwrap_or(0)
    }
}

/// The package that priorities are asked for.
struct Pinned<'a> {
    name: &'a str,
    arch: &'a str,
    native: bool,
}

impl Meant {
    fn fits(&self, of: &Pinned<'_>) -> bool {
        match self.arch.as_deref() {
            None | Some("native") => of.native,
            Some("any") => true,
            Some(arch) => arch == of.arch,
        }
    }
}

impl Word {
    fn is(&self, text: &str) -> bool {
        match self {
            Word::Glob(pattern) => glob(pattern, text),
            Word::Regex(regex) => regex.is_match(text),
            Word::Source(_) | Word::Never => false,
        }
    }

    fn means(&self, name: &str, source: &str) -> bool {
        match self {
            Word::Source(word) => word.is(source),
            word => word.is(name),
        }
    }
}

fn meant(text: &str) -> Meant {
    let (source, text) = match text.strip_prefix("src:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (name, arch) = match text.rsplit_once(':') {
        Some((name, arch)) if !arch.ends_with('/') => (name, Some(arch.to_owned())),
        _ => (text, None),
    };
    let word = word(name);
    Meant { word: if source { Word::Source(Box::new(word)) } else { word }, arch }
}

fn word(text: &str) -> Word {
    match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
        Some(body) => {
            regex_lite::RegexBuilder::new(body).size_limit(REGEX_SIZE_MAX_BYTES).build().map_or(Word::Never, Word::Regex)
        }
        None => Word::Glob(text.to_owned()),
    }
}

/// A glob or a regular expression over a value (which may hold colons).
fn value(text: &str) -> Word {
    match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
        Some(_) => word(text),
        None => Word::Glob(text.to_owned()),
    }
}

fn what(pin: &str, env: &Env, tables: &Tables) -> What {
    let pin = pin.trim();
    let (kind, rest) = pin.split_once(char::is_whitespace).unwrap_or((pin, ""));
    match kind {
        "version" => What::Version(value(rest.trim())),
        "release" => {
            let matches = |n: usize| tables.snapshot(env.views[n].root).is_some_and(|s| release_matches(rest, &s.release));
            What::Release((0..env.views.len()).map(matches).collect())
        }
        // The site is the server's own, whatever the upstream was: pins on it cannot be meant for us.
        _ => What::Never,
    }
}

/// `a=stable, n=bookworm`: all must match; a bare word is a version number, suite or codename.
fn release_matches(text: &str, release: &super::facts::ReleaseFacts) -> bool {
    let text = text.trim();
    if !text.contains('=') {
        let bare = value(text);
        let number = text.starts_with(|c: char| c.is_ascii_digit());
        return if number { bare.is(&release.version) } else { bare.is(&release.suite) || bare.is(&release.codename) };
    }
    text.split(',').all(|part| {
        let Some((key, wanted)) = part.trim().split_once('=') else { return false };
        let wanted = value(wanted.trim().trim_matches('"'));
        match key.trim() {
            "a" => wanted.is(&release.suite),
            "n" => wanted.is(&release.codename),
            "o" => wanted.is(&release.origin),
            "l" => wanted.is(&release.label),
            "v" => wanted.is(&release.version),
            // Publications have one component.
            "c" => wanted.is("main"),
            _ => false,
        }
    })
}

/// A version that a package has.
struct Choice<'a> {
    package: &'a Available,
    id: AvailableId,
    views: Vec<usize>,
}

/// What a host with these packages of one name is offered.
pub(super) fn offers(tables: &Tables, env: &Env, name: Name, lot: &[PackageKey]) -> Vec<Offer> {
    lot.iter().filter_map(|key| offer(tables, env, name, *key, tables.installed(*key))).collect()
}

fn offer(tables: &Tables, env: &Env, name: Name, key: PackageKey, own: &Installed) -> Option<Offer> {
    let choices = choices(tables, env, name, own);
    let current = tables.versions.rank(own.version);
    let native = own.arch == env.native || own.arch == tables.all;
    let of = Pinned { name: tables.name_text(own.name), arch: tables.texts.get(own.arch), native };
    let (name, source) = (of.name, tables.name_text(own.source));
    let here = choices.iter().find(|c| tables.versions.rank(c.package.version) == current);
    let views = here.map_or(&[][..], |c| &c.views);
    // Newest first, and only a higher priority beats an earlier one, as apt goes through them.
    let mut best: (i32, Option<&Choice<'_>>) = (-1, None);
    let mut own_seen = false;
    let consider_own = |best: &mut (i32, Option<&Choice<'_>>)| {
        let priority = env.pins.priority(&of, source, tables.version_text(own.version), views, true);
        if priority != 0 && priority > best.0 {
            *best = (priority, None);
        }
    };
    for choice in &choices {
        let rank = tables.versions.rank(choice.package.version);
        if rank <= current && !own_seen {
            own_seen = true;
            consider_own(&mut best);
        }
        if rank == current {
            continue;
        }
        let version = tables.version_text(choice.package.version);
        let source = tables.name_text(choice.package.source);
        let priority = env.pins.priority(&of, source, version, &choice.views, false);
        if priority == 0 || priority <= best.0 || (priority < DOWNGRADES && rank < current) {
            continue;
        }
        best = (priority, Some(choice));
    }
    if !own_seen {
        consider_own(&mut best);
    }
    let choice = best.1?;
    if !tables.versions.older(own.version, choice.package.version) {
        return None;
    }
    let arch = tables.texts.get(own.arch);
    let hold = |h: &String| match h.split_once(':') {
        Some((held, of)) => held == name && of == arch,
        None => h == name,
    };
    let held = if env.rules.holds.iter().any(hold) { Held::Hold } else { Held::Free };
    let view = choice.views.first().copied().unwrap_or(0);
    Some(Offer { from: key, to: choice.id, view: small(view), obsoletes: NONE, held })
}

/// The versions there are for an installed package, newest first. `all` belongs to the host's own architecture.
fn choices<'a>(tables: &'a Tables, env: &Env, name: Name, own: &Installed) -> Vec<Choice<'a>> {
    let native = |arch| arch == env.native || arch == tables.all;
    let mut out: Vec<Choice<'a>> = Vec::new();
    for (view, snapshot) in env.snapshots(tables) {
        for id in snapshot.named(name) {
            let package = tables.available.get(*id);
            let rank = tables.versions.rank(package.version);
            if rank == 0 || !(package.arch == own.arch || (native(own.arch) && native(package.arch))) {
                continue;
            }
            match out.iter_mut().find(|c| tables.versions.rank(c.package.version) == rank) {
                Some(same) if same.views.contains(&view) => {}
                Some(same) => same.views.push(view),
                None => out.push(Choice { package, id: *id, views: vec![view] }),
            }
        }
    }
    out.sort_by_key(|c| std::cmp::Reverse(tables.versions.rank(c.package.version)));
    out
}
