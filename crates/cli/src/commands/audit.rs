//! `drydock audit`. The check of an export needs no server: it reads a file line by line and has the key.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use drydock_api::rest::{AuditRecord, AuditSeal, AuditStatus, DropAudit, DroppedAudit};
use drydock_domain::audit::chain::{Seal, hex, key_fingerprint, unhex};
use drydock_domain::audit::line::{LINE_MAX_BYTES, Line, parse};
use drydock_domain::audit::verify::{Broken, Summary, Verifier};
use reqwest::Method;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;

use super::{agreed, connect, document, list};
use crate::args::Connection;
use crate::args::audit::{AuditCommand, AuditSettingsArgs, DropAuditArgs, ExportAuditArgs, ListAuditArgs, VerifyAuditArgs};
use crate::client::{Client, Query};
use crate::failure::{Ending, Failure};
use crate::text::{clean, plural};
use crate::view;
use crate::world::World;

/// Bytes of an export read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Longest file with a key or a seal, bytes.
const SMALL_FILE_MAX_BYTES: u64 = 4096;

/// Runs `drydock audit`.
pub async fn run(command: AuditCommand, connection: &Connection, world: &mut World) -> Result<Ending, Failure> {
    if let AuditCommand::Verify(args) = &command {
        return verify(args, world);
    }
    let client = connect(connection, world)?;
    match command {
        AuditCommand::Verify(_) => {}
        AuditCommand::List(args) => listed(args, &client, world).await?,
        AuditCommand::Export(args) => export(&args, &client, world).await?,
        AuditCommand::Settings(args) => settings(args, &client, world).await?,
        AuditCommand::Seal => {
            let seal: AuditSeal = client.post(&["audit:seal"], &Query::new()).await?;
            writeln!(world.out, "{}", clean(&seal.line))?;
        }
        AuditCommand::Key => {
            let status: AuditStatus = client.get(&["audit-settings"], &Query::new()).await?;
            writeln!(world.out, "{}", clean(&status.key))?;
            world.out.flush()?;
            writeln!(world.err, "fingerprint {}", clean(&status.key_fingerprint))?;
        }
        AuditCommand::Drop(args) => return dropped(args, &client, world).await,
    }
    Ok(Ending::Done)
}

async fn listed(args: ListAuditArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let mut query = Query::new();
    query.extend(args.who.map(|v| ("who", v)));
    query.extend(args.operation.map(|v| ("operation", v)));
    query.extend(args.resource.map(|v| ("resource", v)));
    query.extend(args.outcome.map(|v| ("outcome", v.as_str().to_owned())));
    query.extend(args.request_id.map(|v| ("requestId", v)));
    query.extend(args.since.map(|v| ("since", v.at(now).to_string())));
    query.extend(args.until.map(|v| ("until", v.at(now).to_string())));
    let rows = client.list::<AuditRecord>(&["audit"], &query, args.list.limit).await?;
    list(&rows, "audit records", args.list.output, world, |items| view::audit::records(items, now))
}

async fn export(args: &ExportAuditArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let mut query = Query::new();
    query.extend(args.since.map(|v| ("since", v.at(now).to_string())));
    query.extend(args.until.map(|v| ("until", v.at(now).to_string())));
    let unwritable = |e: std::io::Error| Failure::Usage(format!("cannot write {}: {e}", args.file.display()));
    if args.file.as_os_str() == "-" {
        client.download(&["audit:export"], &query, &mut world.out).await?;
        return Ok(world.out.flush()?);
    }
    let mut file = File::create(&args.file).map_err(unwritable)?;
    let bytes = client.download(&["audit:export"], &query, &mut file).await?;
    file.sync_all().map_err(unwritable)?;
    Ok(writeln!(world.err, "{} bytes in {}; check them with: drydock audit verify", bytes, args.file.display())?)
}

async fn settings(args: AuditSettingsArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut status: AuditStatus = client.get(&["audit-settings"], &Query::new()).await?;
    if !args.reads.is_empty() || args.keep_days.is_some() {
        status.settings.reads.extend(args.reads);
        if let Some(days) = args.keep_days {
            status.settings.keep_days = days.0;
        }
        status = client.send(Method::PUT, &["audit-settings"], &status.settings, &[]).await?;
    }
    if document(&status, args.output, world)? {
        return Ok(());
    }
    Ok(world.out.write_all(view::audit::status(&status, (world.now)()).as_bytes())?)
}

