//! `drydock source` and `drydock snapshot`.

use std::io::{Read, Write};
use std::path::Path;

use drydock_api::rest::{ContentJob, Snapshot, SnapshotDetail, SnapshotDiff, Source};
use drydock_domain::source::filter::{FilterAction, FilterRule, Selection};
use drydock_domain::source::spec::{DownloadPolicy, Origin, SignatureCheck, SourceSpec, Upstream};
use drydock_domain::source::unit::{Format, Unit};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::content_job::{Wait, wait};
use super::{document, list, print_table};
use crate::args::source::{
    CreateSourceArgs, DiffArgs, EditSourceArgs, Policy, Signatures, SnapshotCommand, SourceCommand, SourceFormat, SyncArgs,
    UploadArgs,
};
use crate::client::{Client, Query};
use crate::failure::{Ending, Failure};
use crate::text::clean;
use crate::view;
use crate::world::World;

/// Largest specification or key file, bytes: sixteen keys of 64 KiB fit.
const FILE_MAX_BYTES: u64 = 2 * 1024 * 1024;

/// Runs `drydock source`.
pub async fn run(command: SourceCommand, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let now = (world.now)();
    match command {
        SourceCommand::Create(args) => return create(*args, client, world).await,
        SourceCommand::Edit(args) => edit(args, client, world).await?,
        SourceCommand::List(args) => {
            let mut query = Query::new();
            query.extend(args.format_of.map(|f| ("format", format_of(f).as_str().to_owned())));
            query.extend(args.name.map(|v| ("q", v)));
            let rows = client.list::<Source>(&["sources"], &query, args.list.limit).await?;
            list(&rows, "software sources", args.list.output, world, |items| view::source::sources(items, now))?;
        }
        SourceCommand::Show(args) => {
            let source: Source = client.get(&["sources", &args.source], &Query::new()).await?;
            if !document(&source, args.output, world)? {
                world.out.write_all(view::source::source(&source, now).as_bytes())?;
            }
        }
        SourceCommand::Sync(args) => return sync(args, client, world).await,
        SourceCommand::Upload(args) => return upload(args, client, world).await,
        SourceCommand::Packages(args) => {
            let query = args.name.map(|v| ("q", v)).into_iter().collect();
            let rows = client.list::<Unit>(&["sources", &args.source, "packages"], &query, args.list.limit).await?;
            list(&rows, "packages", args.list.output, world, view::source::units)?;
        }
        SourceCommand::Move(args) => super::calendar::moved("sources", "Software source", &args, client, world).await?,
        SourceCommand::Delete(args) => {
            client.delete(&["sources", &args.source], &[]).await?;
            writeln!(world.out, "Software source {} is deleted.", clean(&args.source))?;
        }
    }
    Ok(Ending::Done)
}

/// Runs `drydock snapshot`.
pub async fn snapshot(command: SnapshotCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        SnapshotCommand::List(args) => {
            let path = ["sources", args.source.as_str(), "snapshots"];
            let rows = client.list::<Snapshot>(&path, &Query::new(), args.list.limit).await?;
            list(&rows, "snapshots", args.list.output, world, |items| view::source::snapshots(items, now))
        }
        SnapshotCommand::Show(args) => {
            let path = ["sources", args.source.as_str(), "snapshots", args.snapshot.as_str()];
            let found: SnapshotDetail = client.get(&path, &Query::new()).await?;
            if !document(&found, args.output, world)? {
                world.out.write_all(view::source::snapshot(&found, now).as_bytes())?;
            }
            Ok(())
        }
        SnapshotCommand::Packages(args) => {
            let query = args.name.map(|v| ("q", v)).into_iter().collect();
            let path = ["sources", args.source.as_str(), "snapshots", args.snapshot.as_str(), "units"];
            let rows = client.list::<Unit>(&path, &query, args.list.limit).await?;
            list(&rows, "packages", args.list.output, world, view::source::units)
        }
        SnapshotCommand::Diff(args) => diff(args, client, world).await,
    }
}

fn format_of(format: SourceFormat) -> Format {
    match format {
        SourceFormat::Rpm => Format::Rpm,
        SourceFormat::Deb => Format::Deb,
    }
}

