//! Feeds of advisories and vulnerabilities: imported from files, listed, deleted. An import reads the whole file first and
//! stores only what it says otherwise than before. Absent on purpose: reading the forms of feeds (room `content`), and
//! fetching them (operators bring the files).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use drydock_content::feeds::{self, FeedItem, FeedKind, Hints};
use drydock_domain::access::Permission;
use drydock_domain::advisory::report::{Feed, FeedDetail, FeedFinding, ImportReport};
use drydock_domain::advisory::{Advisory, Product, Statement, Vulnerability};
use drydock_domain::ids::FeedId;
use drydock_domain::source::name::check_name;
use drydock_domain::validate::Problems;
use drydock_store::advisory_records::{FeedPart, FeedRecord};
use drydock_store::{advisories, advisory_feeds, commit, feed_chunks};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::act::Act;
use crate::Control;
use crate::content_part::blocking;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Feeds of one server, count: lists of them are not paged.
const FEEDS_MAX: usize = 500;
/// Rows written in one transaction, count: other writers wait no longer than for that many.
const ROWS_AT_ONCE: usize = 500;
/// Fingerprints of imported files kept of a feed, count: older ones are read again, to no effect.
const STAMPS_MAX: usize = 64;
/// What an import makes of a file; grows when it makes something else of the same file.
const IMPORT_VERSION: u32 = 1;

/// What to import, besides the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportAsk {
    /// The form of the file; absent: it is seen by its content.
    pub kind: Option<FeedKind>,
    /// The file is one of several: what is not in it stays. A file with one entry is always taken so.
    pub partial: bool,
    /// updateinfo: which system it is for; absent = any.
    pub product: Option<Product>,
}

/// A file as read: each id once.
#[derive(Default)]
struct Read {
    advisories: BTreeMap<String, Advisory>,
    vulnerabilities: BTreeMap<String, Vulnerability>,
    statements: HashMap<StatementKey, Statement>,
}

/// Two statements with one key are about the same: the later counts.
type StatementKey = (String, Product, String, u8, String);

/// What an import changed.
#[derive(Default)]
struct Changes {
    added: u64,
    changed: u64,
    withdrawn: u64,
}

impl Control {
    /// May the caller import feeds? Asked before the body of an upload is read.
    pub async fn may_import_feed(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act(ctx, "advisory-feed.import", resource(name), Permission::AdvisoryManage).await?;
        let may = async {
            let mut problems = Problems::default();
            check_name("name", name, &mut problems);
            Ok(problems.finish()?)
        };
        act.settle(may.await).await
    }

    /// Imports a file into a feed, which is made when it is not there.
    pub async fn import_feed(&self, ctx: &OpCtx, name: &str, ask: &ImportAsk, file: &Path) -> Result<ImportReport> {
        let act = self.act(ctx, "advisory-feed.import", resource(name), Permission::AdvisoryManage).await?;
        let imported = self.try_import(ctx, name, ask, file, &act).await;
        let report = act.settle(imported).await?;
        self.fleet_moved();
        Ok(report)
    }

