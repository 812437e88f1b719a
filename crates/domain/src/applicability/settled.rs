//! Vulnerabilities that concern a host and are not open on it: the fix is installed, or the vendor says that the package is not
//! touched. For documents about one host; nothing of it is remembered.

use std::collections::BTreeMap;

use super::advisories::VulnId;
use super::fleet::Fleet;
use super::intern::EMPTY;
use super::verdict::settled;
use crate::ids::InstanceId;

/// Settled vulnerabilities of one host told, count: the largest hosts with every feed have some ten thousand.
const SETTLED_MAX: usize = 50_000;

/// A vulnerability that concerns a host and is not open on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledVulnerability {
    /// Id.
    pub id: String,
    /// It was open before its fix was installed, in some package; `false`: the vendor says that none is touched.
    pub affected: bool,
    /// In the vendor's words; may be empty.
    pub justification: String,
    /// In which packages.
    pub packages: Vec<SettledPackage>,
}

/// A package that it is settled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettledPackage {
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Version installed.
    pub installed: String,
}

impl Fleet {
    /// What is settled on a host, by id. What is open in one of its packages is not, whatever holds for others.
    pub fn settled(&self, id: InstanceId) -> Vec<SettledVulnerability> {
        let Some(class) = self.class_of(id) else { return Vec::new() };
        let Some(env) = self.env_of(class) else { return Vec::new() };
        let mut found: BTreeMap<VulnId, SettledVulnerability> = BTreeMap::new();
        for lot in class.lots.iter() {
            // As when it was judged: the running kernel matters only for kernels.
            let kernel = if self.tables.lots[*lot as usize].kernel { class.kernel } else { EMPTY };
            for row in settled(&self.tables, env, *lot, self.tables.texts.get(kernel)) {
                if super::class::find(&class.outcome.open, row.vuln).is_some() {
                    continue;
                }
                let own = self.tables.installed(row.package);
                let entry = found.entry(row.vuln).or_insert_with(|| SettledVulnerability {
                    id: self.tables.texts.get(self.tables.advisories.vulns[row.vuln as usize].id).to_owned(),
                    affected: false,
                    justification: String::new(),
                    packages: Vec::new(),
                });
                entry.affected |= row.affected;
                if entry.justification.is_empty() {
                    entry.justification = self.tables.texts.get(row.justification).to_owned();
                }
                entry.packages.push(SettledPackage {
                    name: self.tables.name_text(own.name).to_owned(),
                    arch: self.tables.texts.get(own.arch).to_owned(),
                    installed: self.tables.version_text(own.version).to_owned(),
                });
            }
        }
        let mut out: Vec<SettledVulnerability> = found.into_values().collect();
        out.sort_by(|a, b| a.id.cmp(&b.id));
        out.truncate(SETTLED_MAX);
        out.iter_mut().for_each(|v| v.packages.sort_unstable());
        out
    }
}
