//! Which server, with which token, trusted by what: from arguments, then environment, then the configuration file
//! (`~/.config/drydock/config.toml`, mode 0600).

use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::args::Connection;
use crate::failure::Failure;
use crate::signing::SigningKey;
use crate::tls::Trust;
use crate::world::World;

/// Port of `drydockd` when a server is named without scheme and port.
const DEFAULT_PORT: u16 = 8443;
/// Longest token read from standard input, bytes.
const TOKEN_MAX_BYTES: u64 = 4096;

/// The configuration file.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base URL of the server.
    pub server: Option<String>,
    /// Access token.
    pub token: Option<String>,
    /// What the server calls the key that requests are signed with, when there is no token.
    pub key_id: Option<String>,
    /// The file with that private key.
    pub key_file: Option<PathBuf>,
    /// SHA-256 of the server's CA certificate, lower-case hex.
    pub ca_fingerprint: Option<String>,
    /// The CA certificate itself, PEM; instead of the fingerprint.
    pub ca_pem: Option<String>,
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Base URL.
    pub server: Url,
    /// Access token.
    pub token: Option<String>,
    /// The key that requests are signed with when there is no token.
    pub key: Option<SigningKey>,
    /// What makes the server's certificate good.
    pub trust: Trust,
}

/// Where the configuration file lies.
pub fn path(args: &Connection, world: &World) -> Result<PathBuf, Failure> {
    if let Some(path) = args.config.clone().or_else(|| world.var("DRYDOCK_CLI_CONFIG").map(PathBuf::from)) {
        return Ok(path);
    }
    let base = world
        .var("XDG_CONFIG_HOME")
        .or_else(|| if cfg!(windows) { world.var("APPDATA") } else { None })
        .map(PathBuf::from)
        .or_else(|| world.var("HOME").map(|home| Path::new(home).join(".config")));
    base.map(|b| b.join("drydock").join("config.toml"))
        .ok_or_else(|| Failure::Usage("HOME is not set; say where the configuration lies with --config FILE".to_owned()))
}

/// Reads the file; an absent one is an empty one.
pub fn load(path: &Path, world: &mut World) -> Result<Config, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(e) => return Err(Failure::Usage(format!("cannot read {}: {e}", path.display()))),
    };
    let config: Config =
        toml::from_str(&text).map_err(|e| Failure::Usage(format!("{} is not a drydock configuration: {e}", path.display())))?;
    if config.token.is_some() && others_may_read(path) {
        writeln!(world.err, "warning: {0} holds a token and others may read it; run: chmod 600 {0}", path.display())?;
    }
    Ok(config)
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_path: &Path) -> bool {
    false
}

/// Writes the file whole or not at all, readable by its owner only from the first byte on.
pub fn save(path: &Path, config: &Config) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Usage(format!("cannot write {}: {e}", path.display()));
    let text = toml::to_string(config).map_err(|e| failed(&e))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_private(&fresh, text.as_bytes()).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|e| {
        // The half-written file is worthless, and its name is ours alone.
        let _ = std::fs::remove_file(&fresh);
        failed(&e)
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a server's address: `https://host:port`, or `host` and `host:port` which mean https and port 8443.
pub fn parse_server(text: &str) -> Result<Url, Failure> {
    let wrong =
        |why: &str| Failure::Usage(format!("{text:?} is not a server address ({why}); write https://drydock.example.com:8443"));
    let trimmed = text.trim();
    let mut url = if trimmed.contains("://") {
        Url::parse(trimmed).map_err(|e| wrong(&e.to_string()))?
    } else {
        let mut url = Url::parse(&format!("https://{trimmed}")).map_err(|e| wrong(&e.to_string()))?;
        if url.port().is_none() && !trimmed.trim_end_matches('/').ends_with(":443") && url.set_port(Some(DEFAULT_PORT)).is_err() {
            return Err(wrong("it has no host"));
        }
        url
    };
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err(wrong("without TLS the token could be read on the way")),
        other => return Err(wrong(&format!("{other} is not https"))),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it holds more than scheme, host, port and path"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Brings a fingerprint into its one form: 64 lower-case hex digits. Colons and capitals are what other tools print.
pub fn parse_fingerprint(text: &str) -> Result<String, Failure> {
    let plain: String = text.trim().chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    if plain.len() == 64 && plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(plain);
    }
    Err(Failure::Usage(format!(
        "the CA fingerprint has {} characters; it is the SHA-256 of the server's CA certificate, 64 hex digits, as drydockd prints it",
        plain.chars().count()
    )))
}

/// Reads the token from standard input when it is given as `-`.
pub fn token_argument(token: &str, world: &mut World) -> Result<String, Failure> {
    if token != "-" {
        return Ok(token.to_owned());
    }
    let mut text = String::new();
    world
        .input
        .by_ref()
        .take(TOKEN_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| Failure::Usage(format!("cannot read the token from standard input: {e}")))?;
    Ok(text.trim().to_owned())
}

fn check_token(token: String) -> Result<String, Failure> {
    // A token goes into a header; the message must not repeat it.
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::Usage("the token is empty or holds spaces or line breaks; paste it again".to_owned()));
    }
    Ok(token)
}

