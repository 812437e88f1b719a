//! `export` and `import`: snapshots for servers without a network.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use drydock_control::{Control, ExportSources, Fate, ImportSources, ImportedSource, Place, Principal, SnapshotName};

use super::{Overrides, load_or_default, runtime};
use crate::config::Settings;
use crate::files::DataDir;
use crate::first_run::open_control_with_content;
use crate::pki::load_work_key;

/// Largest file of keys, bytes.
const KEY_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// What a directory of its own is not.
const TAR: &str = "tar";

/// What to export.
pub(super) struct Wanted {
    pub(super) sources: Vec<SnapshotName>,
    pub(super) since: Vec<SnapshotName>,
    pub(super) packages: bool,
}

pub(super) fn export(config: &Path, overrides: &Overrides, wanted: Wanted, out: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let Wanted { sources, since, packages } = wanted;
    let request = ExportSources { sources, since, packages, to: place(out, out.extension().is_some_and(|e| e == TAR))? };
    let done = runtime()?.block_on(async {
        let control = open(&settings).await?;
        anyhow::Ok(control.export_sources(&control.ctx(Principal::Server, "local"), &request).await?)
    })?;
    let mib = done.bytes.div_ceil(1024 * 1024);
    println!("Wrote {} ({} files, {mib} MiB):", out.display(), done.files);
    for snapshot in &done.snapshots {
        println!("  {} {} of {}", snapshot.source, snapshot.number, snapshot.created_at);
    }
    match (done.missing_packages, packages) {
        (0, _) => {}
        (missing, true) => println!(
            "Not in it: {missing} package files that are not on this server. Sync their sources with the policy \
             `immediate` to have them."
        ),
        (missing, false) => println!("Not in it: {missing} package files. Use --packages to have them in it."),
    }
    println!(
        "The other server imports it with this key. Take it there once, on another way than the exports: who can change \
         both can change everything."
    );
    done.public_keys.iter().for_each(|key| println!("{}", key.trim_end()));
    Ok(())
}

pub(super) fn import(config: &Path, overrides: &Overrides, keys: &[PathBuf], create: bool, from: &Path) -> anyhow::Result<()> {
    let settings = load_or_default(config, overrides)?;
    let keys = keys.iter().map(|path| read_key(path)).collect::<anyhow::Result<_>>()?;
    let is_file = std::fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?.is_file();
    let request = ImportSources { from: place(from, is_file)?, keys, create };
    let done = runtime()?.block_on(async {
        let control = open(&settings).await?;
        anyhow::Ok(control.import_sources(&control.ctx(Principal::Server, "local"), &request).await?)
    })?;
    println!("Imported {} (made {}, signed by {}).", from.display(), done.created_at, done.signed_by);
    done.sources.iter().for_each(told);
    Ok(())
}

fn told(source: &ImportedSource) {
    let name = &source.name;
    if source.created {
        println!("{name}: made.");
    }
    if let Some(parent) = &source.parent_left_out {
        println!("{name}: belongs to {parent} there, which is not here; it belongs to none.");
    }
    for (theirs, fate) in &source.snapshots {
        match fate {
            Fate::New(ours) => println!("{name}: snapshot {theirs} there is snapshot {ours} here."),
            Fate::Known(ours) => println!("{name}: snapshot {theirs} there is here already, snapshot {ours}."),
            Fate::Older => println!("{name}: snapshot {theirs} there is older than what was imported before; left out."),
        }
    }
    if source.missing_packages > 0 {
        println!("{name}: {} package files are not here; hosts cannot install them.", source.missing_packages);
    }
}

fn place(path: &Path, tar: bool) -> anyhow::Result<Place> {
    let path = std::path::absolute(path)?;
    Ok(if tar { Place::Tar(path) } else { Place::Directory(path) })
}

fn read_key(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open the key {shown}"))?;
    file.take(KEY_FILE_MAX_BYTES).read_to_string(&mut text).with_context(|| format!("cannot read the key {shown}"))?;
    Ok(text)
}

/// The operations with content, for the user whose files these are: what another one makes the server could not read.
async fn open(settings: &Settings) -> anyhow::Result<Control> {
    let dir = DataDir::new(&settings.data_dir);
    if !dir.database().exists() {
        bail!("there is no database in {}; set the server up first (drydockd init)", dir.path().display());
    }
    let owner = std::fs::metadata(dir.database())?.uid();
    if rustix::process::geteuid().as_raw() != owner {
        bail!("{} belongs to the user {owner}; run this as that user (runuser -u drydock -- drydockd ...)", dir.path().display());
    }
    Ok(open_control_with_content(settings, load_work_key(&dir)?).await?)
}
