//! `backup` and `restore`.

use std::path::Path;

use jiff::Timestamp;

use super::{Overrides, load, load_or_default, runtime};
use crate::backup::Portion;
use crate::files::DataDir;
use crate::first_run::open_control;
use crate::pki::load_work_key;

pub(super) fn backup(config: &Path, overrides: &Overrides, portion: Option<Portion>, file: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let dir = DataDir::new(&settings.data_dir);
    let config = config.exists().then_some(config);
    let content = portion.map(|portion| (settings.content_dir.as_path(), portion));
    let written = runtime()?.block_on(async {
        let control = open_control(&settings, load_work_key(&dir)?).await?;
        anyhow::Ok(crate::backup::write(&control, &dir, config, content, file, Timestamp::now()).await?)
    })?;
    let files = written.manifest.files.len();
    println!("Wrote {} ({files} files). It holds the CA's key: keep it where keys are kept.", file.display());
    if let Some(sum) = written.content.filter(|sum| sum.files > 0) {
        println!("Of the content of software sources {} are in it.", amount(sum.files, sum.bytes));
    }
    let content_dir = settings.content_dir.display();
    match portion {
        Some(Portion::Everything) => {}
        Some(Portion::Snapshots) => left_out(&settings.content_dir),
        None => println!(
            "Not in it: the content directory {content_dir}. Mirrored sources can be synced again, but only as their \
             upstreams are then; frozen snapshots and uploaded packages cannot. Copy it after the backup."
        ),
    }
    Ok(())
}

fn amount(files: u64, bytes: u64) -> String {
    format!("{files} files, {} MiB", bytes.div_ceil(1024 * 1024))
}

/// Says which package files are not in a backup, and what that means.
fn left_out(content_dir: &Path) {
    match crate::backup::package_files(content_dir) {
        Ok((0, _)) => {}
        Ok((files, bytes)) => println!(
            "Not in it: package files ({} in {}). Mirrored ones are fetched again when hosts ask, as long as their \
             upstreams have them; uploaded ones are lost. Use --packages, or copy that directory after the backup: its \
             files never change.",
            amount(files, bytes),
            content_dir.join("blobs").display()
        ),
        Err(error) => println!("Not in it: package files in {} ({error}).", content_dir.display()),
    }
}

pub(super) fn restore(config: &Path, overrides: &Overrides, file: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let dir = DataDir::new(&settings.data_dir);
    let restored = crate::backup::restore(file, &dir, &settings.content_dir, config)?;
    let manifest = restored.manifest;
    println!("Restored {} (made {} by {}).", dir.path().display(), manifest.created_at, manifest.server_version);
    match restored.content {
        Some(sum) => println!("Restored {} ({}).", settings.content_dir.display(), amount(sum.files, sum.bytes)),
        None => println!(
            "The backup holds no content of software sources: bring {} back too, or sync the sources again.",
            settings.content_dir.display()
        ),
    }
    // The restored configuration may name another directory than the one it went to.
    let now = load(config, &Overrides::default()).map(|s| s.data_dir);
    if now.as_ref().is_ok_and(|d| d == dir.path()) {
        println!("Start the server: systemctl start drydockd");
    } else {
        println!("Before you start the server, set data_dir = {:?} in {}.", dir.path(), config.display());
    }
    Ok(())
}
