//! Snapshots that hosts look at: their packages, modules and advisories, read from the content once; of the next snapshot of a
//! source only what differs.

use drydock_content::Content;
use drydock_content::facts::{AdvisoryFragment, advisories_diff, facts_diff, snapshot_advisories, snapshot_facts};
use drydock_content::feeds::read_updateinfo;
use drydock_domain::advisory::{Advisory, Product};
use drydock_domain::applicability::Origin;
use drydock_domain::applicability::facts::{SnapshotChange, SnapshotFacts};
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
    facts: Facts,
    /// All of them, or those that differ.
    advisories: Vec<Advisory>,
}

enum Facts {
    Whole(SnapshotFacts),
    /// What differs from another snapshot, and the ids of advisories that are gone.
    After(String, SnapshotChange, Vec<String>),
}

impl RootFacts {
    /// The snapshot's root.
    pub(crate) fn name(&self) -> &str {
        &self.root
    }

    /// Was all of it read?
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.facts, Facts::Whole(_))
    }
}

fn scheme(format: Format) -> Scheme {
    match format {
        Format::Rpm => Scheme::Rpm,
        Format::Deb => Scheme::Deb,
    }
}

/// Reads a snapshot: blocking. An advisory that cannot be read is left out; the log says which.
pub(crate) fn read(content: &Content, root: &str, format: Format) -> Result<RootFacts> {
    let failed = |e: drydock_content::ContentError| Error::Internal { doing: "read a snapshot", source: Box::new(e) };
    let parsed = parse_root(root)?;
    let facts = snapshot_facts(content.objects(), &parsed).map_err(failed)?;
    let fragments: std::result::Result<Vec<AdvisoryFragment>, _> =
        snapshot_advisories(content.objects(), &parsed).map_err(failed)?.collect();
    let (advisories, _) = parse(root, &fragments.map_err(failed)?);
    Ok(RootFacts { root: root.to_owned(), scheme: scheme(format), facts: Facts::Whole(facts), advisories })
}

/// Reads what differs from a snapshot of the same source that is in the picture: blocking.
pub(crate) fn read_after(content: &Content, root: &str, base: &str, format: Format) -> Result<RootFacts> {
    let failed = |e: drydock_content::ContentError| Error::Internal { doing: "compare two snapshots", source: Box::new(e) };
    let (old, new) = (parse_root(base)?, parse_root(root)?);
    let diff = facts_diff(content.objects(), &old, &new).map_err(failed)?;
    let said = advisories_diff(content.objects(), &old, &new).map_err(failed)?;
    let change = SnapshotChange {
        gone: diff.removed.into_iter().map(|key| (key.name, key.arch, key.version)).collect(),
        there: diff.added,
        modules: diff.modules,
        release: diff.release,
    };
    let (advisories, broken) = parse(root, &said.added);
    // What cannot be read any more says nothing, and not what it said before.
    let gone = said.removed.into_iter().chain(broken).collect();
    let facts = Facts::After(base.to_owned(), change, gone);
    Ok(RootFacts { root: root.to_owned(), scheme: scheme(format), facts, advisories })
}

/// The advisories, and the ids of those that cannot be read.
fn parse(root: &str, fragments: &[AdvisoryFragment]) -> (Vec<Advisory>, Vec<String>) {
    let (mut advisories, mut broken) = (Vec::with_capacity(fragments.len()), Vec::new());
    for fragment in fragments {
        match read_updateinfo(&fragment.xml, &Product::any()) {
            Ok(advisory) => advisories.push(advisory),
            Err(error) => {
                tracing::debug!(root, advisory = fragment.record.id, %error, "an advisory of a snapshot cannot be read");
                broken.push(fragment.record.id.clone());
            }
        }
    }
    if !broken.is_empty() {
        tracing::warn!(root, broken = broken.len(), "advisories of a snapshot cannot be read; they count for nothing");
    }
    (advisories, broken)
}

impl Model {
    /// Puts in a snapshot. `false`: what it was compared with is gone meanwhile.
    pub(crate) fn put_root(&mut self, read: &RootFacts) -> bool {
        let (voice, origin) = (Voice::Root(read.root.clone()), Origin::Snapshot(read.root.clone()));
        match &read.facts {
            Facts::Whole(facts) => self.engine.put_snapshot(&read.root, read.scheme, facts),
            Facts::After(base, change, gone) => {
                if !self.engine.put_snapshot_after(&read.root, base, change) {
                    return false;
                }
                self.catalogue.copy(&Voice::Root(base.clone()), &voice);
                for id in gone {
                    self.engine.remove_advisory(&origin, id);
                    self.catalogue.remove(&voice, id);
                }
            }
        }
        for advisory in &read.advisories {
            if advisory.withdrawn {
                self.engine.remove_advisory(&origin, &advisory.id);
            } else {
                self.engine.put_advisory(&origin, advisory);
            }
            self.catalogue.put(&voice, advisory);
        }
        true
    }

    /// Takes out a snapshot that nobody looks at.
    pub(crate) fn forget_root(&mut self, root: &str) {
        self.engine.remove_snapshot(root);
        self.catalogue.forget(&Voice::Root(root.to_owned()));
        self.roots.remove(root);
    }
}