    async fn try_import(&self, ctx: &OpCtx, name: &str, ask: &ImportAsk, file: &Path, act: &Act<'_>) -> Result<ImportReport> {
        let mut problems = Problems::default();
        check_name("name", name, &mut problems);
        problems.finish()?;
        // One after the other: an import compares with what is stored.
        let _one_at_a_time = self.fleet().importing.lock().await;
        let before = advisory_feeds::find_by_name(&mut *self.read().await?, name).await?;
        let (opened, asked) = (file.to_owned(), ask.clone());
        let (report, read) = blocking("read an advisory feed", move || read_file(&opened, &asked)).await??;
        let kind = report.kind.as_str();
        if let Some(before) = before.as_ref().filter(|b| b.kind != kind) {
            return Err(Error::conflict(format!(
                "the feed {name} is of kind {}, the file of kind {kind}; import it under another name, or delete the feed first",
                before.kind
            )));
        }
        let product = ask.product.as_ref().map(|p| format!("{}:{}", p.os, p.release)).unwrap_or_default();
        let stamp = format!("{IMPORT_VERSION} {} {product}", report.stamp);
        if let Some(before) = before.as_ref().filter(|b| b.stamps.contains(&stamp)) {
            return self.same_again(before, report.documents, act).await;
        }
        let complete = !ask.partial && report.documents > 1;
        let findings: Vec<FeedFinding> =
            report.findings.into_iter().map(|f| FeedFinding { entry: f.entry, problem: f.problem, count: f.count }).collect();
        let mut record = match before {
            Some(before) => before,
            None => self.new_feed(ctx, name, kind).await?,
        };
        if complete && read.is_empty() && record.advisories + record.vulnerabilities + record.statements > 0 {
            return Err(Error::conflict(format!(
                "the file holds nothing that could be read, so everything of the feed {name} would be taken back; \
                 delete the feed if that is meant (drydock advisory feed delete {name})"
            )));
        }
        let changes = self.store_feed(record.id, read, complete).await?;
        if complete {
            record.stamps.clear();
        }
        record.stamps.push(stamp);
        let surplus = record.stamps.len().saturating_sub(STAMPS_MAX);
        record.stamps.drain(..surplus);
        record.complete = complete;
        record.findings_total = report.left_out;
        (record.imported_by, record.imported_at) = (ctx.who.name(), ctx.now);
        self.count_feed(&mut record).await?;
        let mut tx = self.begin().await?;
        if !advisory_feeds::update(&mut tx, &record, &findings).await? {
            return Err(Error::conflict(format!("the feed {name} was imported by another server at the same time; try again")));
        }
        act.allowed(&mut tx).await?;
        commit(tx).await?;
        Ok(ImportReport {
            feed: feed_view(record),
            unchanged: false,
            documents: report.documents,
            added: changes.added,
            changed: changes.changed,
            withdrawn: changes.withdrawn,
            left_out: report.left_out,
            findings,
        })
    }

    /// The file was imported before: nothing but the record of the call.
    async fn same_again(&self, feed: &FeedRecord, documents: u64, act: &Act<'_>) -> Result<ImportReport> {
        let findings = advisory_feeds::findings(&mut *self.read().await?, feed.id).await?;
        let mut tx = self.begin().await?;
        act.allowed_on(&mut tx, &format!("{}, the same file again", resource(&feed.name))).await?;
        commit(tx).await?;
        Ok(ImportReport {
            feed: feed_view(feed.clone()),
            unchanged: true,
            documents,
            added: 0,
            changed: 0,
            withdrawn: 0,
            left_out: feed.findings_total,
            findings,
        })
    }

    /// An empty feed, stored.
    async fn new_feed(&self, ctx: &OpCtx, name: &str, kind: &str) -> Result<FeedRecord> {
        if advisory_feeds::list(&mut *self.read().await?).await?.len() >= FEEDS_MAX {
            return Err(Error::conflict(format!("there are {FEEDS_MAX} advisory feeds already; delete some")));
        }
        let record = FeedRecord {
            id: FeedId(self.mint(ctx.now)),
            name: name.to_owned(),
            kind: kind.to_owned(),
            stamps: Vec::new(),
            complete: false,
            advisories: 0,
            vulnerabilities: 0,
            statements: 0,
            findings_total: 0,
            imported_by: ctx.who.name(),
            imported_at: ctx.now,
            created_at: ctx.now,
            version: 1,
        };
        let mut tx = self.begin().await?;
        match advisory_feeds::insert(&mut tx, &record, &[]).await {
            Err(e) if e.is_duplicate() => {
                return Err(Error::conflict(format!(
                    "the feed {name} was imported by another server at the same time; try again"
                )));
            }
            other => other?,
        }
        commit(tx).await?;
        Ok(record)
    }

    async fn count_feed(&self, record: &mut FeedRecord) -> Result<()> {
        let mut c = self.read().await?;
        record.advisories = advisories::digests(&mut c, record.id).await?.len() as u64;
        record.vulnerabilities = feed_chunks::entries(&mut c, record.id, FeedPart::Vulnerabilities).await?;
        record.statements = feed_chunks::entries(&mut c, record.id, FeedPart::Statements).await?;
        Ok(())
    }

    /// Stores what a file says otherwise than before. Killed in between, the next import of the file does the rest: the
    /// feed's stamp is written last.
    async fn store_feed(&self, feed: FeedId, read: Read, complete: bool) -> Result<Changes> {
        let Read { advisories: new, vulnerabilities, statements } = read;
        let changes = self.store_advisories(feed, new, complete).await?;
        let chunks = chunked(vulnerabilities.into_values(), |v| &v.id);
        self.store_chunks(feed, FeedPart::Vulnerabilities, chunks, complete, |v: &Vulnerability| v.id.clone()).await?;
        let chunks = chunked(statements.into_values(), |s| &s.vulnerability);
        self.store_chunks(feed, FeedPart::Statements, chunks, complete, statement_key).await?;
        Ok(changes)
    }