/// Reads a small file that the operator names.
fn read(file: &Path, what: &str, world: &mut World) -> Result<String, Failure> {
    let mut text = String::new();
    let done = if file.as_os_str() == "-" {
        world.input.by_ref().take(FILE_MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(FILE_MAX_BYTES).read_to_string(&mut text))
    };
    done.map_err(|e| Failure::Usage(format!("cannot read {what}, {}: {e}", file.display())))?;
    Ok(text)
}

/// Reads a document of the server's own form; errors name line and column.
fn read_spec<T: DeserializeOwned>(file: &Path, what: &str, world: &mut World) -> Result<T, Failure> {
    let text = read(file, what, world)?;
    let parsed = if file.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|e| e.to_string())
    } else {
        serde_saphyr::from_str(&text).map_err(|e| e.to_string())
    };
    parsed.map_err(|e| Failure::Usage(format!("{} is not {what}: {}", file.display(), e.trim_start_matches("error: "))))
}

async fn create(args: CreateSourceArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let spec = spec(&args, client, world).await?;
    let made: Source = client.send(Method::POST, &["sources"], &spec, &[]).await?;
    if args.sync {
        return follow_sync(&made.spec.name, false, args.output, client, world).await;
    }
    if !document(&made, args.output, world)? {
        world.out.write_all(view::source::source(&made, (world.now)()).as_bytes())?;
        if matches!(made.spec.origin, Origin::Upstream(_)) {
            writeln!(world.err, "\nfetch it now: drydock source sync {}", clean(&made.spec.name))?;
        }
    }
    Ok(Ending::Done)
}

/// The specification that the flags, or the file, say.
async fn spec(args: &CreateSourceArgs, client: &Client, world: &mut World) -> Result<SourceSpec, Failure> {
    if let Some(file) = &args.file {
        let mut spec: SourceSpec = read_spec(file, "the software source of --file", world)?;
        spec.name.clone_from(&args.name);
        return Ok(spec);
    }
    let mut keys = Vec::new();
    for file in &args.key_file {
        keys.push(read(file, "the key of --key-file", world)?);
    }
    let (format, origin) = origin(args, client, world).await?;
    let signatures = match args.signatures {
        Some(Signatures::Required) => SignatureCheck::Required,
        Some(Signatures::Optional) => SignatureCheck::Optional,
        Some(Signatures::None) => SignatureCheck::None,
        // apt upstreams always sign: with a key at hand nothing less is right.
        None if format == Format::Deb && !keys.is_empty() => SignatureCheck::Required,
        None => SignatureCheck::Optional,
    };
    Ok(SourceSpec {
        name: args.name.clone(),
        display_name: String::new(),
        description: args.description.clone(),
        format,
        origin,
        parent: args.parent.clone(),
        architectures: args.arch.clone(),
        gpgcheck: !args.no_gpgcheck,
        keys,
        signatures,
        policy: match args.policy {
            Some(Policy::Immediate) => DownloadPolicy::Immediate,
            Some(Policy::MetadataOnly) => DownloadPolicy::MetadataOnly,
            Some(Policy::OnDemand) | None => DownloadPolicy::OnDemand,
        },
        selection: selection(args),
        sync_interval_secs: args.every,
        keep_snapshots: None,
        priority: None,
        module_hotfixes: false,
        compartment: args.compartment.clone(),
    })
}

fn selection(args: &CreateSourceArgs) -> Selection {
    let rule = |action| {
        move |name: &String| FilterRule {
            action,
            name: Some(name.clone()),
            source: None,
            arch: Vec::new(),
            version: Vec::new(),
            advisory: None,
            module: None,
        }
    };
    let included = args.include.iter().map(rule(FilterAction::Include));
    Selection { rules: included.chain(args.exclude.iter().map(rule(FilterAction::Exclude))).collect(), newest: args.newest }
}

