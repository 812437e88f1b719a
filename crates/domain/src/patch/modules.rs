//! Module streams and profiles (dnf 4) in patch jobs (*ours*): what an operator asks for, what a plan makes of it, what
//! became of it. Absent: which changes a host allows, see [`super::module_rules`].

use serde::{Deserialize, Serialize};

use super::report::{PackageOutcome, Plan, PlannedAction, TaskReport};
use super::spec::PatchConfig;
use crate::validate::Problems;

/// Changes of one job, count: the plan may try each of them alone to tell which one dnf refuses, about 0.3 s each.
pub const MODULE_CHANGES_MAX: usize = 32;
/// Name of a module, stream or profile, bytes.
pub const MODULE_NAME_MAX_BYTES: usize = 128;
/// Changes told of one plan, count: the asked ones, and those of other modules that they need.
pub const PLANNED_MODULES_MAX: usize = 8 * MODULE_CHANGES_MAX;
/// Installed profiles of one module and packages of one change, count.
const NAMES_MAX: usize = 5_000;
/// Words for a refusal, bytes.
const WORDS_MAX_BYTES: usize = 4 * 1024;

/// What to do with a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModuleAction {
    /// This stream, when no other one is enabled.
    Enable,
    /// No stream at all; its profiles must be gone.
    Disable,
    /// Neither enabled nor disabled; its profiles are forgotten, packages stay.
    Reset,
    /// This stream, whatever was enabled; installed packages follow to its versions.
    Switch,
    /// A profile of the enabled stream, with its packages.
    Install,
    /// No longer a profile (absent: all of the stream's); packages that nothing else needs go along.
    Remove,
}

impl ModuleAction {
    /// All of them.
    pub const ALL: [ModuleAction; 6] = [
        ModuleAction::Enable,
        ModuleAction::Disable,
        ModuleAction::Reset,
        ModuleAction::Switch,
        ModuleAction::Install,
        ModuleAction::Remove,
    ];

    /// The word on the command line, for example `enable`.
    pub fn word(self) -> &'static str {
        match self {
            ModuleAction::Enable => "enable",
            ModuleAction::Disable => "disable",
            ModuleAction::Reset => "reset",
            ModuleAction::Switch => "switch",
            ModuleAction::Install => "install",
            ModuleAction::Remove => "remove",
        }
    }

    /// It says which stream, or that there is none.
    pub fn is_state(self) -> bool {
        !matches!(self, ModuleAction::Install | ModuleAction::Remove)
    }

    fn names_stream(self) -> bool {
        !matches!(self, ModuleAction::Disable | ModuleAction::Reset)
    }
}

/// One change. Written `enable:NAME:STREAM`, `disable:NAME`, `reset:NAME`, `switch:NAME:STREAM`,
/// `install:NAME:STREAM/PROFILE`, `remove:NAME:STREAM[/PROFILE]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleChange {
    /// What to do.
    pub action: ModuleAction,
    /// Name of the module.
    pub module: String,
    /// Stream; not with DISABLE and RESET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Profile; only with INSTALL, where it must be, and REMOVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl std::fmt::Display for ModuleChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.action.word(), self.module)?;
        if let Some(stream) = &self.stream {
            write!(f, ":{stream}")?;
        }
        match &self.profile {
            Some(profile) => write!(f, "/{profile}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for ModuleChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "{text:?} {what}; write enable:NAME:STREAM, disable:NAME, reset:NAME, switch:NAME:STREAM, \
                 install:NAME:STREAM/PROFILE or remove:NAME:STREAM[/PROFILE]"
            )
        };
        let (word, rest) = text.split_once(':').ok_or_else(|| wrong("is no module change"))?;
        let action = ModuleAction::ALL.into_iter().find(|a| a.word() == word).ok_or_else(|| wrong("is no module change"))?;
        let (rest, profile) = match rest.split_once('/') {
            Some((rest, profile)) => (rest, Some(profile.to_owned())),
            None => (rest, None),
        };
        let (module, stream) = match rest.split_once(':') {
            Some((module, stream)) => (module, Some(stream.to_owned())),
            None => (rest, None),
        };
        let change = ModuleChange { action, module: module.to_owned(), stream, profile };
        match change.problem() {
            Some(what) => Err(wrong(&what)),
            None => Ok(change),
        }
    }
}

