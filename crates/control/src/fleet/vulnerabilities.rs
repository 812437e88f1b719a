//! What feeds say of CVEs, as far as lists rank by it. EPSS scores every CVE there is (300,000), so its numbers are kept by
//! number; the rest is kept for those CVEs of which somebody says more.

use std::collections::{BTreeMap, HashMap};

use drydock_domain::advisory::{Cvss, Epss, Kev, Severity, Vulnerability};
use drydock_domain::ids::FeedId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What one feed says of a CVE besides EPSS, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    severity: Severity,
    /// The score by the newest edition, the worst of that.
    cvss: Option<Cvss>,
    kev: Option<Kev>,
    published: Option<Timestamp>,
}

/// What is known of a CVE for lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The vendors' word, the worst; else by the score.
    pub(crate) severity: Severity,
    /// The score by the newest edition, the worst of that.
    pub(crate) cvss: Option<Cvss>,
    /// Known to be exploited.
    pub(crate) kev: Option<Kev>,
    /// Likely to be.
    pub(crate) epss: Option<Epss>,
    /// First published.
    pub(crate) published: Option<Timestamp>,
}

/// One feed's part.
#[derive(Debug, Default)]
struct Part {
    /// By bucket of the store, so that one changed chunk replaces its part.
    said: HashMap<String, BTreeMap<String, Said>>,
    epss: HashMap<String, BTreeMap<u64, Epss>>,
}

/// One feed's part as it is kept; of EPSS (number, score, percentile), as there are 300,000 of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedFeed {
    said: HashMap<String, BTreeMap<String, Said>>,
    epss: HashMap<String, Vec<(u64, u32, u32)>>,
}

/// All feeds.
#[derive(Debug, Default)]
pub(crate) struct Vulnerabilities {
    feeds: BTreeMap<FeedId, Part>,
}

impl Vulnerabilities {
    /// Takes a chunk of a feed in place of what was there.
    pub(crate) fn put(&mut self, feed: FeedId, bucket: &str, entries: &[Vulnerability]) {
        let part = self.feeds.entry(feed).or_default();
        let mut said = BTreeMap::new();
        let mut epss = BTreeMap::new();
        for v in entries {
            if let (Some(score), Some(number)) = (v.epss, number(&v.id)) {
                epss.insert(number, score);
            }
            let cvss = v.cvss.iter().max_by_key(|c| (c.version, c.tenths)).cloned();
            let more = Said { severity: v.severity, cvss, kev: v.kev.clone(), published: v.published };
            if more.severity != Severity::Unknown || more.cvss.is_some() || more.kev.is_some() || more.published.is_some() {
                said.insert(v.id.clone(), more);
            }
        }
        replace(&mut part.said, bucket, said);
        replace(&mut part.epss, bucket, epss);
    }

    /// As it is kept.
    pub(crate) fn save(&self) -> BTreeMap<FeedId, SavedFeed> {
        let flat = |scores: &BTreeMap<u64, Epss>| {
            scores.iter().map(|(number, e)| (*number, e.millionths, e.percentile_millionths)).collect()
        };
        let part = |part: &Part| SavedFeed {
            said: part.said.clone(),
            epss: part.epss.iter().map(|(bucket, scores)| (bucket.clone(), flat(scores))).collect(),
        };
        self.feeds.iter().map(|(feed, p)| (*feed, part(p))).collect()
    }

    /// As it was kept.
    pub(crate) fn restore(saved: BTreeMap<FeedId, SavedFeed>) -> Self {
        let score = |(number, millionths, percentile_millionths)| (number, Epss { millionths, percentile_millionths });
        let part = |saved: SavedFeed| Part {
            said: saved.said,
            epss: saved.epss.into_iter().map(|(bucket, list)| (bucket, list.into_iter().map(score).collect())).collect(),
        };
        Vulnerabilities { feeds: saved.into_iter().map(|(feed, s)| (feed, part(s))).collect() }
    }

    /// A chunk is gone.
    pub(crate) fn remove(&mut self, feed: FeedId, bucket: &str) {
        if let Some(part) = self.feeds.get_mut(&feed) {
            part.said.remove(bucket);
            part.epss.remove(bucket);
        }
    }

    /// A feed is gone.
    pub(crate) fn forget(&mut self, feed: FeedId) {
        self.feeds.remove(&feed);
    }

    /// What all feeds say of a CVE together.
    pub(crate) fn get(&self, id: &str) -> Known {
        let bucket = drydock_store::feed_chunks::bucket(id);
        let number = number(id);
        let mut known = Known::default();
        for part in self.feeds.values() {
            if let Some(said) = part.said.get(&bucket).and_then(|s| s.get(id)) {
                known.severity = known.severity.max(said.severity);
                let score = |c: &Option<Cvss>| c.as_ref().map(|c| (c.version, c.tenths));
                if score(&said.cvss) > score(&known.cvss) {
                    known.cvss.clone_from(&said.cvss);
                }
                known.kev = known.kev.or_else(|| said.kev.clone());
                known.published = [known.published, said.published].into_iter().flatten().min();
            }
            let epss = number.and_then(|n| part.epss.get(&bucket)?.get(&n).copied());
            known.epss = known.epss.or(epss);
        }
        if known.severity == Severity::Unknown {
            known.severity = known.cvss.as_ref().map_or(Severity::Unknown, |c| Severity::of_score(c.tenths));
        }
        known
    }
}

fn replace<K, V>(map: &mut HashMap<String, BTreeMap<K, V>>, bucket: &str, new: BTreeMap<K, V>) {
    if new.is_empty() {
        map.remove(bucket);
    } else {
        map.insert(bucket.to_owned(), new);
    }
}

/// `CVE-2026-12345` as a number.
fn number(id: &str) -> Option<u64> {
    let (year, number) = id.strip_prefix("CVE-")?.split_once('-')?;
    let (year, number): (u32, u32) = (year.parse().ok()?, number.parse().ok()?);
    Some(u64::from(year) << 32 | u64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drydock_domain::advisory::CvssVersion;

    #[test]
    fn the_vendors_word_goes_first_and_a_changed_chunk_replaces() {
        let feed = |n: u128| FeedId(uuid::Uuid::from_u128(n));
        let id = "CVE-2026-1234";
        let cvss = |tenths| Cvss { version: CvssVersion::V3, tenths, vector: String::new(), by: String::new() };
        let scored = Vulnerability { id: id.into(), cvss: vec![cvss(98)], ..Vulnerability::default() };
        let likely = Vulnerability {
            id: id.into(),
            epss: Some(Epss { millionths: 900_000, percentile_millionths: 990_000 }),
            ..Vulnerability::default()
        };
        let mut all = Vulnerabilities::default();
        all.put(feed(1), "CVE-2026-1", std::slice::from_ref(&scored));
        all.put(feed(2), "CVE-2026-1", &[likely]);
        let known = all.get(id);
        assert_eq!(
            (known.severity, known.cvss, known.epss.map(|e| e.millionths)),
            (Severity::Critical, Some(cvss(98)), Some(900_000))
        );
        all.put(feed(1), "CVE-2026-1", &[Vulnerability { severity: Severity::Low, ..scored }]);
        assert_eq!(all.get(id).severity, Severity::Low);
        all.put(feed(1), "CVE-2026-1", &[]);
        all.forget(feed(2));
        assert_eq!(all.get(id), Known::default());
    }
}
