//! What may be wrong with a policy or an assignment, each problem with its path in the document
//! (`osPolicies[0].resourceGroups[0].resources[2].pkg.apt.name`). Limits are Google's where Google has one.

use std::collections::{BTreeMap, BTreeSet};

use super::additive::{CronResource, LineResource, ServiceResource, SysctlResource, TimerResource, UserResource};
use super::assignment::{AssignmentFilter, OsPolicyAssignment};
use super::spec::{
    AptRepository, Exec, ExecResource, FileResource, FileSource, FileState, Generation, InventoryFilter, KIND_NAMES, Mode,
    OsPolicy, PackageResource, PackageState, RepositoryResource, Resource, ResourceKind, RpmRepository,
};
use super::template::{self, Texts};
use super::words::{account, address, amount, id, inline, one_line, owners, path, permissions, text, windows_path, word};
use crate::instance::check_labels;
use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::validate::{Invalid, Problems};

/// Policies of one assignment, count.
pub const POLICIES_MAX: usize = 64;
/// Resource groups of one policy, count.
pub const GROUPS_MAX: usize = 64;
/// Resources of one group, count: what 500 on one host take is measured.
pub const RESOURCES_MAX: usize = 1000;
/// Entries of any other list, count.
const ENTRIES_MAX: usize = 100;
/// Entries of each list of what a script watches, count.
const WATCHED_MAX: usize = 16;
/// A script or a file's content, bytes (Google: 32 KiB).
pub const INLINE_MAX_BYTES: usize = 32 * 1024;
/// Shortest time between two checks of a policy, seconds.
const CHECK_INTERVAL_MIN_SECS: u64 = 60;
/// Longest, seconds (a day).
const CHECK_INTERVAL_MAX_SECS: u64 = 24 * 3600;
/// Longest step, seconds (6 hours).
const TIMEOUT_MAX_SECS: u64 = 6 * 3600;

impl OsPolicyAssignment {
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        if !self.name.is_empty() {
            id("name", self.id(), &mut problems);
        }
        problems.count("osPolicies", self.os_policies.len(), POLICIES_MAX);
        if self.os_policies.is_empty() {
            problems.add("osPolicies", "is empty; an assignment has at least one policy");
        }
        let mut seen = BTreeSet::new();
        for (i, policy) in self.os_policies.iter().enumerate().take(POLICIES_MAX) {
            let at = format!("osPolicies[{i}]");
            policy.check(&at, Texts::Written(Some(&self.variables)), &mut problems);
            if !seen.insert(&policy.id) {
                problems.add(format!("{at}.id"), format!("{} is the id of an earlier policy of this assignment", policy.id));
            }
        }
        self.instance_filter.check("instanceFilter", &mut problems);
        amount("rollout.disruptionBudget", Some(self.rollout.disruption_budget), &mut problems);
        amount("rollout.haltOnNonCompliant", self.rollout.halt_on_non_compliant, &mut problems);
        if let Some(health) = &self.rollout.health_checks {
            health.check("rollout.healthChecks", &mut problems);
        }
        if self.rollout.min_wait_secs().is_none() {
            problems.add("rollout.minWaitDuration", "is seconds with an s, such as 300s");
        }
        template::check_variables(&self.variables, &mut problems);
        template::refuse_marks("", self, &mut problems);
        problems.finish()
    }

    /// The last part of its name.
    pub fn id(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

impl AssignmentFilter {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.is_empty() {
            problems.add(at, "is empty; set all, inclusionLabels, exclusionLabels, inventories, groups or environments");
        }
        if self.all && !self.has_no_criteria() {
            problems.add(format!("{at}.all"), "cannot be combined with other criteria");
        }
        for (name, sets) in [("inclusionLabels", &self.inclusion_labels), ("exclusionLabels", &self.exclusion_labels)] {
            problems.count(&format!("{at}.{name}"), sets.len(), ENTRIES_MAX);
            for (i, set) in sets.iter().enumerate().take(ENTRIES_MAX) {
                let field = format!("{at}.{name}[{i}].labels");
                if set.labels.is_empty() {
                    problems.add(&field, "is empty; it would match every host");
                }
                check_labels(&field, &set.labels, problems);
            }
        }
        problems.count(&format!("{at}.inventories"), self.inventories.len(), ENTRIES_MAX);
        for (i, inventory) in self.inventories.iter().enumerate().take(ENTRIES_MAX) {
            inventory.check(&format!("{at}.inventories[{i}]"), problems);
        }
        for (name, list) in [("groups", &self.groups), ("environments", &self.environments)] {
            let field = format!("{at}.{name}");
            problems.count(&field, list.len(), ENTRIES_MAX);
            if list.iter().any(|entry| entry.trim().is_empty()) {
                problems.add(field, "has an empty entry");
            }
        }
    }
}