    async fn store_advisories(&self, feed: FeedId, new: BTreeMap<String, Advisory>, complete: bool) -> Result<Changes> {
        let mut changes = Changes::default();
        let mut c = self.read().await?;
        let known = advisories::digests(&mut c, feed).await?;
        let mut wanted = Vec::new();
        for (id, advisory) in &new {
            match known.get(id) {
                Some(digest) if *digest == advisories::digest(advisory)? => {}
                Some(_) => wanted.push(id.clone()),
                None => {
                    changes.added += 1;
                    changes.withdrawn += u64::from(advisory.withdrawn);
                    wanted.push(id.clone());
                }
            }
        }
        let gone: Vec<String> =
            if complete { known.keys().filter(|id| !new.contains_key(*id)).cloned().collect() } else { Vec::new() };
        let mut rows: Vec<Advisory> = Vec::with_capacity(wanted.len());
        for ids in wanted.chunks(ROWS_AT_ONCE) {
            let there: HashMap<String, Advisory> =
                advisories::of_feed(&mut c, feed, ids).await?.into_iter().map(|a| (a.id.clone(), a)).collect();
            for advisory in ids.iter().filter_map(|id| new.get(id)) {
                let old = there.get(&advisory.id);
                // One of several files may be older than what an earlier one said.
                if !complete && old.is_some_and(|old| old.updated > advisory.updated) {
                    continue;
                }
                if let Some(old) = old {
                    let taken_back = advisory.withdrawn && !old.withdrawn;
                    changes.withdrawn += u64::from(taken_back);
                    changes.changed += u64::from(!taken_back);
                }
                rows.push(advisory.clone());
            }
        }
        for ids in gone.chunks(ROWS_AT_ONCE) {
            let there = advisories::of_feed(&mut c, feed, ids).await?;
            for advisory in there.into_iter().filter(|a| !a.withdrawn) {
                changes.withdrawn += 1;
                rows.push(Advisory { withdrawn: true, ..advisory });
            }
        }
        drop(c);
        for some in rows.chunks(ROWS_AT_ONCE) {
            let mut tx = self.begin().await?;
            for advisory in some {
                advisories::put(&mut tx, feed, advisory).await?;
            }
            commit(tx).await?;
        }
        Ok(changes)
    }

    async fn store_chunks<T, K>(
        &self,
        feed: FeedId,
        part: FeedPart,
        mut chunks: BTreeMap<String, Vec<T>>,
        complete: bool,
        key: impl Fn(&T) -> K,
    ) -> Result<()>
    where
        T: Serialize + DeserializeOwned + Ordered,
        K: Ord,
    {
        let mut c = self.read().await?;
        let known = feed_chunks::digests(&mut c, feed, part).await?;
        if !complete {
            for (bucket, entries) in &mut chunks {
                let there: Vec<T> = feed_chunks::of_bucket(&mut c, feed, part, bucket).await?;
                let mut by_key: BTreeMap<K, T> = there.into_iter().map(|e| (key(&e), e)).collect();
                by_key.extend(entries.drain(..).map(|e| (key(&e), e)));
                entries.extend(by_key.into_values());
                entries.sort_by(T::order);
            }
        }
        drop(c);
        let mut changed = Vec::new();
        for (bucket, entries) in &chunks {
            if known.get(bucket) != Some(&feed_chunks::digest(entries)?) {
                changed.push((bucket, entries));
            }
        }
        for some in changed.chunks(ROWS_AT_ONCE / 10) {
            let mut tx = self.begin().await?;
            for (bucket, entries) in some {
                feed_chunks::put(&mut tx, feed, part, bucket, entries).await?;
            }
            commit(tx).await?;
        }
        let gone: Vec<&String> = if complete { known.keys().filter(|b| !chunks.contains_key(*b)).collect() } else { Vec::new() };
        for some in gone.chunks(ROWS_AT_ONCE) {
            let mut tx = self.begin().await?;
            for bucket in some {
                feed_chunks::remove(&mut tx, feed, part, bucket).await?;
            }
            commit(tx).await?;
        }
        Ok(())
    }