async fn origin(args: &CreateSourceArgs, client: &Client, world: &mut World) -> Result<(Format, Origin), Failure> {
    if let Some(format) = args.local {
        return Ok((format_of(format), Origin::Local { suite: "local".to_owned() }));
    }
    if let Some(first) = args.from.first() {
        // A selection has the format of what it selects from.
        let source: Source = client.get(&["sources", first], &Query::new()).await?;
        return Ok((source.spec.format, Origin::Sources { from: args.from.clone() }));
    }
    let mut pem = |file: &Option<std::path::PathBuf>, what: &str| match file {
        Some(file) => read(file, what, world).map(Some),
        None => Ok(None),
    };
    let upstream = Upstream {
        urls: if args.rpm.is_empty() { args.deb.clone() } else { args.rpm.clone() },
        suite: args.suite.clone(),
        components: args.component.clone(),
        ca_pem: pem(&args.upstream_ca, "the certificates of --upstream-ca")?,
        client_certificate_pem: pem(&args.client_certificate, "the certificate of --client-certificate")?,
        client_key_pem: pem(&args.client_key, "the key of --client-key")?,
        proxy: args.proxy.clone(),
        ..Upstream::default()
    };
    let format = if args.rpm.is_empty() { Format::Deb } else { Format::Rpm };
    Ok((format, Origin::Upstream(upstream)))
}

async fn edit(args: EditSourceArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let spec: SourceSpec = read_spec(&args.file, "the software source of --file", world)?;
    let found: Source = client.get(&["sources", &args.source], &Query::new()).await?;
    let headers = [("If-Match", format!("\"{}\"", found.etag.trim_matches('"')))];
    let now: Source = client.send(Method::PUT, &["sources", &args.source], &spec, &headers).await?;
    Ok(world.out.write_all(view::source::source(&now, (world.now)()).as_bytes())?)
}

async fn sync(args: SyncArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    follow_sync(&args.source, args.no_wait, args.output, client, world).await
}

async fn follow_sync(
    source: &str,
    no_wait: bool,
    output: crate::args::Output,
    client: &Client,
    world: &mut World,
) -> Result<Ending, Failure> {
    let verb = format!("{source}:sync");
    let job: ContentJob = client.send(Method::POST, &["sources", &verb], &json!({}), &[]).await?;
    if no_wait {
        if !document(&job, output, world)? {
            writeln!(world.out, "Content job {}: drydock job show {} --follow", job.id, job.id)?;
        }
        return Ok(Ending::Done);
    }
    match wait(job.id, client, world).await? {
        Wait::Left => Ok(Ending::Left),
        Wait::Final(done) => {
            if !document(&done, output, world)? {
                world.out.write_all(view::content_job::job(&done, (world.now)()).as_bytes())?;
            }
            Ok(view::content_job::ending(&done.job))
        }
    }
}

async fn upload(args: UploadArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    for file in &args.files {
        let name = file.file_name().and_then(|n| n.to_str());
        let name = name.ok_or_else(|| Failure::Usage(format!("{} has no file name", file.display())))?;
        let path = ["sources", args.source.as_str(), "packages"];
        let job: ContentJob = client.upload(&path, &vec![("fileName", name.to_owned())], file).await?;
        match wait(job.id, client, world).await? {
            Wait::Left => return Ok(Ending::Left),
            Wait::Final(done) => {
                writeln!(world.out, "{}: {} {}", clean(name), done.job.state.as_str(), clean(&done.job.message))?;
                if view::content_job::ending(&done.job) != Ending::Done {
                    return Ok(Ending::JobFailed);
                }
            }
        }
    }
    Ok(Ending::Done)
}

async fn diff(args: DiffArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let path = format!("{}:diff", args.source);
    let query = vec![("from", args.from), ("to", args.to), ("limit", args.limit.to_string())];
    let found: SnapshotDiff = client.get(&["sources", &path], &query).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    let counts = found.counts;
    writeln!(
        world.out,
        "{} {} → {}: {} added, {} removed, {} with other metadata",
        clean(&found.source),
        found.from.number,
        found.to.number,
        counts.added,
        counts.removed,
        counts.changed
    )?;
    if !found.changes.is_empty() {
        print_table(view::source::changes(&found.changes), world)?;
    }
    if found.truncated {
        world.out.flush()?;
        writeln!(world.err, "more changes exist; --limit N shows more")?;
    }
    Ok(())
}