impl InventoryFilter {
    fn check(&self, at: &str, problems: &mut Problems) {
        if self.os_short_name.trim().is_empty() {
            problems.add(format!("{at}.osShortName"), "is needed: debian, ubuntu, rhel, ol, sles, windows …");
        }
        if self.os_version.trim_end_matches('*').contains('*') || self.os_version.ends_with("**") {
            problems.add(format!("{at}.osVersion"), "may have one * and only at its end");
        }
    }
}

impl OsPolicy {
    /// Everything that is wrong with a policy that stands alone.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        self.check("", Texts::Written(None), &mut problems);
        template::refuse_marks("", self, &mut problems);
        problems.finish()
    }

    /// Everything that is wrong with a policy as a host gets it: templates are filled in, secrets are marked.
    pub fn validate_filled(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        self.check("", Texts::Filled, &mut problems);
        problems.finish()
    }

    fn check(&self, at: &str, texts: Texts<'_>, problems: &mut Problems) {
        let field = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        id(&field("id"), &self.id, problems);
        problems.text(&field("description"), &self.description, DESCRIPTION_MAX_BYTES);
        problems.count(&field("resourceGroups"), self.resource_groups.len(), GROUPS_MAX);
        if self.resource_groups.is_empty() {
            problems.add(field("resourceGroups"), "is empty; a policy has at least one resource group");
        }
        let interval = CHECK_INTERVAL_MIN_SECS..=CHECK_INTERVAL_MAX_SECS;
        if self.check_interval_secs.is_some_and(|secs| !interval.contains(&secs)) {
            problems.add(field("checkIntervalSecs"), "must be between 60 and 86400 seconds");
        }
        // Google: unique in the policy, because reports name resources by policy and id. Two groups never meet on one
        // host, and people repeat ids in them: unique in the group is what follows.
        for (g, group) in self.resource_groups.iter().enumerate().take(GROUPS_MAX) {
            let at = field(&format!("resourceGroups[{g}]"));
            problems.count(&format!("{at}.inventoryFilters"), group.inventory_filters.len(), ENTRIES_MAX);
            for (i, filter) in group.inventory_filters.iter().enumerate().take(ENTRIES_MAX) {
                filter.check(&format!("{at}.inventoryFilters[{i}]"), problems);
            }
            if group.inventory_filters.is_empty() && g + 1 < self.resource_groups.len() {
                problems
                    .add(&at, "matches every host, so the groups after it are never used; give inventoryFilters, or put it last");
            }
            self.check_resources(&at, &group.resources, texts, problems);
        }
    }

    fn check_resources(&self, at: &str, resources: &[Resource], texts: Texts<'_>, problems: &mut Problems) {
        problems.count(&format!("{at}.resources"), resources.len(), RESOURCES_MAX);
        if resources.is_empty() {
            problems.add(format!("{at}.resources"), "is empty; a resource group has at least one resource");
        }
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, resource) in resources.iter().enumerate().take(RESOURCES_MAX) {
            let at = format!("{at}.resources[{i}]");
            resource.check(&at, self.mode, texts, problems);
            if places.insert(&resource.id, i).is_some() {
                problems.add(format!("{at}.id"), format!("{} is the id of an earlier resource of this group", resource.id));
            }
        }
        for (i, resource) in resources.iter().enumerate().take(RESOURCES_MAX) {
            let at = format!("{at}.resources[{i}]");
            for (n, needed) in resource.depends_on.iter().enumerate() {
                // Resources run in the order written: what comes later cannot be waited for, so there are no cycles.
                if places.get(needed.as_str()).is_none_or(|place| *place >= i) {
                    problems.add(
                        format!("{at}.dependsOn[{n}]"),
                        format!("{needed:?} is not the id of an earlier resource of this group"),
                    );
                }
            }
            for (n, told) in resource.notify.iter().enumerate() {
                if places.get(told.as_str()).is_none_or(|place| resources[*place].service.is_none()) {
                    problems
                        .add(format!("{at}.notify[{n}]"), format!("{told:?} is not the id of a service resource of this group"));
                }
            }
        }
    }
}

