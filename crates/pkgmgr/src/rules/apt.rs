//! apt: holds, preferences, the default release, dpkg's architectures.
//!
//! `apt-config shell` prints what is set, quoted for a shell; a name that is not set has no line:
//!
//! ```text
//! RELEASE='bookworm'
//! FILE='/etc/apt/preferences'
//! PARTS='/etc/apt/preferences.d/'
//! ```
//!
//! `dpkg --print-architecture` and `dpkg --print-foreign-architectures` print a word a line. `dpkg --get-selections` prints
//! every package and what is wanted of it; `apt-mark showhold` says the same holds a hundred times slower (dpkg 1.21):
//!
//! ```text
//! libc6:amd64                    install
//! tar                            hold
//! ```

use std::path::Path;

use drydock_domain::host_rules::HostRules;

use super::{below, preferences};
use crate::error::PkgError;
use crate::exec::{QUERY_TIME_LIMIT, run_text};
use crate::run::{CommandSpec, Runner};

/// What is asked of apt-config: our name, its own (`/f`: as the path of a file, `/d`: of a directory).
const ASKED: [&str; 6] =
    ["RELEASE", "APT::Default-Release", "FILE", "Dir::Etc::preferences/f", "PARTS", "Dir::Etc::preferencesparts/d"];

/// Reads the rules of the host at `root`.
pub(super) fn read(root: &Path, runner: &dyn Runner) -> Result<HostRules, PkgError> {
    let spec = |program: &str, label: &str, words: &[&str]| {
        CommandSpec::new(program, label, QUERY_TIME_LIMIT).args(words.iter().copied().map(str::to_owned))
    };
    let lines = |spec: CommandSpec| -> Result<Vec<String>, PkgError> {
        let text = run_text(runner, &spec, &[0])?;
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    };
    let mut shell: Vec<&str> = vec!["shell"];
    shell.extend(ASKED);
    let config = run_text(runner, &spec("apt-config", "apt-config shell", &shell), &[0])?;
    let file = value(&config, "FILE").unwrap_or_else(|| "/etc/apt/preferences".to_owned());
    let parts = value(&config, "PARTS").unwrap_or_else(|| "/etc/apt/preferences.d".to_owned());
    let mut architectures = lines(spec("dpkg", "dpkg --print-architecture", &["--print-architecture"]))?;
    architectures.extend(lines(spec("dpkg", "dpkg --print-foreign-architectures", &["--print-foreign-architectures"]))?);
    Ok(HostRules {
        holds: holds(&lines(spec("dpkg", "dpkg --get-selections", &["--get-selections"]))?, &architectures),
        pins: preferences::read(&below(root, &file), &below(root, &parts)),
        default_release: value(&config, "RELEASE").unwrap_or_default(),
        architectures,
        ..HostRules::default()
    })
}

/// Packages on hold; those of the native architecture by their name alone, as apt-mark shows them.
fn holds(selections: &[String], architectures: &[String]) -> Vec<String> {
    let native = architectures.first().map(|arch| format!(":{arch}")).unwrap_or_default();
    let held =
        selections.iter().filter_map(|line| line.split_once(char::is_whitespace)).filter(|(_, want)| want.trim() == "hold");
    held.map(|(name, _)| name.strip_suffix(&native).unwrap_or(name).to_owned()).collect()
}

/// The value of a line `NAME='…'`; a quote in it is written `'\''`.
fn value(text: &str, name: &str) -> Option<String> {
    let quoted = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    let inner = quoted.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("'\\''", "'")).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ScriptedRunner;

    #[test]
    fn holds_the_default_release_and_architectures_as_the_tools_say() {
        let root = tempfile::tempdir().expect("a root");
        let selections =
            "libc6:amd64\t\t\t\tinstall\nlibssl3:amd64\t\t\thold\nlibssl3:i386\t\t\thold\ntar\t\t\thold\nvim\t\t\tdeinstall\n";
        let runner = ScriptedRunner::new()
            .expect("apt-config shell *", "RELEASE='it'\\''s'\nFILE='/etc/apt/preferences'\nPARTS='/etc/apt/preferences.d/'\n")
            .expect("dpkg --print-architecture", "amd64\n")
            .expect("dpkg --print-foreign-architectures", "i386\n")
            .expect("dpkg --get-selections", selections);
        let rules = read(root.path(), &runner).expect("rules");
        assert_eq!(rules.holds, ["libssl3", "libssl3:i386", "tar"]);
        assert_eq!((rules.default_release.as_str(), rules.architectures), ("it's", vec!["amd64".to_owned(), "i386".to_owned()]));
    }
}
