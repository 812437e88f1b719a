//! `admin-token`: recovery for who is locked out. Whoever may read the data directory may do anything already.

use std::path::Path;

use anyhow::bail;
use drydock_domain::access::Role;

use super::{Overrides, load_or_default, runtime};
use crate::files::DataDir;
use crate::first_run::open_control;
use crate::pki::load_work_key;

pub(super) fn admin_token(config: &Path, overrides: &Overrides, role: Role, name: &str) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let dir = DataDir::new(&settings.data_dir);
    if !dir.database().exists() {
        bail!("there is no database in {}; set the server up first (drydockd init)", dir.path().display());
    }
    let secret = runtime()?.block_on(async {
        let control = open_control(&settings, load_work_key(&dir)?).await?;
        let (_, secret) = control.bootstrap_admin_token(name, role).await?;
        anyhow::Ok(secret)
    })?;
    println!("{}", secret.expose());
    Ok(())
}
