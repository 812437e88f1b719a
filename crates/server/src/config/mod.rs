//! Configuration in three steps: [`fragment`] is the file's shape (every key optional, unknown keys refused),
//! [`inputs`] is what file and command line say together, [`Settings`] is complete and checked. Absent on purpose:
//! secrets (they are files in the data directory) and anything an operator can change through the API.

pub mod fragment;
pub mod inputs;
mod settings;
mod template;

pub use inputs::Inputs;
pub(crate) use settings::is_name;
pub use settings::{LogFormat, Settings, SettingsError};
pub use template::default_config;

use std::path::{Path, PathBuf};

/// Where the configuration is looked for when nobody says otherwise.
pub const DEFAULT_CONFIG_PATH: &str = "/etc/drydock/drydockd.toml";

/// A configuration file that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("cannot read the configuration {path}; check that it exists and that this user may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Larger than a configuration can be.
    #[error("the configuration {path} has more than {max} bytes; is it the right file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Limit, bytes.
        max: u64,
    },
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("the configuration {path} is wrong:\n{message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
}

/// Reads one configuration file.
pub fn read(path: &Path) -> Result<fragment::Fragment, ConfigError> {
    use std::io::Read;
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let max = crate::limits::CONFIG_MAX_BYTES;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(max + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > max {
        return Err(ConfigError::TooLarge { path: path.to_owned(), max });
    }
    fragment::Fragment::parse(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let fragment = fragment::Fragment::parse(text)?;
        Settings::from_inputs(Inputs::from_fragment(fragment)).map_err(|e| e.to_string())
    }

    #[test]
    fn the_commented_default_is_the_default() {
        let written = settings(&default_config(Path::new("/var/lib/drydock"), None, &[])).expect("valid");
        assert_eq!(written, settings("").expect("an empty file is valid"));
        let all_on: String = default_config(Path::new("/d"), None, &["drydock.example".into()])
            .lines()
            .map(|l| l.strip_prefix("#= ").unwrap_or(l).to_owned() + "\n")
            .collect();
        let on = settings(&all_on).expect("every commented key is a real key with a valid value");
        let (data_dir, content_dir) = ("/d".into(), "/d/content".into());
        assert_eq!(on, Settings { data_dir, content_dir, names: vec!["drydock.example".into()], ..written });
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let given = settings("names = [\"a.example\", \"10.0.0.1\"]\n[log]\nformat = \"json\"\n").expect("valid");
        assert_eq!(settings(&given.to_toml()).expect("valid"), given);
    }

    #[test]
    fn a_provider_is_read_and_written() {
        let text = "[oidc]\nissuer = \"https://login.example\"\nclient_id = \"drydock\"\ngroups_claim = \"groups\"\n";
        let given = settings(text).expect("valid");
        assert_eq!(given.oidc.as_ref().map(|oidc| oidc.client_id.as_str()), Some("drydock"));
        assert_eq!(settings(&given.to_toml()).expect("valid"), given);
        // What the template shows is a real one, too.
        let template = default_config(Path::new("/d"), None, &[]);
        let shown = template.split("# [oidc]\n").nth(1).expect("it is shown");
        let lines = shown.lines().map(|line| line.trim_start_matches("# ")).filter(|line| line.contains(" = "));
        let shown = settings(&format!("[oidc]\n{}", lines.collect::<Vec<_>>().join("\n"))).expect("valid");
        assert!(shown.oidc.is_some_and(|oidc| oidc.groups_claim.is_some() && oidc.ca_file.is_some()));
    }

    #[test]
    fn refusals_name_the_key() {
        for (text, part) in [
            ("listn = \"1\"", "listn"),
            ("[agents]\ncertificate_hour = 1", "certificate_hour"),
            ("listen = 8443", "listen"),
            ("listen = \"nowhere\"", "listen"),
            ("data_dir = \"relative\"", "data_dir"),
            ("names = [\"bad name\"]", "names"),
            ("[agents]\ncertificate_hours = 0", "agents.certificate_hours"),
            ("[agents]\nno_agent_after_secs = 1", "agents.no_agent_after_secs"),
            ("[content]\ndir = \"content\"", "content.dir"),
            ("data_dir = \"/d\"\n[content]\ndir = \"/d\"", "content.dir"),
            ("[content]\nstreams = 0", "content.streams"),
            ("[content]\nupload_mib = 0", "content.upload_mib"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[agents]\nheartbeat_secs = 60", "agents.heartbeat_secs"),
            ("[log]\nlevel = \"loud\"", "log.level"),
            ("[log]\nlevel = \"info,x=loud\"", "log.level"),
            ("[log]\nlevel = \"\"", "log.level"),
            ("[log]\nformat = \"xml\"", "xml"),
            ("[oidc]\nissuer = \"http://login.example\"\nclient_id = \"d\"", "oidc.issuer"),
            ("[oidc]\nissuer = \"https://login.example\"", "client_id"),
            ("[oidc]\nissuer = \"https://login.example\"\nclient_id = \"d\"\nclient_secret = \"s\"", "client_secret"),
        ] {
            let err = settings(text).expect_err(text);
            assert!(err.contains(part), "{text}: {err}");
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.toml");
        assert!(matches!(read(&path), Err(ConfigError::Read { .. })));
        std::fs::write(&path, "#".repeat(crate::limits::CONFIG_MAX_BYTES as usize + 1)).expect("written");
        assert!(matches!(read(&path), Err(ConfigError::TooLarge { .. })));
        std::fs::write(&path, "x = ").expect("written");
        assert!(matches!(read(&path), Err(ConfigError::Parse { .. })));
    }
}