async fn dropped(args: DropAuditArgs, client: &Client, world: &mut World) -> Result<Ending, Failure> {
    let before = args.before.at((world.now)());
    let question = format!("Drop all sealed audit records from before {before}? They cannot be brought back.");
    if !args.yes && !agreed(&question, world)? {
        writeln!(world.err, "nothing was dropped")?;
        return Ok(Ending::Left);
    }
    let gone: DroppedAudit = client.send(Method::POST, &["audit:drop"], &DropAudit { before }, &[]).await?;
    writeln!(world.out, "{} dropped.", plural(usize::try_from(gone.records).unwrap_or(usize::MAX), "record"))?;
    Ok(Ending::Done)
}

/// What the check of an export found, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seals: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

fn verify(args: &VerifyAuditArgs, world: &mut World) -> Result<Ending, Failure> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    let pinned = args.fingerprint.as_ref().map(|f| f.trim().to_ascii_lowercase());
    let kept = args.seal.as_deref().map(read_seal).transpose()?;
    let signed = |seal: &Seal| {
        key.is_none_or(|key| seal.key == key)
            && pinned.as_ref().is_none_or(|pinned| *pinned == key_fingerprint(&seal.key))
            && UnparsedPublicKey::new(&ED25519, seal.key).verify(&seal.signed_bytes(), &seal.signature).is_ok()
    };
    if let Some(kept) = kept.filter(|k| !signed(k)) {
        let whose = key_fingerprint(&kept.key);
        return Err(Failure::Usage(format!("the kept seal is not signed by this key, but says it is by {whose}")));
    }
    let checked = checked(args, Verifier::new(&signed).keeping(kept), world)?;
    let older = matches!((&checked, kept), (Ok(good), Some(_)) if !good.kept_met);
    if older {
        let text = "note: the kept seal is older than this export's beginning, so it proves nothing here";
        writeln!(world.err, "{text}")?;
    }
    told(args, checked, world)
}

fn told(args: &VerifyAuditArgs, checked: Result<Summary, Broken>, world: &mut World) -> Result<Ending, Failure> {
    let verdict = match &checked {
        Ok(good) => Verdict {
            ok: true,
            records: Some(good.records),
            first: Some(good.first),
            last: Some(good.last),
            seals: Some(good.seals),
            wrong: None,
            line: None,
            record: None,
            detail: None,
        },
        Err(broken) => Verdict {
            ok: false,
            records: None,
            first: None,
            last: None,
            seals: None,
            wrong: Some(broken.wrong.as_str()),
            line: Some(broken.line),
            record: broken.seq,
            detail: Some(broken.detail.clone()),
        },
    };
    if !document(&verdict, args.output, world)? {
        match &checked {
            Ok(good) => writeln!(
                world.out,
                "Whole and unchanged: records {} to {} ({}), {}, exported {}, last hash {}.",
                good.first,
                good.last,
                good.records,
                plural(usize::try_from(good.seals).unwrap_or(usize::MAX), "seal"),
                good.exported_at,
                hex(&good.hash)
            )?,
            Err(broken) => writeln!(
                world.out,
                "NOT as the server wrote it, line {}: {}: {}",
                broken.line,
                broken.wrong.as_str(),
                clean(&broken.detail)
            )?,
        }
    }
    Ok(if checked.is_ok() { Ending::Done } else { Ending::JobFailed })
}

fn checked(args: &VerifyAuditArgs, mut verifier: Verifier<'_>, world: &mut World) -> Result<Result<Summary, Broken>, Failure> {
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read {}: {e}", args.file.display()));
    let input: Box<dyn Read + '_> = if args.file.as_os_str() == "-" {
        Box::new(world.input.by_ref())
    } else {
        Box::new(File::open(&args.file).map_err(unreadable)?)
    };
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte more than the longest line of ours: what does not end there is none.
        let mut bounded = input.by_ref().take(LINE_MAX_BYTES as u64 + 1);
        if bounded.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        if !verifier.line(line.strip_suffix(b"\n").unwrap_or(&line)) {
            break;
        }
    }
    Ok(verifier.finish())
}

fn small_file(path: &Path) -> Result<String, Failure> {
    let unreadable = |e: std::io::Error| Failure::Usage(format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    File::open(path).map_err(unreadable)?.take(SMALL_FILE_MAX_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn read_key(path: &Path) -> Result<[u8; 32], Failure> {
    let text = small_file(path)?;
    let usage =
        || Failure::Usage(format!("{} holds no key: it should be 64 hexadecimal digits, from drydock audit key", path.display()));
    unhex(text.trim()).ok_or_else(usage)
}

fn read_seal(path: &Path) -> Result<Seal, Failure> {
    let text = small_file(path)?;
    match parse(text.trim().as_bytes(), &mut Vec::new()) {
        Ok(Line::Seal(seal)) => Ok(seal),
        _ => Err(Failure::Usage(format!("{} holds no seal: it should be one line, from drydock audit seal", path.display()))),
    }
}
