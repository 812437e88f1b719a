//! `init` and `check-config`.

use std::path::Path;

use anyhow::{Context, bail};

use super::{Overrides, load, runtime, settings};
use crate::config::{Settings, default_config, fragment::Fragment};
use crate::files::{DataDir, PUBLIC_MODE, write_atomic};
use crate::first_run;

/// Makes everything the first run makes, without serving.
pub(super) fn init(config: &Path, overrides: &Overrides, names: &[String]) -> anyhow::Result<()> {
    let settings = match config.exists() {
        true if names.is_empty() => load(config, overrides)?,
        true => bail!("{} exists; add the names to it instead of giving --name", config.display()),
        false => write_default(config, overrides, names)?,
    };
    crate::logging::start(&settings);
    let opened = runtime()?.block_on(first_run::open(&settings))?;
    let url = first_run::public_url(&settings, settings.listen.port());
    match opened.admin_token {
        Some(token) => print!("{}", welcome(&url, &opened.ca.fingerprint(), token.expose())),
        None => bail!(
            "{} is set up already (CA fingerprint {}); for a new token: drydockd admin-token",
            settings.data_dir.display(),
            opened.ca.fingerprint()
        ),
    }
    Ok(())
}

/// Writes the commented configuration and reads it back.
pub(super) fn write_default(config: &Path, overrides: &Overrides, names: &[String]) -> anyhow::Result<Settings> {
    let mut chosen = settings(Fragment { names: Some(names.to_vec()), ..Fragment::default() }, overrides)?;
    chosen.names = names.to_vec();
    if let Some(parent) = config.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let text = default_config(&chosen.data_dir, overrides.listen.as_deref(), names);
    write_atomic(config, text.as_bytes(), PUBLIC_MODE).with_context(|| format!("cannot write {}", config.display()))?;
    load(config, overrides)
}

/// What the first run tells: once, because the token is not kept.
pub(super) fn welcome(url: &str, ca_fingerprint: &str, token: &str) -> String {
    format!(
        "Drydock is set up.\n\n  Console and API      {url}\n  CA fingerprint       {ca_fingerprint}\n  \
         Administrator token  {token}\n\nThe token is shown only now: keep it. Sign in to the console with it, or:\n  \
         drydock login --server {url} --ca-fingerprint {ca_fingerprint} --token {token}\n"
    )
}

/// Says whether the configuration is right, and what the server would be.
pub(super) fn check(config: &Path) -> anyhow::Result<()> {
    let settings = load(config, &Overrides::default())?;
    println!("{} is right.", config.display());
    println!("  Console and API  {}", first_run::public_url(&settings, settings.listen.port()));
    println!("  Data             {}", settings.data_dir.display());
    println!("  Content          {}", settings.content_dir.display());
    let dir = DataDir::new(&settings.data_dir);
    if dir.ca_cert().exists() {
        println!("  CA fingerprint   {}", crate::pki::fingerprint_of(&dir)?);
    }
    Ok(())
}
