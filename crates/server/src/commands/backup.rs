//! `backup` and `restore`.

use std::path::Path;

use jiff::Timestamp;

use super::{Overrides, load, load_or_default, runtime};
use crate::files::DataDir;
use crate::first_run::open_control;
use crate::pki::load_work_key;

pub(super) fn backup(config: &Path, overrides: &Overrides, file: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let dir = DataDir::new(&settings.data_dir);
    let config = config.exists().then_some(config);
    let manifest = runtime()?.block_on(async {
        let control = open_control(&settings, load_work_key(&dir)?).await?;
        anyhow::Ok(crate::backup::write(&control, &dir, config, file, Timestamp::now()).await?)
    })?;
    println!("Wrote {} ({} files). It holds the CA's key: keep it where keys are kept.", file.display(), manifest.files.len());
    Ok(())
}

pub(super) fn restore(config: &Path, overrides: &Overrides, file: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let dir = DataDir::new(&settings.data_dir);
    let manifest = crate::backup::restore(file, &dir, config)?;
    println!("Restored {} (made {} by {}).", dir.path().display(), manifest.created_at, manifest.server_version);
    // The restored configuration may name another directory than the one it went to.
    let now = load(config, &Overrides::default()).map(|s| s.data_dir);
    if now.as_ref().is_ok_and(|d| d == dir.path()) {
        println!("Start the server: systemctl start drydockd");
    } else {
        println!("Before you start the server, set data_dir = {:?} in {}.", dir.path(), config.display());
    }
    Ok(())
}