    /// Feeds by name.
    pub async fn list_feeds(&self, ctx: &OpCtx) -> Result<Vec<Feed>> {
        // Feeds are the tenancy's, and what they say is public knowledge.
        self.scope(ctx, "advisory-feed.list", Permission::AdvisoryRead).await?;
        let records = advisory_feeds::list(&mut *self.read().await?).await?;
        Ok(records.into_iter().map(feed_view).collect())
    }

    /// One feed with what was wrong with its last import.
    pub async fn get_feed(&self, ctx: &OpCtx, name: &str) -> Result<FeedDetail> {
        self.scope(ctx, "advisory-feed.show", Permission::AdvisoryRead).await?;
        let mut c = self.read().await?;
        let record = advisory_feeds::find_by_name(&mut c, name).await?.ok_or_else(|| no_feed(name))?;
        let findings = advisory_feeds::findings(&mut c, record.id).await?;
        Ok(FeedDetail { feed: feed_view(record), findings })
    }

    /// Deletes a feed with everything it said.
    pub async fn delete_feed(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let act = self.act(ctx, "advisory-feed.delete", resource(name), Permission::AdvisoryManage).await?;
        let deleted = async {
            let _one_at_a_time = self.fleet().importing.lock().await;
            let record = advisory_feeds::find_by_name(&mut *self.read().await?, name).await?.ok_or_else(|| no_feed(name))?;
            let mut tx = self.begin().await?;
            if !advisory_feeds::delete(&mut tx, record.id).await? {
                return Err(no_feed(name));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await?;
        self.fleet_moved();
        Ok(())
    }
}

impl Read {
    fn is_empty(&self) -> bool {
        self.advisories.is_empty() && self.vulnerabilities.is_empty() && self.statements.is_empty()
    }

    fn take(&mut self, item: FeedItem) {
        match item {
            FeedItem::Advisory(new) => {
                let merged = match self.advisories.remove(&new.id) {
                    Some(old) => old.merge(*new),
                    None => *new,
                };
                self.advisories.insert(merged.id.clone(), merged);
            }
            FeedItem::Vulnerability(new) => {
                let merged = match self.vulnerabilities.remove(&new.id) {
                    Some(old) => old.merge(*new),
                    None => *new,
                };
                self.vulnerabilities.insert(merged.id.clone(), merged);
            }
            FeedItem::Statement(new) => {
                self.statements.insert(statement_key(&new), *new);
            }
        }
    }
}

/// The order of entries in a chunk: the same entries make the same bytes.
trait Ordered {
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering;
}

impl Ordered for Vulnerability {
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        a.id.cmp(&b.id)
    }
}

impl Ordered for Statement {
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        a.cmp(b)
    }
}

fn chunked<T: Ordered>(entries: impl Iterator<Item = T>, id: impl Fn(&T) -> &String) -> BTreeMap<String, Vec<T>> {
    let mut chunks: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for entry in entries {
        chunks.entry(feed_chunks::bucket(id(&entry))).or_default().push(entry);
    }
    for entries in chunks.values_mut() {
        entries.sort_by(T::order);
    }
    chunks
}

fn statement_key(s: &Statement) -> StatementKey {
    let module = s.module.as_ref().map(|m| format!("{}:{}", m.name, m.stream)).unwrap_or_default();
    (s.vulnerability.clone(), s.product.clone(), s.name.clone(), s.by as u8, module)
}

fn read_file(file: &Path, ask: &ImportAsk) -> Result<(feeds::FeedReport, Read)> {
    let opened = File::open(file).map_err(|e| Error::Internal { doing: "open an uploaded feed", source: Box::new(e) })?;
    let hints = Hints { product: ask.product.clone(), ..Hints::default() };
    let mut read = Read::default();
    let done = feeds::read_feed(ask.kind, opened, &hints, &mut |item| {
        read.take(item);
        Ok(())
    });
    let report = done.map_err(|e| Error::invalid("body", format!("the feed is not imported: {e}")))?;
    Ok((report, read))
}

pub(crate) fn feed_view(record: FeedRecord) -> Feed {
    Feed {
        name: record.name,
        kind: record.kind,
        complete: record.complete,
        advisories: record.advisories,
        vulnerabilities: record.vulnerabilities,
        statements: record.statements,
        findings_total: record.findings_total,
        imported_by: record.imported_by,
        imported_at: record.imported_at,
        created_at: record.created_at,
    }
}

fn resource(name: &str) -> String {
    format!("advisory-feed {name}")
}

fn no_feed(name: &str) -> Error {
    Error::NotFound(format!("advisory feed {name}; see `drydock advisory feed list`"))
}