impl Resource {
    /// Everything that is wrong with it alone.
    pub(super) fn check(&self, at: &str, mode: Mode, texts: Texts<'_>, problems: &mut Problems) {
        match texts {
            Texts::Written(variables) if self.template => return template::check_written(at, self, mode, variables, problems),
            Texts::Written(_) => {}
            Texts::Filled if self.template => problems.add(format!("{at}.template"), "was not filled in by the server"),
            Texts::Filled => template::check_marks(at, self, problems),
        }
        id(&format!("{at}.id"), &self.id, problems);
        problems.count(&format!("{at}.dependsOn"), self.depends_on.len(), ENTRIES_MAX);
        problems.count(&format!("{at}.notify"), self.notify.len(), ENTRIES_MAX);
        if self.timeout_secs.is_some_and(|secs| secs == 0 || secs > TIMEOUT_MAX_SECS) {
            problems.add(format!("{at}.timeoutSecs"), format!("must be between 1 and {TIMEOUT_MAX_SECS} seconds"));
        }
        let kinds = self.kinds();
        match kinds.as_slice() {
            [] => problems.add(at, format!("says nothing; give one of {KIND_NAMES}")),
            [kind] => check_kind(*kind, at, mode, problems),
            [..] => problems.add(at, format!("is {} things at once; make a resource of each", kinds.len())),
        }
    }
}

fn check_kind(kind: ResourceKind<'_>, at: &str, mode: Mode, problems: &mut Problems) {
    let field = |name: &str| format!("{at}.{name}");
    match kind {
        ResourceKind::Pkg(pkg) => package(&field("pkg"), pkg, problems),
        ResourceKind::Repository(repository) => check_repository(&field("repository"), repository, problems),
        ResourceKind::Exec(own) => check_exec(&field("exec"), own, mode, problems),
        ResourceKind::File(own) => check_file(&field("file"), own, problems),
        ResourceKind::Service(own) => service(&field("service"), own, problems),
        ResourceKind::User(own) => user(&field("user"), own, problems),
        ResourceKind::Group(own) => account(&field("group.name"), &own.name, problems),
        ResourceKind::Sysctl(own) => sysctl(&field("sysctl"), own, problems),
        ResourceKind::KernelModule(own) => word(&field("kernelModule.name"), &own.name, "-_", problems),
        ResourceKind::Timer(own) => timer(&field("timer"), own, problems),
        ResourceKind::Cron(own) => cron(&field("cron"), own, problems),
        ResourceKind::Directory(own) => {
            path(&field("directory.path"), &own.path, problems);
            permissions(&field("directory.permissions"), &own.permissions, problems);
            owners(&field("directory"), &own.owner, &own.group, problems);
        }
        ResourceKind::Symlink(own) => {
            path(&field("symlink.path"), &own.path, problems);
            text(&field("symlink.target"), &own.target, problems);
            if own.target.is_empty() {
                problems.add(field("symlink.target"), "is needed");
            }
        }
        ResourceKind::Line(own) => line(&field("line"), own, problems),
    }
}

