//! Snapshots that hosts look at: their packages, modules and advisories, read from the content once.

use drydock_content::Content;
use drydock_content::facts::{snapshot_advisories, snapshot_facts};
use drydock_content::feeds::read_updateinfo;
use drydock_domain::advisory::{Advisory, Product};
use drydock_domain::applicability::Origin;
use drydock_domain::applicability::facts::SnapshotFacts;
use drydock_domain::source::unit::Format;
use drydock_domain::version::Scheme;

use super::Model;
use super::catalogue::Voice;
use crate::error::{Error, Result};
use crate::ops::parse_root;

/// A snapshot as read.
pub(crate) struct RootFacts {
    root: String,
    scheme: Scheme,
    facts: SnapshotFacts,
    advisories: Vec<Advisory>,
}

/// Reads a snapshot: blocking. An advisory that cannot be read is left out; the log says which.
pub(crate) fn read(content: &Content, root: &str, format: Format) -> Result<RootFacts> {
    let failed = |e: drydock_content::ContentError| Error::Internal { doing: "read a snapshot", source: Box::new(e) };
    let parsed = parse_root(root)?;
    let facts = snapshot_facts(content.objects(), &parsed).map_err(failed)?;
    let mut advisories = Vec::new();
    let mut broken = 0u32;
    for fragment in snapshot_advisories(content.objects(), &parsed).map_err(failed)? {
        let fragment = fragment.map_err(failed)?;
        match read_updateinfo(&fragment.xml, &Product::any()) {
            Ok(advisory) => advisories.push(advisory),
            Err(error) => {
                broken += 1;
                tracing::debug!(root, advisory = fragment.record.id, %error, "an advisory of a snapshot cannot be read");
            }
        }
    }
    if broken > 0 {
        tracing::warn!(root, broken, "advisories of a snapshot cannot be read; they count for nothing");
    }
    let scheme = match format {
        Format::Rpm => Scheme::Rpm,
        Format::Deb => Scheme::Deb,
    };
    Ok(RootFacts { root: root.to_owned(), scheme, facts, advisories })
}

impl Model {
    /// Puts in a snapshot.
    pub(crate) fn put_root(&mut self, read: &RootFacts) {
        self.engine.put_snapshot(&read.root, read.scheme, &read.facts);
        let (voice, origin) = (Voice::Root(read.root.clone()), Origin::Snapshot(read.root.clone()));
        for advisory in &read.advisories {
            if !advisory.withdrawn {
                self.engine.put_advisory(&origin, advisory);
            }
            self.catalogue.put(&voice, advisory);
        }
    }

    /// Takes out a snapshot that nobody looks at.
    pub(crate) fn forget_root(&mut self, root: &str) {
        self.engine.remove_snapshot(root);
        self.catalogue.forget(&Voice::Root(root.to_owned()));
        self.roots.remove(root);
    }
}
