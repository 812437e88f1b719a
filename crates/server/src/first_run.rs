//! The data directory of a daemon: made whole at the first run, read strictly afterwards. A damaged or missing key is
//! never replaced in silence, because every host trusts the old one.

use drydock_control::content::Content;
use drydock_control::content::openpgp::RepositoryKeys;
use drydock_control::records::PageQuery;
use drydock_control::store::{Location, Store};
use drydock_control::{Config, Control, PictureFile, Principal, Secret, SystemClock, WorkKey};
use drydock_domain::access::Role;
use jiff::Timestamp;

use crate::config::Settings;
use crate::files::{DataDir, DataDirLock, LockError};
use crate::pki::{Authority, PkiError, ServerIdentity, create_work_key, ensure_secret_key, ensure_server_cert, load_work_key};

/// Name of the first access token.
const FIRST_TOKEN_NAME: &str = "administrator";

/// A data directory that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not creatable.
    #[error("cannot create {path}; check owner and mode of the directory above it")]
    Create {
        /// The data directory or the database.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// In use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The database.
    #[error("cannot open the database {path}")]
    Store {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: drydock_control::store::StoreError,
    },
    /// The content of software sources.
    #[error("cannot open the content directory {path}; check its owner and mode, and that its disk is there")]
    Content {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keys that sign repositories.
    #[error("cannot open the keys that sign repositories")]
    RepositoryKeys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is content that was signed, and the keys are gone.
    #[error("{path} is missing although content was published with these keys; restore it from a backup")]
    RepositoryKeysLost {
        /// Where they should be.
        path: std::path::PathBuf,
    },
    /// The first access token.
    #[error("cannot make the first access token")]
    Token(#[source] drydock_control::Error),
}

/// An open data directory.
pub struct Opened {
    /// Held as long as the daemon lives.
    pub lock: DataDirLock,
    /// The CA.
    pub ca: Authority,
    /// The port's certificate.
    pub identity: ServerIdentity,
    /// The operations.
    pub control: Control,
    /// The administrator's token; only at the first run.
    pub admin_token: Option<Secret>,
}

/// Opens the data directory, making what the first run makes.
pub async fn open(settings: &Settings) -> Result<Opened, OpenError> {
    let dir = DataDir::new(&settings.data_dir);
    dir.create().map_err(|source| OpenError::Create { path: settings.data_dir.clone(), source })?;
    let lock = dir.lock()?;
    let now = Timestamp::now();
    let (ca, work_key) = keys(&dir, now)?;
    let identity = ensure_server_cert(&dir, &ca, &certificate_names(settings), now)?;
    let control = open_control(settings, work_key).await?;
    let (content, repository_keys) = open_content(settings, &dir, now)?;
    let picture = PictureFile { path: dir.fleet_picture(), build: build() };
    let control = control.with_content(content, repository_keys).with_picture_file(picture);
    let control = control.with_secret_key(ensure_secret_key(&dir)?);
    let admin_token = first_token(&control).await.map_err(OpenError::Token)?;
    Ok(Opened { lock, ca, identity, control, admin_token })
}

/// Which program this is: another one may decide otherwise, and then takes up nothing that this one kept.
fn build() -> String {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let file = file.and_then(|file| Ok((file.len(), file.modified()?)));
    match file {
        Ok((bytes, modified)) => format!("{} {bytes} {modified:?}", crate::VERSION),
        Err(_) => crate::VERSION.to_owned(),
    }
}

/// The operations over the data directory's database, without the port: for local commands.
pub async fn open_control(settings: &Settings, work_key: WorkKey) -> Result<Control, OpenError> {
    let path = DataDir::new(&settings.data_dir).database();
    let failed = |source| OpenError::Store { path: path.clone(), source };
    private_file(&path).map_err(|source| OpenError::Create { path: path.clone(), source })?;
    let store = Store::open(&Location::Sqlite(path.clone())).await.map_err(failed)?;
    let config = Config { no_agent_after_secs: i64::from(settings.no_agent_after_secs), ..Config::default() };
    Ok(Control::new(store, config, work_key, std::sync::Arc::new(SystemClock)))
}

/// The same with content: for local commands that read or make it while the daemon runs, or while it does not.
pub async fn open_control_with_content(settings: &Settings, work_key: WorkKey) -> Result<Control, OpenError> {
    let control = open_control(settings, work_key).await?;
    let (content, keys) = open_content(settings, &DataDir::new(&settings.data_dir), Timestamp::now())?;
    Ok(control.with_content(content, keys))
}

/// The content directory and the keys that sign what is published from it.
fn open_content(settings: &Settings, dir: &DataDir, now: Timestamp) -> Result<(Content, RepositoryKeys), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = settings.content_dir.clone();
    let create = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    create.map_err(|source| OpenError::Create { path: path.clone(), source })?;
    let keys = dir.repository_keys();
    if !keys.exists() && has_entries(&path.join("publications")) {
        return Err(OpenError::RepositoryKeysLost { path: keys });
    }
    let keys = RepositoryKeys::load_or_create(&keys, now).map_err(|e| OpenError::RepositoryKeys(Box::new(e)))?;
    let content = Content::open(&path).map_err(|e| OpenError::Content { path, source: Box::new(e) })?;
    Ok((content, keys))
}

fn has_entries(dir: &std::path::Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// SQLite gives its other files the mode of the first one; left alone it would make that readable for everybody.
fn private_file(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(crate::files::SECRET_MODE).open(path).map(drop)
}

/// The database is made last: as long as it is absent nothing depends on the keys, and a first run that was
/// interrupted begins anew.
fn keys(dir: &DataDir, now: Timestamp) -> Result<(Authority, WorkKey), PkiError> {
    if dir.database().exists() {
        return Ok((Authority::load(dir)?, load_work_key(dir)?));
    }
    let ca = if dir.ca_cert().exists() { Authority::load(dir)? } else { Authority::create(dir, now)? };
    let work_key = if dir.work_key().exists() { load_work_key(dir)? } else { create_work_key(dir)? };
    Ok((ca, work_key))
}

/// Nobody can sign in before the first token is there: a first run that died before it showed the token shows one at
/// the next start.
async fn first_token(control: &Control) -> drydock_control::Result<Option<Secret>> {
    let ctx = control.ctx(Principal::Server, "first-run");
    let any = control.list_access_tokens(&ctx, None, &PageQuery { limit: Some(1), ..PageQuery::default() }).await?;
    if !any.items.is_empty() {
        return Ok(None);
    }
    let (_, secret) = control.bootstrap_admin_token(FIRST_TOKEN_NAME, Role::Administrator).await?;
    Ok(Some(secret))
}

/// The machine's host name, when it can stand in a certificate.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    crate::config::is_name(&name).then_some(name)
}

/// Names in the server's certificate: the configured ones, the host name, and the loopback.
pub(crate) fn certificate_names(settings: &Settings) -> Vec<String> {
    let mut names = settings.names.clone();
    names.extend(host_name());
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if !settings.listen.ip().is_unspecified() {
        names.push(settings.listen.ip().to_string());
    }
    names
}

/// How hosts and people reach the server that listens on `port`.
pub fn public_url(settings: &Settings, port: u16) -> String {
    let configured = settings.names.iter().find(|n| !n.starts_with("*.")).cloned();
    let listens_on_one = !settings.listen.ip().is_unspecified();
    let name = configured
        .or_else(|| listens_on_one.then(|| settings.listen.ip().to_string()))
        .or_else(host_name)
        .unwrap_or_else(|| "localhost".to_owned());
    match name.parse::<std::net::Ipv6Addr>() {
        Ok(v6) => format!("https://[{v6}]:{port}"),
        Err(_) => format!("https://{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_address_is_one_that_others_can_reach() {
        let mut settings = Settings::on_loopback("/d".into()).expect("valid");
        assert_eq!(public_url(&settings, 8443), "https://127.0.0.1:8443");
        settings.names = vec!["*.example".into(), "drydock.example".into(), "10.0.0.1".into()];
        assert_eq!(public_url(&settings, 8443), "https://drydock.example:8443");
        settings.names = vec!["2001:db8::1".into()];
        assert_eq!(public_url(&settings, 443), "https://[2001:db8::1]:443");
        settings.names.clear();
        settings.listen = "0.0.0.0:8443".parse().expect("an address");
        assert!(!public_url(&settings, 8443).contains("0.0.0.0"), "nobody reaches that");
        let names = certificate_names(&settings);
        assert!(names.contains(&"localhost".to_owned()) && !names.contains(&"0.0.0.0".to_owned()), "{names:?}");
    }
}
