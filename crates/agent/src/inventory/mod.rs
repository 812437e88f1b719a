//! Inventory: collecting the sections, keeping the newest of each, telling the link when one changed.
//!
//! A section is kept as its canonical JSON and fingerprint, nothing else: what is compared, sent and stored is one
//! text. Absent: the connection ([`crate::link`]), changing anything on the host.

pub mod collect;
pub mod os;
pub mod report;
pub mod stale;
pub mod watch;
pub mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use drydock_domain::inventory::{SectionKind, fingerprint};
use jiff::Timestamp;
use tokio::sync::Notify;

/// One section as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// SHA-256 of `body`.
    pub fingerprint: String,
    /// Canonical JSON.
    pub body: Arc<[u8]>,
}

impl Section {
    /// A section with this body.
    pub fn new(body: Vec<u8>) -> Self {
        Section { fingerprint: fingerprint(&body), body: body.into() }
    }
}

/// The newest inventory, shared between the thread that collects and the link that reports.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    sections: BTreeMap<SectionKind, Section>,
    collected_at: Option<Timestamp>,
    problems: BTreeMap<SectionKind, String>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts up a section; wakes the link when it is news.
    pub fn put(&self, kind: SectionKind, section: Section, now: Timestamp) {
        let mut inner = self.lock();
        inner.collected_at = Some(now);
        inner.problems.remove(&kind);
        let news = inner.sections.get(&kind) != Some(&section);
        if news {
            inner.sections.insert(kind, section);
        }
        drop(inner);
        if news {
            self.changed.notify_one();
        }
    }

    /// A section could not be collected; the last good one stays.
    pub fn complain(&self, kind: SectionKind, why: String) {
        self.lock().problems.insert(kind, why);
    }

    /// The newest sections.
    pub fn sections(&self) -> BTreeMap<SectionKind, Section> {
        self.lock().sections.clone()
    }

    /// When something was last collected, and what could not be.
    pub fn state(&self) -> (Option<Timestamp>, BTreeMap<SectionKind, String>) {
        let inner = self.lock();
        (inner.collected_at, inner.problems.clone())
    }

    /// Waits until a section changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