fn package(at: &str, pkg: &PackageResource, problems: &mut Problems) {
    let named = [("apt", &pkg.apt), ("yum", &pkg.yum), ("zypper", &pkg.zypper), ("googet", &pkg.googet)];
    let files = [("deb", pkg.deb.as_ref().map(|d| &d.source)), ("rpm", pkg.rpm.as_ref().map(|r| &r.source))];
    let msi = pkg.msi.as_ref().map(|m| &m.source);
    let files: Vec<_> = files.into_iter().chain([("msi", msi)]).filter_map(|(name, f)| Some((name, f?))).collect();
    let count = named.iter().filter(|(_, n)| n.is_some()).count() + files.len();
    if count != 1 {
        problems.add(at, format!("has {count} package systems; give one of apt, deb, yum, zypper, rpm, googet and msi"));
    }
    for (name, named) in named {
        let Some(named) = named else { continue };
        let field = format!("{at}.{name}");
        word(&format!("{field}.name"), &named.name, "+-._:", problems);
        if pkg.desired_state == PackageState::Removed && (named.version.is_some() || named.hold) {
            problems.add(&field, "cannot say a version or hold of a package that is to be removed");
        }
    }
    for (name, source) in files {
        check_source(&format!("{at}.{name}.source"), source, problems);
        if pkg.desired_state == PackageState::Removed {
            problems.add(format!("{at}.desiredState"), format!("is REMOVED, and {name} can only be INSTALLED"));
        }
    }
}

fn check_repository(at: &str, own: &RepositoryResource, problems: &mut Problems) {
    let count = [own.apt.is_some(), own.yum.is_some(), own.zypper.is_some(), own.goo.is_some()].iter().filter(|is| **is).count();
    if count != 1 {
        problems.add(at, format!("has {count} systems; give one of apt, yum, zypper and goo"));
    }
    if let Some(apt) = &own.apt {
        apt_repository(&format!("{at}.apt"), apt, problems);
    }
    for (name, rpm) in [("yum", &own.yum), ("zypper", &own.zypper)] {
        if let Some(rpm) = rpm {
            rpm_repository(&format!("{at}.{name}"), rpm, problems);
        }
    }
    if let Some(goo) = &own.goo {
        text(&format!("{at}.goo.name"), &goo.name, problems);
        address(&format!("{at}.goo.url"), &goo.url, problems);
    }
}

fn apt_repository(at: &str, apt: &AptRepository, problems: &mut Problems) {
    one_line(&format!("{at}.uri"), &apt.uri, problems);
    one_line(&format!("{at}.distribution"), &apt.distribution, problems);
    problems.count(&format!("{at}.components"), apt.components.len(), ENTRIES_MAX);
    if apt.components.is_empty() && !apt.distribution.ends_with('/') {
        problems.add(format!("{at}.components"), "is empty; give at least one, such as main");
    }
    for (i, component) in apt.components.iter().enumerate().take(ENTRIES_MAX) {
        one_line(&format!("{at}.components[{i}]"), component, problems);
    }
    if !apt.gpg_key.is_empty() {
        address(&format!("{at}.gpgKey"), &apt.gpg_key, problems);
    }
}

fn rpm_repository(at: &str, rpm: &RpmRepository, problems: &mut Problems) {
    word(&format!("{at}.id"), &rpm.id, "-_.:", problems);
    text(&format!("{at}.displayName"), &rpm.display_name, problems);
    address(&format!("{at}.baseUrl"), &rpm.base_url, problems);
    problems.count(&format!("{at}.gpgKeys"), rpm.gpg_keys.len(), ENTRIES_MAX);
    for (i, key) in rpm.gpg_keys.iter().enumerate().take(ENTRIES_MAX) {
        address(&format!("{at}.gpgKeys[{i}]"), key, problems);
    }
}

