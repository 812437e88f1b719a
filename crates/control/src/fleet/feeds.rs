//! What changed in a feed since it was put into the picture: read from the store, then put in.

use std::collections::HashMap;

use drydock_domain::advisory::{Advisory, Statement, Vulnerability};
use drydock_domain::applicability::Origin;
use drydock_domain::ids::FeedId;
use drydock_store::advisory_records::{FeedPart, FeedRecord};
use drydock_store::{Connection, advisories, feed_chunks};

use super::catalogue::Voice;
use super::{FeedSeen, Model};
use crate::error::Result;

/// What is to be put in.
pub(crate) struct FeedChange {
    id: FeedId,
    seen: FeedSeen,
    put: Vec<Advisory>,
    removed: Vec<String>,
    vulnerabilities: Vec<(String, Vec<Vulnerability>)>,
    vulnerabilities_gone: Vec<String>,
    statements: Vec<(String, Vec<Statement>)>,
    statements_gone: Vec<String>,
}

/// Reads what a feed says otherwise than `seen`.
pub(crate) async fn read(c: &mut Connection, feed: &FeedRecord, seen: Option<&FeedSeen>) -> Result<FeedChange> {
    let nothing = FeedSeen::default();
    let seen = seen.unwrap_or(&nothing);
    let now = FeedSeen {
        name: feed.name.clone(),
        version: feed.version,
        advisories: advisories::digests(c, feed.id).await?,
        vulnerabilities: feed_chunks::digests(c, feed.id, FeedPart::Vulnerabilities).await?,
        statements: feed_chunks::digests(c, feed.id, FeedPart::Statements).await?,
    };
    let (changed, removed) = difference(&seen.advisories, &now.advisories);
    let put = advisories::of_feed(c, feed.id, &changed).await?;
    let (changed, vulnerabilities_gone) = difference(&seen.vulnerabilities, &now.vulnerabilities);
    let mut vulnerabilities = Vec::with_capacity(changed.len());
    for bucket in changed {
        let entries = feed_chunks::of_bucket(c, feed.id, FeedPart::Vulnerabilities, &bucket).await?;
        vulnerabilities.push((bucket, entries));
    }
    let (changed, statements_gone) = difference(&seen.statements, &now.statements);
    let mut statements = Vec::with_capacity(changed.len());
    for bucket in changed {
        let entries = feed_chunks::of_bucket(c, feed.id, FeedPart::Statements, &bucket).await?;
        statements.push((bucket, entries));
    }
    Ok(FeedChange { id: feed.id, seen: now, put, removed, vulnerabilities, vulnerabilities_gone, statements, statements_gone })
}

/// (new or changed, gone).
fn difference(before: &HashMap<String, String>, now: &HashMap<String, String>) -> (Vec<String>, Vec<String>) {
    let changed = now.iter().filter(|(key, digest)| before.get(*key) != Some(*digest)).map(|(key, _)| key.clone()).collect();
    let gone = before.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
    (changed, gone)
}

fn origin(feed: FeedId) -> Origin {
    Origin::Feed(feed.to_string())
}

/// Statements of one bucket have an origin of their own, so that a changed one is taken back alone.
fn bucket_origin(feed: FeedId, bucket: &str) -> Origin {
    Origin::Feed(format!("{feed} {bucket}"))
}

impl Model {
    /// Puts in what changed in a feed.
    pub(crate) fn put_feed(&mut self, change: FeedChange) {
        let feed = change.id;
        let (voice, from) = (Voice::Feed(feed), origin(feed));
        for id in &change.removed {
            self.engine.remove_advisory(&from, id);
            self.catalogue.remove(&voice, id);
        }
        for advisory in &change.put {
            if advisory.withdrawn {
                self.engine.remove_advisory(&from, &advisory.id);
            } else {
                self.engine.put_advisory(&from, advisory);
            }
            self.catalogue.put(&voice, advisory);
        }
        for bucket in &change.vulnerabilities_gone {
            self.vulnerabilities.remove(feed, bucket);
        }
        for (bucket, entries) in &change.vulnerabilities {
            self.vulnerabilities.put(feed, bucket, entries);
        }
        for bucket in &change.statements_gone {
            self.engine.clear_origin(&bucket_origin(feed, bucket));
        }
        for (bucket, entries) in &change.statements {
            self.engine.replace_statements(&bucket_origin(feed, bucket), entries);
        }
        self.feeds.insert(feed, change.seen);
    }

    /// Takes out a feed that was deleted.
    pub(crate) fn forget_feed(&mut self, feed: FeedId) {
        let Some(seen) = self.feeds.remove(&feed) else { return };
        self.engine.clear_origin(&origin(feed));
        for bucket in seen.statements.keys() {
            self.engine.clear_origin(&bucket_origin(feed, bucket));
        }
        self.catalogue.forget(&Voice::Feed(feed));
        self.vulnerabilities.forget(feed);
    }
}