fn named_trust(args: &Connection, world: &World) -> Result<Option<Trust>, Failure> {
    if let Some(file) = &args.ca_file {
        let pem = std::fs::read_to_string(file)
            .map_err(|e| Failure::Usage(format!("cannot read the CA certificate {}: {e}", file.display())))?;
        return Ok(Some(Trust::Pem(pem)));
    }
    match args.ca_fingerprint.as_deref().or_else(|| world.var("DRYDOCK_CA_FINGERPRINT")) {
        Some(text) => Ok(Some(Trust::Fingerprint(parse_fingerprint(text)?))),
        None => Ok(None),
    }
}

/// The key of arguments or environment.
fn named_key(args: &Connection, world: &World) -> Result<Option<(String, PathBuf)>, Failure> {
    let id = args.api_key_id.clone().or_else(|| world.var("DRYDOCK_KEY_ID").map(str::to_owned));
    let file = args.api_key_file.clone().or_else(|| world.var("DRYDOCK_KEY_FILE").map(PathBuf::from));
    match (id, file) {
        (Some(id), Some(file)) => Ok(Some((id, file))),
        (None, None) => Ok(None),
        _ => Err(Failure::Usage("a key to sign with has a file and an id: give --api-key-file and --api-key-id".to_owned())),
    }
}

/// Decides which server to talk to. The file's token and CA are used for the file's server only: another `--server`
/// must not receive a token that was not meant for it.
pub fn target(args: &Connection, world: &mut World) -> Result<Target, Failure> {
    let file = load(&path(args, world)?, world)?;
    let named = args.server.as_deref().or_else(|| world.var("DRYDOCK_SERVER")).map(parse_server).transpose()?;
    let kept = file.server.as_deref().map(parse_server).transpose()?;
    let same = named.is_none() || named == kept;
    let Some(server) = named.or(kept) else {
        return Err(Failure::Unauthenticated(
            "no server is known; log in first: drydock login --server https://… --token - --ca-fingerprint …".to_owned(),
        ));
    };
    let named_key = named_key(args, world)?;
    let token = match args.token.clone().or_else(|| world.var("DRYDOCK_TOKEN").map(str::to_owned)) {
        Some(token) => Some(check_token(token_argument(&token, world)?)?),
        None if same && named_key.is_none() => file.token,
        None => None,
    };
    let kept_key = if same { file.key_id.zip(file.key_file) } else { None };
    let key = match named_key.or(kept_key) {
        Some((id, file)) if token.is_none() => Some(SigningKey::read(&file, &id)?),
        _ => None,
    };
    let trust = match named_trust(args, world)? {
        Some(trust) => trust,
        None if same => match (file.ca_pem, file.ca_fingerprint) {
            (Some(pem), _) => Trust::Pem(pem),
            (None, Some(text)) => Trust::Fingerprint(parse_fingerprint(&text)?),
            (None, None) => Trust::System,
        },
        None => Trust::System,
    };
    Ok(Target { server, token, key, trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_host_means_https_and_our_port() {
        let read = |t: &str| parse_server(t).map(|u| u.to_string()).map_err(|e| e.to_string());
        assert_eq!(read("drydock.example.com").as_deref(), Ok("https://drydock.example.com:8443/"));
        assert_eq!(read("10.0.0.1:9000/").as_deref(), Ok("https://10.0.0.1:9000/"));
        assert_eq!(read("https://d.example.com/ops/").as_deref(), Ok("https://d.example.com/ops"));
        assert_eq!(read("http://127.0.0.1:80").as_deref(), Ok("http://127.0.0.1/"));
        for bad in ["", "http://d.example.com", "ftp://d", "https://u:p@d", "https://d?x=1", "https://"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_are_read_as_other_tools_print_them() {
        let hex = "ab".repeat(32);
        assert_eq!(parse_fingerprint(&hex).ok(), Some(hex.clone()));
        assert_eq!(parse_fingerprint(&["AB"; 32].join(":")).ok(), Some(hex));
        assert!(parse_fingerprint("abcd").is_err());
    }

    #[test]
    fn the_file_round_trips_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a/b/config.toml");
        let config = Config { server: Some("https://d:8443/".into()), token: Some("ddt_x".into()), ..Config::default() };
        save(&path, &config).expect("saved");
        save(&path, &config).expect("saved again");
        assert_eq!(toml::from_str::<Config>(&std::fs::read_to_string(&path).expect("there")).expect("read"), config);
        #[cfg(unix)]
        assert!(!others_may_read(&path));
        assert_eq!(std::fs::read_dir(dir.path().join("a/b")).expect("there").count(), 1);
    }
}