fn check_exec(at: &str, own: &ExecResource, mode: Mode, problems: &mut Problems) {
    script(&format!("{at}.validate"), &own.validate, problems);
    match &own.enforce {
        Some(enforce) => script(&format!("{at}.enforce"), enforce, problems),
        None if mode == Mode::Enforcement => {
            problems.add(format!("{at}.enforce"), "is needed: the policy's mode is ENFORCEMENT");
        }
        None => {}
    }
    if let Some(watch) = &own.watch {
        let at = format!("{at}.watch");
        if watch.paths.is_empty() && watch.units.is_empty() && !watch.packages {
            problems.add(&at, "watches nothing; give paths, units or packages, or leave it out");
        }
        problems.count(&format!("{at}.paths"), watch.paths.len(), WATCHED_MAX);
        problems.count(&format!("{at}.units"), watch.units.len(), WATCHED_MAX);
        for (i, own) in watch.paths.iter().enumerate().take(WATCHED_MAX) {
            path(&format!("{at}.paths[{i}]"), own, problems);
        }
        for (i, own) in watch.units.iter().enumerate().take(WATCHED_MAX) {
            word(&format!("{at}.units[{i}]"), own, "@:-_.\\", problems);
        }
    }
}

fn script(at: &str, exec: &Exec, problems: &mut Problems) {
    match (&exec.file, &exec.script) {
        (Some(file), None) => check_source(&format!("{at}.file"), file, problems),
        (None, Some(script)) => {
            let field = format!("{at}.script");
            inline(&field, script, problems);
            if script.trim().is_empty() {
                problems.add(field, "is empty");
            }
        }
        _ => problems.add(at, "needs exactly one of file and script"),
    }
    problems.count(&format!("{at}.args"), exec.args.len(), ENTRIES_MAX);
    for (i, arg) in exec.args.iter().enumerate().take(ENTRIES_MAX) {
        text(&format!("{at}.args[{i}]"), arg, problems);
    }
    if !exec.output_file_path.is_empty() && !windows_path(&exec.output_file_path) {
        path(&format!("{at}.outputFilePath"), &exec.output_file_path, problems);
    }
}

fn check_file(at: &str, own: &FileResource, problems: &mut Problems) {
    if !windows_path(&own.path) {
        path(&format!("{at}.path"), &own.path, problems);
    }
    permissions(&format!("{at}.permissions"), &own.permissions, problems);
    owners(at, &own.owner, &own.group, problems);
    text(&format!("{at}.selinuxLabel"), &own.selinux_label, problems);
    match (&own.file, &own.content) {
        (Some(_), Some(_)) => problems.add(at, "has file and content; keep one"),
        (None, None) if own.state != FileState::Absent => problems.add(at, "needs file or content"),
        (Some(source), None) => check_source(&format!("{at}.file"), source, problems),
        (None, Some(content)) => inline(&format!("{at}.content"), content, problems),
        (None, None) => {}
    }
}

fn check_source(at: &str, source: &FileSource, problems: &mut Problems) {
    let count = [source.remote.is_some(), source.gcs.is_some(), source.local_path.is_some()].iter().filter(|is| **is).count();
    if count != 1 {
        problems.add(at, format!("has {count} places; give one of remote, gcs and localPath"));
    }
    if let Some(remote) = &source.remote {
        address(&format!("{at}.remote.uri"), &remote.uri, problems);
        let sum = &remote.sha256_checksum;
        let field = format!("{at}.remote.sha256Checksum");
        if sum.is_empty() && !source.allow_insecure {
            problems.add(field, "is needed; or say allowInsecure");
        } else if !sum.is_empty() && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit())) {
            problems.add(field, "is not 64 hexadecimal digits");
        }
    }
    if let Some(gcs) = &source.gcs {
        one_line(&format!("{at}.gcs.bucket"), &gcs.bucket, problems);
        one_line(&format!("{at}.gcs.object"), &gcs.object, problems);
        let field = format!("{at}.gcs.generation");
        let number = match &gcs.generation {
            None => None,
            Some(Generation::Number(n)) => Some(*n),
            Some(Generation::Text(digits)) => digits.parse().ok().or(Some(-1)),
        };
        match number.filter(|n| *n != 0) {
            Some(n) if n < 0 => problems.add(field, "is not a generation number"),
            None if !source.allow_insecure => problems.add(field, "is needed; or say allowInsecure"),
            _ => {}
        }
    }
    if let Some(local) = source.local_path.as_ref().filter(|p| !windows_path(p)) {
        path(&format!("{at}.localPath"), local, problems);
    }
}