impl ModuleChange {
    /// What is wrong with it alone.
    fn problem(&self) -> Option<String> {
        let (word, action) = (self.action.word(), self.action);
        if !is_module_word(&self.module) {
            return Some(format!("has the unusable module name {:?}", self.module));
        }
        match &self.stream {
            Some(_) if !action.names_stream() => return Some(format!("names a stream, but {word} is for the whole module")),
            None if action.names_stream() => return Some("names no stream".to_owned()),
            Some(stream) if !is_module_word(stream) => return Some(format!("has the unusable stream {stream:?}")),
            _ => {}
        }
        match &self.profile {
            Some(_) if action.is_state() => Some(format!("names a profile, which {word} does not take")),
            None if action == ModuleAction::Install => Some("names no profile".to_owned()),
            Some(profile) if !is_module_word(profile) => Some(format!("has the unusable profile {profile:?}")),
            _ => None,
        }
    }

    /// Why both cannot be in one job.
    fn contradicts(&self, other: &ModuleChange) -> Option<String> {
        if self.module != other.module {
            return None;
        }
        if self == other {
            return Some(format!("is there twice; keep one {self}"));
        }
        if self.action.is_state() && other.action.is_state() {
            return Some(format!("contradicts {other}; a module has one state"));
        }
        if let (Some(a), Some(b)) = (&self.stream, &other.stream)
            && a != b
        {
            return Some(format!("contradicts {other}, which is another stream; a module has one"));
        }
        if self.profile == other.profile && !self.action.is_state() && !other.action.is_state() {
            return Some(format!("contradicts {other}"));
        }
        let takes_all = |c: &ModuleChange| c.action == ModuleAction::Remove && c.profile.is_none();
        let installs = |c: &ModuleChange| c.action == ModuleAction::Install;
        if (takes_all(self) && !other.action.is_state()) || (takes_all(other) && !self.action.is_state()) {
            return Some(format!("contradicts {other}: one of them names all profiles"));
        }
        let ends = |c: &ModuleChange| matches!(c.action, ModuleAction::Disable | ModuleAction::Reset);
        if (installs(self) && ends(other)) || (installs(other) && ends(self)) {
            return Some(format!("contradicts {other}: a profile needs its stream enabled"));
        }
        // What is removed is of the stream that is enabled before the job.
        let removes = |c: &ModuleChange| c.action == ModuleAction::Remove;
        let begins = |c: &ModuleChange| matches!(c.action, ModuleAction::Enable | ModuleAction::Switch);
        if (removes(self) && begins(other)) || (removes(other) && begins(self)) {
            return Some(format!("contradicts {other}: remove the profile in a job of its own"));
        }
        None
    }
}

/// A name that stands as one word in a module specification: no separator, no glob, no option.
pub fn is_module_word(name: &str) -> bool {
    name.len() <= MODULE_NAME_MAX_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

impl PatchConfig {
    pub(super) fn check_modules(&self, at: &str, problems: &mut Problems) {
        let field = format!("{at}.modules");
        problems.count(&field, self.modules.len(), MODULE_CHANGES_MAX);
        for (i, change) in self.modules.iter().enumerate().take(MODULE_CHANGES_MAX) {
            let field = format!("{field}[{i}]");
            if let Some(what) = change.problem() {
                problems.add(field, format!("{:?} {what}", change.to_string()));
            } else if let Some(what) = self.modules[..i].iter().find_map(|earlier| change.contradicts(earlier)) {
                problems.add(field, format!("{:?} {what}", change.to_string()));
            }
        }
        if self.modules.is_empty() {
            return;
        }
        let others = [
            ("packages", self.packages.is_some()),
            ("updateTypes", !self.update_types.is_empty()),
            ("advisories", !self.advisories.is_empty()),
            ("cves", !self.cves.is_empty()),
            ("minSeverity", self.min_severity.is_some()),
            ("overdue", self.overdue),
            ("downloadOnly", self.download_only),
        ];
        let chosen = others.into_iter().find(|(_, is)| *is).map(|(name, _)| name);
        if let Some(other) = chosen.or_else(|| self.own_choice(true)) {
            problems.add(field, format!("cannot be combined with {other}; it already is the whole job"));
        }
    }
}

/// Whether a module has a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModuleStatus {
    /// Nothing was said: its default stream, if it has one, is active.
    #[default]
    Unset,
    /// One stream is enabled.
    Enabled,
    /// Its packages are hidden.
    Disabled,
}

/// A module on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
// The rules of a host have a type of this name, which is another one in documents.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = ModuleSetting))]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleState {
    /// Whether it has a stream.
    pub status: ModuleStatus,
    /// The enabled stream; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// Installed profiles, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
}

