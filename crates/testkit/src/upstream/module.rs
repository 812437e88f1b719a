//! Modules of an RPM repository: `modules.yaml`, put beside the packages by modifyrepo_c.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{RpmPackage, TOOL_LIMIT};
use crate::command::run;

/// The architecture of lab machines in RPM's words.
const NATIVE_ARCH: &str = std::env::consts::ARCH;

/// One stream of a module.
#[derive(Debug, Clone, Default)]
pub struct ModuleStream {
    /// Name of the module.
    pub module: String,
    /// Name of the stream.
    pub stream: String,
    /// Whether it is the module's default.
    pub is_default: bool,
    /// Profiles and the names of their packages.
    pub profiles: Vec<(String, Vec<String>)>,
    /// Its packages, which are in the repository.
    pub packages: Vec<RpmPackage>,
    /// Streams of other modules that it needs.
    pub requires: Vec<(String, String)>,
}

impl ModuleStream {
    /// A stream with these packages and one profile of one of them, `common`.
    pub fn new(module: &str, stream: &str, common: &str, packages: &[RpmPackage]) -> Self {
        Self {
            module: module.into(),
            stream: stream.into(),
            profiles: vec![("common".into(), vec![common.into()])],
            packages: packages.to_vec(),
            ..Self::default()
        }
    }

    // Writing to a string cannot fail. `number` makes version and context, which must differ.
    fn document(&self, number: usize) -> String {
        let mut yaml = format!(
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: {}\n  stream: \"{}\"\n  version: {}\n  context: {number:08x}\n  \
             arch: {NATIVE_ARCH}\n  summary: Lab module {}\n  description: Lab module {}, stream {}.\n  \
             license:\n    module: [Apache-2.0]\n",
            self.module,
            self.stream,
            20_260_101 + number,
            self.module,
            self.module,
            self.stream
        );
        if !self.requires.is_empty() {
            yaml.push_str("  dependencies:\n  - requires:\n");
            for (module, stream) in &self.requires {
                let _ = writeln!(yaml, "      {module}: [\"{stream}\"]");
            }
        }
        yaml.push_str("  profiles:\n");
        for (profile, names) in &self.profiles {
            let _ = writeln!(yaml, "    {profile}:\n      rpms: [{}]", names.join(", "));
        }
        yaml.push_str("  artifacts:\n    rpms:\n");
        for package in &self.packages {
            let (epoch, arch) = (package.epoch.unwrap_or(0), package.arch());
            let _ = writeln!(yaml, "    - {}-{epoch}:{}-{}.{arch}", package.name, package.version, package.release);
        }
        yaml.push_str("...\n");
        yaml
    }
}

/// Adds modules to the built repository in `dir`.
///
/// # Errors
/// When modifyrepo_c fails.
pub fn add_modules(dir: &Path, streams: &[ModuleStream]) -> Result<()> {
    let mut yaml: String = streams.iter().enumerate().map(|(number, stream)| stream.document(number)).collect();
    for stream in streams.iter().filter(|s| s.is_default) {
        let _ = writeln!(
            yaml,
            "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {}\n  stream: \"{}\"\n  profiles:\n    \"{}\": [{}]\n...",
            stream.module,
            stream.stream,
            stream.stream,
            stream.profiles.first().map_or("", |(name, _)| name.as_str())
        );
    }
    let work = tempfile::tempdir()?;
    let file = work.path().join("modules.yaml");
    fs::write(&file, yaml)?;
    let mut command = Command::new("modifyrepo_c");
    run(command.arg("--mdtype=modules").arg(&file).arg(dir.join("repodata")), TOOL_LIMIT)?.success()?;
    Ok(())
}