fn service(at: &str, own: &ServiceResource, problems: &mut Problems) {
    word(&format!("{at}.name"), &own.name, "@:-_.\\", problems);
    if own.running.is_none() && own.enabled.is_none() && own.masked.is_none() {
        problems.add(at, "says nothing; set running, enabled or masked");
    }
    if own.masked == Some(true) && (own.running == Some(true) || own.enabled == Some(true)) {
        problems.add(format!("{at}.masked"), "is true, and a masked unit can neither run nor be enabled");
    }
}

fn user(at: &str, own: &UserResource, problems: &mut Problems) {
    account(&format!("{at}.name"), &own.name, problems);
    if own.name == "root" {
        problems.add(format!("{at}.name"), "root is not for a policy to change");
    }
    for (name, group) in own.group.iter().map(|g| ("group", g)).chain(own.groups.iter().flatten().map(|g| ("groups", g))) {
        account(&format!("{at}.{name}"), group, problems);
    }
    for (name, value) in [("home", &own.home), ("shell", &own.shell)] {
        if let Some(value) = value {
            path(&format!("{at}.{name}"), value, problems);
            if value.contains(':') {
                problems.add(format!("{at}.{name}"), "must not hold a colon");
            }
        }
    }
}

fn sysctl(at: &str, own: &SysctlResource, problems: &mut Problems) {
    word(&format!("{at}.key"), &own.key, "-_./", problems);
    if own.key.split(['.', '/']).any(|part| part.is_empty() || part == "..") {
        problems.add(format!("{at}.key"), "is not a parameter such as net.ipv4.ip_forward");
    }
    one_line(&format!("{at}.value"), &own.value, problems);
}

fn timer(at: &str, own: &TimerResource, problems: &mut Problems) {
    word(&format!("{at}.name"), &own.name, "-_", problems);
    one_line(&format!("{at}.onCalendar"), &own.on_calendar, problems);
    problems.count(&format!("{at}.command"), own.command.len(), ENTRIES_MAX);
    match own.command.first() {
        None => problems.add(format!("{at}.command"), "is empty"),
        Some(program) => path(&format!("{at}.command[0]"), program, problems),
    }
    for (i, part) in own.command.iter().enumerate().skip(1).take(ENTRIES_MAX) {
        one_line(&format!("{at}.command[{i}]"), part, problems);
    }
    if let Some(user) = &own.user {
        account(&format!("{at}.user"), user, problems);
    }
}

fn cron(at: &str, own: &CronResource, problems: &mut Problems) {
    word(&format!("{at}.name"), &own.name, "-_", problems);
    account(&format!("{at}.user"), &own.user, problems);
    one_line(&format!("{at}.command"), &own.command, problems);
    one_line(&format!("{at}.schedule"), &own.schedule, problems);
    let fields = own.schedule.split_whitespace().count();
    if !(own.schedule.starts_with('@') && fields == 1 || fields == 5) {
        problems.add(format!("{at}.schedule"), "is five fields as in crontab(5), or a word such as @daily");
    }
    problems.count(&format!("{at}.environment"), own.environment.len(), ENTRIES_MAX);
    for (name, value) in &own.environment {
        let field = format!("{at}.environment.{name}");
        word(&field, name, "_", problems);
        text(&field, value, problems);
        if value.contains('\n') {
            problems.add(field, "must be one line");
        }
    }
}

fn line(at: &str, own: &LineResource, problems: &mut Problems) {
    path(&format!("{at}.path"), &own.path, problems);
    one_line(&format!("{at}.line"), &own.line, problems);
    if let Some(start) = &own.starts_with {
        one_line(&format!("{at}.startsWith"), start, problems);
        if !own.line.starts_with(start.as_str()) {
            problems.add(format!("{at}.startsWith"), "is not how the line begins: it would be added again and again");
        }
    }
}