impl std::fmt::Display for ModuleState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            ModuleStatus::Unset => f.write_str("not set"),
            ModuleStatus::Disabled => f.write_str("disabled"),
            ModuleStatus::Enabled if self.profiles.is_empty() => write!(f, "{} enabled", self.stream),
            ModuleStatus::Enabled => write!(f, "{} enabled, profiles {}", self.stream, self.profiles.join(", ")),
        }
    }
}

/// A stream that a host's repositories offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ModuleStream {
    /// Name of the module.
    pub module: String,
    /// Name of the stream.
    pub stream: String,
    /// Its newest version.
    pub version: String,
    /// Context of the newest version.
    pub context: String,
    /// Architecture.
    pub arch: String,
    /// Repository id.
    pub repository: String,
    /// It is the module's default.
    pub is_default: bool,
    /// One line for people.
    pub summary: String,
    /// Names of its profiles, sorted.
    pub profiles: Vec<String>,
    /// Those that are installed when none is named, sorted.
    pub default_profiles: Vec<String>,
}

/// A module of a host as the server knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostModule {
    /// Name.
    pub module: String,
    /// What the host has set, as its agent last told.
    pub state: ModuleState,
    /// What its managed sources offer, by stream; `repository` is the source's name.
    pub streams: Vec<ModuleStream>,
}

/// One change as planned: exact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PlannedModule {
    /// What the job asks for; for an implied one: what it comes to.
    pub change: ModuleChange,
    /// The job does not name it: another change needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub implied: bool,
    /// The module now.
    pub before: ModuleState,
    /// The module once all of the plan is done.
    pub after: ModuleState,
    /// Names of the plan's packages that are the module's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Why it is refused; empty = allowed. One refused change refuses the whole plan.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
}

impl PlannedModule {
    /// It is true already and takes no package along.
    pub fn is_idle(&self) -> bool {
        self.refused.is_empty() && self.before == self.after && self.packages.is_empty()
    }
}

/// What became of a planned change, by reading the host's module state again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ModuleResult {
    /// The planned change.
    #[serde(flatten)]
    pub planned: PlannedModule,
    /// What the host's files say now.
    pub outcome: PackageOutcome,
    /// The module as found.
    pub found: ModuleState,
}

impl ModuleResult {
    /// Judges a planned change by the module as found.
    pub fn new(planned: PlannedModule, found: ModuleState) -> Self {
        let outcome = if found == planned.after {
            PackageOutcome::Applied
        } else if found == planned.before {
            PackageOutcome::NotApplied
        } else {
            PackageOutcome::Different
        };
        ModuleResult { planned, outcome, found }
    }
}

impl Plan {
    /// Packages and modules that it changes, count.
    pub fn changes(&self) -> usize {
        self.actions.len() + self.changing_modules().len()
    }

