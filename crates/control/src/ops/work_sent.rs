//! What is sent to a host beside orders of patch jobs, on record: the document of its policies, previews of policies, and the
//! document of its sources. An agent may fetch the same document often; the record is of the first time. Absent: orders
//! ([`super::work`]), and what hosts answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use drydock_domain::audit::Record;
use drydock_domain::ids::InstanceId;
use drydock_store::{commit, instances};
use serde::Deserialize;
use serde_json::json;

use crate::Control;
use crate::access_part::ROOT;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Documents remembered as sent, count: some for each of 50,000 hosts, 20 MB. When there are more, all are forgotten, which
/// costs one more record for each.
const REMEMBERED_MAX: usize = 200_000;
/// Entries of a document named in a record, count.
const NAMED_MAX: usize = 50;

/// The newest of each document that this process has a record of.
#[derive(Default)]
pub(crate) struct SentDocuments(Mutex<HashMap<(InstanceId, String), u64>>);

impl SentDocuments {
    fn has(&self, instance: InstanceId, what: &str, generation: u64) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&(instance, what.to_owned())) == Some(&generation)
    }

    fn keep(&self, instance: InstanceId, what: String, generation: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED_MAX {
            held.clear();
        }
        held.insert((instance, what), generation);
    }
}

/// What of a policies document its record says: names, no scripts.
#[derive(Deserialize)]
struct PoliciesNamed {
    generation: u64,
    #[serde(default)]
    preview: Option<String>,
    #[serde(default)]
    policies: Vec<PolicyNamed>,
}

#[derive(Deserialize)]
struct PolicyNamed {
    assignment: String,
    revision: u64,
    policy: String,
}

/// The same of a sources document.
#[derive(Deserialize)]
struct SourcesNamed {
    generation: u64,
    mode: String,
    #[serde(default)]
    sources: Vec<SourceNamed>,
}

#[derive(Deserialize)]
struct SourceNamed {
    name: String,
    path: String,
}

fn named<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T> {
    serde_json::from_slice(document).map_err(|e| Error::Internal { doing: "read a document that is sent", source: e.into() })
}

impl Control {
    /// Records that a policies document, or a preview, goes to its host.
    pub(super) async fn policies_sent(&self, ctx: &OpCtx, instance: InstanceId, document: &[u8]) -> Result<()> {
        let own: PoliciesNamed = named(document)?;
        let policies: Vec<_> = own
            .policies
            .iter()
            .take(NAMED_MAX)
            .map(|p| json!({"assignment": p.assignment, "revision": p.revision, "policy": p.policy}))
            .collect();
        let (operation, what) = match &own.preview {
            Some(id) => ("policy-preview.send", format!("policy-preview {id}")),
            None => ("policy.send", "policies".to_owned()),
        };
        let parameters = json!({"generation": own.generation, "count": own.policies.len(), "policies": policies});
        self.sent(ctx, operation, instance, what, own.generation, &parameters).await
    }

    /// Records that a sources document goes to its host.
    pub(super) async fn sources_sent(&self, ctx: &OpCtx, instance: InstanceId, document: &[u8]) -> Result<()> {
        let own: SourcesNamed = named(document)?;
        let sources: Vec<_> = own.sources.iter().take(NAMED_MAX).map(|s| json!({"name": s.name, "path": s.path})).collect();
        let parameters = json!({"generation": own.generation, "mode": own.mode, "count": own.sources.len(), "sources": sources});
        self.sent(ctx, "source.send", instance, "sources".to_owned(), own.generation, &parameters).await
    }

    /// One record for each generation of a document; nothing is sent that could not be recorded.
    async fn sent(
        &self,
        ctx: &OpCtx,
        operation: &'static str,
        instance: InstanceId,
        what: String,
        generation: u64,
        parameters: &serde_json::Value,
    ) -> Result<()> {
        let sent = &self.audit_part().sent;
        if sent.has(instance, &what, generation) {
            return Ok(());
        }
        let host = instances::find(&mut *self.read().await?, instance).await?;
        let (name, compartment) = host.map_or_else(|| (String::new(), ROOT.to_owned()), |own| (own.name, own.compartment));
        let record = Record {
            compartment: compartment.into(),
            resource: format!("{what} of instance {instance} ({name}): generation {generation}").into(),
            reason: "work for its own host".into(),
            parameters: drydock_domain::audit::parameters(parameters).into(),
            ..self.audit_of(ctx, operation)
        };
        let mut tx = self.begin().await?;
        self.audit_in(&mut tx, record).await?;
        commit(tx).await?;
        sent.keep(instance, what, generation);
        Ok(())
    }
}