    /// Names of the modules whose state it changes, sorted.
    pub fn changing_modules(&self) -> Vec<&str> {
        let changing = self.modules.iter().filter(|m| m.refused.is_empty() && m.before != m.after);
        let mut names: Vec<&str> = changing.map(|m| m.change.module.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The changes that refuse it, in one line; `None` when nothing is refused.
    pub fn refusal(&self) -> Option<String> {
        let refused: Vec<String> =
            self.modules.iter().filter(|m| !m.refused.is_empty()).map(|m| format!("{}: {}", m.change, m.refused)).collect();
        let asked = self.modules.iter().filter(|m| !m.implied).count();
        (!refused.is_empty()).then(|| {
            format!("{} refuses {} of {asked} module changes: {}", self.manager.as_str(), refused.len(), refused.join("; "))
        })
    }

    /// The packages that belong to a module, for [`PlannedModule::packages`].
    pub fn names_among(actions: &[PlannedAction], own: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut names: Vec<String> = actions.iter().filter(|a| own(&a.name)).map(|a| a.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl TaskReport {
    /// Checks what a host says of modules: hostile input.
    pub(super) fn check_modules(&self, problems: &mut Problems) {
        let told = self.plans.iter().map(|p| ("plans.modules", p.modules.len())).chain([("modules", self.modules.len())]);
        for (field, count) in told {
            problems.count(field, count, PLANNED_MODULES_MAX);
        }
        let planned = self.plans.iter().flat_map(|p| &p.modules);
        let found = self.modules.iter().map(|r| &r.found);
        let results = self.modules.iter().map(|r| &r.planned);
        for module in planned.chain(results) {
            if let Some(what) = module.change.problem() {
                problems.add("modules.change", what);
            }
            if module.refused.len() > WORDS_MAX_BYTES {
                problems.add("modules.refused", format!("is longer than {WORDS_MAX_BYTES} bytes"));
            }
            problems.count("modules.packages", module.packages.len(), NAMES_MAX);
            if module.packages.iter().any(|n| !super::spec::is_package_name(n)) {
                problems.add("modules.packages", "names no package");
            }
            check_state(&module.before, problems);
            check_state(&module.after, problems);
        }
        found.for_each(|state| check_state(state, problems));
    }
}

fn check_state(state: &ModuleState, problems: &mut Problems) {
    problems.count("modules.profiles", state.profiles.len(), NAMES_MAX);
    let long = |name: &String| name.len() > MODULE_NAME_MAX_BYTES;
    if long(&state.stream) || state.profiles.iter().any(long) {
        problems.add("modules", format!("names a stream or profile longer than {MODULE_NAME_MAX_BYTES} bytes"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{ManagerKind, UpdateKind};
    use crate::patch::report::ActionKind;
    use crate::patch::spec::PatchJobSpec;

    fn config(changes: &[&str], more: &str) -> PatchConfig {
        let mut config: PatchConfig = serde_json::from_str(more).expect("settings");
        config.modules = changes.iter().map(|c| c.parse().expect("a change")).collect();
        config
    }

    fn problems(config: PatchConfig) -> Vec<String> {
        let spec: PatchJobSpec = serde_json::from_str(r#"{"instanceFilter":{"all":true}}"#).expect("a spec");
        let spec = PatchJobSpec { patch_config: config, ..spec };
        let errors = spec.validate().map_or_else(|e| e.errors, |()| Vec::new());
        errors.into_iter().map(|e| format!("{} {}", e.field, e.message)).collect()
    }

    #[test]
    fn changes_are_written_as_they_are_read() {
        for text in [
            "enable:nodejs:18",
            "disable:389-ds",
            "reset:perl",
            "switch:container-tools:ol8",
            "install:nodejs:1.10/common",
            "remove:nodejs:18/s2i",
            "remove:nodejs:18",
        ] {
            let change: ModuleChange = text.parse().expect("a change");
            assert_eq!(change.to_string(), text);
            let json = serde_json::to_string(&change).expect("JSON");
            assert_eq!(serde_json::from_str::<ModuleChange>(&json).expect("a change"), change);
        }
        let json = r#"{"action":"INSTALL","module":"nodejs","stream":"18","profile":"common"}"#;
        assert_eq!(serde_json::from_str::<ModuleChange>(json).expect("a change").to_string(), "install:nodejs:18/common");
    }

    #[test]
    fn what_is_no_change_is_refused_with_the_forms() {
        for (text, why) in [
            ("nodejs:18", "is no module change"),
            ("enable", "is no module change"),
            ("enable:nodejs", "names no stream"),
            ("enable::18", "unusable module name"),
            ("enable:nodejs:", "unusable stream"),
            ("enable:nodejs:18/common", "names a profile"),
            ("disable:nodejs:18", "is for the whole module"),
            ("install:nodejs:18", "names no profile"),
            ("install:nodejs:18/", "unusable profile"),
            ("switch:nodejs:*", "unusable stream"),
            ("switch:-y:18", "unusable module name"),
            ("remove:nodejs:18:20200101:ctx", "unusable stream"),
        ] {
            let error = text.parse::<ModuleChange>().expect_err(text);
            assert!(error.contains(why) && error.contains("install:NAME:STREAM/PROFILE"), "{text}: {error}");
        }
        assert!(format!("reset:{}", "x".repeat(129)).parse::<ModuleChange>().is_err());
    }

    #[test]
    fn contradictions_in_one_job_are_refused_by_their_field() {
        for (changes, wrong) in [
            (vec!["enable:a:1", "enable:b:1", "install:a:1/common", "install:a:1/devel", "remove:c:1/x"], None),
            (vec!["remove:a:1", "disable:a"], None),
            (vec!["remove:a:1/x", "reset:a"], None),
            (vec!["switch:a:2", "install:a:2/common"], None),
            (vec!["enable:a:1", "enable:a:2"], Some("a module has one state")),
            (vec!["enable:a:1", "disable:a"], Some("a module has one state")),
            (vec!["reset:a", "enable:a:1"], Some("a module has one state")),
            (vec!["enable:a:1", "install:a:2/common"], Some("another stream")),
            (vec!["remove:a:1/common", "switch:a:2"], Some("another stream")),
            (vec!["install:a:1/x", "install:a:2/y"], Some("another stream")),
            (vec!["install:a:1/x", "remove:a:1/x"], Some("contradicts install:a:1/x")),
            (vec!["install:a:1/x", "remove:a:1"], Some("all profiles")),
            (vec!["install:a:1/x", "disable:a"], Some("needs its stream enabled")),
            (vec!["switch:a:2", "remove:a:2/devel"], Some("a job of its own")),
            (vec!["enable:b:1", "remove:b:1/x"], Some("a job of its own")),
            (vec!["enable:a:1", "enable:a:1"], Some("twice")),
        ] {
            let found = problems(config(&changes, "{}"));
            match wrong {
                None => assert!(found.is_empty(), "{changes:?}: {found:?}"),
                Some(words) => assert!(
                    found.len() == 1 && found[0].starts_with("patchConfig.modules[1] ") && found[0].contains(words),
                    "{changes:?}: {found:?}"
                ),
            }
        }
        let many: Vec<String> = (0..=MODULE_CHANGES_MAX).map(|i| format!("reset:m{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(problems(config(&many, "{}")).len(), 1);
        let raw = r#"{"modules":[{"action":"ENABLE","module":"a b","stream":"1"},{"action":"RESET","module":"a","stream":"1"}]}"#;
        assert_eq!(problems(serde_json::from_str(raw).expect("settings")).len(), 2);
    }

    #[test]
    fn modules_are_the_whole_job() {
        assert!(problems(config(&["reset:a"], r#"{"fromCache":true,"rebootConfig":"NEVER"}"#)).is_empty());
        for more in [
            r#"{"packages":{"install":["x"]}}"#,
            r#"{"updateTypes":["SECURITY"]}"#,
            r#"{"advisories":["ELSA-2026-1"]}"#,
            r#"{"downloadOnly":true}"#,
            r#"{"yum":{"security":true}}"#,
            r#"{"yum":{"excludes":["x"]}}"#,
        ] {
            let found = problems(config(&["reset:a"], more));
            assert!(found.len() == 1 && found[0].contains("already is the whole job"), "{more}: {found:?}");
        }
    }

    #[test]
    fn an_agent_from_before_modules_refuses_the_order() {
        assert_eq!(config(&["reset:a"], "{}").work_version(), 3);
        assert_eq!(config(&["reset:a"], r#"{"fromCache":true}"#).work_version(), 3);
        assert!(!serde_json::to_string(&PatchConfig::default()).expect("JSON").contains("modules"));
    }

    #[test]
    fn a_plan_counts_modules_and_says_what_refuses_it() {
        let state = |stream: &str| ModuleState { status: ModuleStatus::Enabled, stream: stream.into(), profiles: vec![] };
        let planned = |change: &str, before: &str, after: &str, refused: &str| PlannedModule {
            change: change.parse().expect("a change"),
            implied: false,
            before: state(before),
            after: state(after),
            packages: vec![],
            refused: refused.into(),
        };
        let action = PlannedAction {
            action: ActionKind::Install,
            name: "x".into(),
            arch: "noarch".into(),
            from: None,
            to: Some("1".into()),
            repository: String::new(),
            kind: UpdateKind::Unknown,
            advisories: vec![],
        };
        let mut plan = Plan {
            manager: ManagerKind::Dnf,
            actions: vec![action],
            skipped: vec![],
            patches: vec![],
            requested: vec![],
            modules: vec![
                planned("switch:a:2", "1", "2", ""),
                planned("install:a:2/x", "1", "2", ""),
                planned("enable:b:1", "1", "1", ""),
            ],
            findings: vec![],
            before: None,
            undo: None,
        };
        assert_eq!((plan.changes(), plan.changing_modules(), plan.refusal()), (2, vec!["a"], None));
        assert!(plan.modules[2].is_idle() && !plan.modules[0].is_idle());
        plan.modules.push(planned("enable:c:9", "1", "1", "no such stream"));
        let words = "dnf refuses 1 of 4 module changes: enable:c:9: no such stream";
        assert_eq!(plan.refusal().as_deref(), Some(words));
        let outcome = |found: &str| ModuleResult::new(plan.modules[0].clone(), state(found)).outcome;
        use PackageOutcome::{Applied, Different, NotApplied};
        assert_eq!([outcome("2"), outcome("1"), outcome("3")], [Applied, NotApplied, Different]);
    }
}
