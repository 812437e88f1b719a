//! The sources of one host: the numbered, signed document its agent pulls, what the agent answers, and what people see
//! of both.

use std::collections::{BTreeMap, HashMap};

use drydock_content::snapshot;
use drydock_domain::applicability::facts::View;
use drydock_domain::ids::{EnvironmentId, GroupId, InstanceId, SourceId};
use drydock_domain::source::host::{HOST_SOURCES_VERSION, HostSources, HostSourcesReport, HostSourcesState, SourcesMode};
use drydock_domain::source::name::LATEST;
use drydock_domain::source::resolve::{AttachedTo, DebFacts, HostFacts, Place, Resolved, ResolvedSource, SourceFacts, resolve};
use drydock_domain::source::spec::{Origin, SourceSpec};
use drydock_domain::source::unit::Format;
use drydock_store::host_sources::Document;
use drydock_store::records::InstanceRecord;
use drydock_store::source_records::{HostInputs, PointerRecord, SourceRecord};
use drydock_store::{attachments, commit, host_sources, pointers, sources};

use super::RACE_RETRIES;
use super::act::own_instance;
use super::describe::{Names, refs};
use super::snapshots::parse_root;
use crate::Control;
use crate::content_part::blocking;
use crate::content_views::{InstanceSourceView, InstanceSourcesView, SignedSources};
use crate::context::OpCtx;
use crate::error::{Error, Result};
use crate::fleet::RootSeen;

/// Longest report on a host's sources, bytes.
const REPORT_MAX_BYTES: usize = 1024 * 1024;
/// Priority of a repository that names none (dnf, zypper).
const PRIORITY_DEFAULT: u32 = 99;
/// How deep the keys of custom sources are looked for, count; as deep as they may take from each other.
const DEPTH_MAX: usize = 8;

/// Everything besides a host itself that decides about documents.
pub(crate) struct DocumentInputs {
    names: Names,
    specs: BTreeMap<SourceId, SourceRecord>,
    attachments: Vec<(AttachedTo, SourceId)>,
    pointers: HashMap<(Option<EnvironmentId>, SourceId), PointerRecord>,
    /// By root of the snapshot.
    deb: HashMap<String, DebFacts>,
    inherited: BTreeMap<SourceId, Vec<String>>,
    repository_keys: Vec<String>,
}

impl DocumentInputs {
    /// Reads them; of attachments only those of `targets`, when given.
    pub(crate) async fn read(control: &Control, targets: Option<&[AttachedTo]>) -> Result<DocumentInputs> {
        let mut c = control.read().await?;
        let found = match targets {
            Some(targets) => attachments::of_targets(&mut c, targets).await?,
            None => attachments::all(&mut c).await?,
        };
        let attachments: Vec<(AttachedTo, SourceId)> = found.into_iter().map(|a| (a.target, a.source)).collect();
        let names = Names::read(&mut c).await?;
        let mut wanted: Vec<SourceId> = attachments.iter().map(|(_, id)| *id).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let attached = wanted.clone();
        // The sources that attached ones take from, for their keys.
        for _ in 0..DEPTH_MAX {
            let from = wanted.iter().filter_map(|id| names.outline(*id)).flat_map(|s| &s.from);
            let more: Vec<SourceId> = from.filter_map(|name| names.outline_of(name)).map(|s| s.id).collect();
            let before = wanted.len();
            wanted.extend(more);
            wanted.sort_unstable();
            wanted.dedup();
            if wanted.len() == before {
                break;
            }
        }
        let specs: BTreeMap<_, _> = sources::find_all(&mut c, &wanted).await?.into_iter().map(|s| (s.id, s)).collect();
        let all = pointers::all(&mut c).await?.into_iter().filter(|p| attached.contains(&p.source));
        let pointers: HashMap<_, _> = all.map(|p| ((p.environment, p.source), p)).collect();
        drop(c);
        let inherited = attached.iter().map(|id| (*id, inherited_keys(*id, &specs))).collect();
        let deb = deb_facts(control, &specs, pointers.values()).await?;
        let repository_keys = match control.content_part() {
            Ok(part) => part.public_keys()?,
            Err(_) => Vec::new(),
        };
        Ok(DocumentInputs { names, specs, attachments, pointers, deb, inherited, repository_keys })
    }

    /// A text that is the same as long as no document can change because of these inputs.
    pub(crate) fn stamp(&self) -> String {
        let mut pointed: Vec<String> = self
            .pointers
            .iter()
            .map(|((environment, source), p)| format!("{environment:?} {source} {:?}", self.deb.get(&p.root)))
            .collect();
        pointed.sort_unstable();
        let specs: Vec<String> = self.specs.values().map(|s| format!("{} {}", s.id, s.version)).collect();
        // A group's version also grows with its members.
        let groups: Vec<String> = self.names.groups.iter().map(|g| format!("{} {}", g.id, g.version)).collect();
        let text = format!("{:?} {pointed:?} {specs:?} {:?} {groups:?}", self.attachments, self.repository_keys);
        drydock_domain::inventory::fingerprint(text.as_bytes())
    }

    fn resolve(&self, host: &HostInputs) -> Resolved {
        let named = |id: EnvironmentId| self.names.environment(id).map(|e| Place { id: e.id, name: &e.spec.name });
        let facts = HostFacts {
            instance: host.instance,
            os: host.os.as_ref(),
            environment: host.environment.and_then(named),
            group: host.group.map(|group| (group, host.group_environment.and_then(named))),
            attachments: &self.attachments,
        };
        let sources: Vec<SourceFacts<'_>> = self
            .specs
            .values()
            .map(|source| {
                let pointer = self.pointers.get(&(host.place(), source.id));
                SourceFacts {
                    id: source.id,
                    spec: &source.spec,
                    pointed: pointer.is_some(),
                    deb: pointer.and_then(|p| self.deb.get(&p.root)).cloned(),
                    inherited_keys: self.inherited.get(&source.id).map(Vec::as_slice).unwrap_or_default(),
                }
            })
            .collect();
        resolve(&facts, &sources)
    }

    /// What a host's package manager sees of this server: its visible sources with the snapshots they show now.
    pub(crate) fn views(&self, host: &HostInputs) -> Vec<View> {
        let resolved = self.resolve(host);
        let view = |source: &ResolvedSource| {
            let pointer = self.pointers.get(&(host.place(), source.id))?;
            let visible = source.outcome.as_ref().ok()?;
            Some(View {
                source: source.name.clone(),
                root: pointer.root.clone(),
                priority: visible.priority.unwrap_or(PRIORITY_DEFAULT),
                module_hotfixes: visible.module_hotfixes,
            })
        };
        resolved.sources.iter().filter_map(view).collect()
    }

    /// Every snapshot that an attached source shows somewhere: where it is from, and its format.
    pub(crate) fn roots(&self) -> BTreeMap<String, (RootSeen, Format)> {
        let mut roots: BTreeMap<String, (RootSeen, Format)> = BTreeMap::new();
        for ((environment, source), pointer) in &self.pointers {
            let Some(record) = self.specs.get(source) else { continue };
            let (seen, _) = roots.entry(pointer.root.clone()).or_insert_with(|| {
                let source = record.spec.name.clone();
                (RootSeen { source, number: pointer.number, environments: Vec::new() }, record.spec.format)
            });
            let name = match environment {
                None => LATEST.to_owned(),
                Some(id) => self.names.environment(*id).map_or_else(|| id.to_string(), |e| e.spec.name.clone()),
            };
            seen.environments.push(name);
        }
        for (seen, _) in roots.values_mut() {
            seen.environments.sort_unstable();
        }
        roots
    }

    /// A host's document, not numbered yet, and why attached sources are not in it.
    fn document(&self, host: &HostInputs) -> (HostSources, Vec<String>) {
        let resolved = self.resolve(host);
        let problems = resolved.problems();
        let document = HostSources {
            version: HOST_SOURCES_VERSION,
            instance: host.instance,
            generation: 0,
            mode: host.mode,
            repository_keys: self.repository_keys.clone(),
            sources: resolved.visible(),
        };
        (document, problems)
    }
}

/// Where sources of a host come from: itself, its group, and the environment it looks through.
pub(super) fn targets(instance: InstanceId, group: Option<GroupId>, place: Option<EnvironmentId>) -> Vec<AttachedTo> {
    let own = Some(AttachedTo::Instance(instance));
    [own, group.map(AttachedTo::Group), place.map(AttachedTo::Environment)].into_iter().flatten().collect()
}

/// Keys of all sources that `id` takes from, each once.
fn inherited_keys(id: SourceId, specs: &BTreeMap<SourceId, SourceRecord>) -> Vec<String> {
    let by_name: HashMap<&str, &SourceSpec> = specs.values().map(|s| (s.spec.name.as_str(), &s.spec)).collect();
    let mut keys: Vec<String> = Vec::new();
    let mut level: Vec<&SourceSpec> = specs.get(&id).map(|s| &s.spec).into_iter().collect();
    for _ in 0..DEPTH_MAX {
        let from = level.iter().filter_map(|spec| match &spec.origin {
            Origin::Sources { from } => Some(from),
            _ => None,
        });
        level = from.flatten().filter_map(|name| by_name.get(name.as_str()).copied()).collect();
        for key in level.iter().flat_map(|spec| &spec.keys) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
    }
    keys
}

/// How the deb snapshots that pointers are on were published.
async fn deb_facts<'a>(
    control: &Control,
    specs: &BTreeMap<SourceId, SourceRecord>,
    pointers: impl Iterator<Item = &'a PointerRecord>,
) -> Result<HashMap<String, DebFacts>> {
    let Ok(part) = control.content_part() else { return Ok(HashMap::new()) };
    let mut facts = HashMap::new();
    for pointer in pointers {
        if specs.get(&pointer.source).is_none_or(|s| s.spec.format != Format::Deb) || facts.contains_key(&pointer.root) {
            continue;
        }
        let known = part.deb_facts().get(&pointer.root).cloned();
        let found = match known {
            Some(found) => found,
            None => {
                let (content, root) = (part.content().clone(), parse_root(&pointer.root)?);
                let doc = blocking("read a snapshot", move || snapshot::load(content.objects(), &root)).await?;
                let doc = doc.map_err(|e| Error::Internal { doing: "read a snapshot", source: Box::new(e) })?;
                let Some(deb) = doc.deb else { continue };
                let found = DebFacts { suite: deb.dist, components: deb.components, architectures: deb.architectures };
                part.deb_facts().put(pointer.root.clone(), found.clone());
                found
            }
        };
        facts.insert(pointer.root.clone(), found);
    }
    Ok(facts)
}

impl Control {
    /// The document of an agent's host, when it is another one than the agent has (`generation`; 0 = none).
    pub async fn host_sources_for(&self, ctx: &OpCtx, generation: u64) -> Result<Option<SignedSources>> {
        let instance = own_instance(ctx)?;
        let stored = host_sources::generation(&mut *self.read().await?, instance).await?;
        if stored == generation || (stored == 0 && generation == 0) {
            return Ok(None);
        }
        if generation > stored {
            // This server was restored from a backup: what the agent has is newer than anything known here.
            self.renumber(instance, generation).await?;
        }
        let Some(record) = host_sources::find(&mut *self.read().await?, instance).await? else { return Ok(None) };
        if record.generation == 0 {
            return Ok(None);
        }
        let document = record.document.into_bytes();
        self.sources_sent(ctx, instance, &document).await?;
        Ok(Some(SignedSources { signature: self.key().sign_sources(&document), generation: record.generation, document }))
    }

    /// Takes what an agent tells after applying a document, or failing to.
    pub async fn report_host_sources(&self, ctx: &OpCtx, report: &[u8]) -> Result<()> {
        let instance = own_instance(ctx)?;
        if report.len() > REPORT_MAX_BYTES {
            return Err(Error::invalid("report", format!("is {} bytes long; at most {REPORT_MAX_BYTES}", report.len())));
        }
        let report: HostSourcesReport =
            serde_json::from_slice(report).map_err(|e| Error::invalid("report", format!("cannot be read: {e}")))?;
        report.validate()?;
        let mut tx = self.begin().await?;
        host_sources::put_report(&mut tx, instance, &report, ctx.now).await?;
        Ok(commit(tx).await?)
    }

    /// Makes the document of one host anew; the host is told when it changed.
    pub(crate) async fn refresh_host_sources(&self, instance: InstanceId) -> Result<()> {
        for _ in 0..RACE_RETRIES {
            let Some(host) = host_sources::inputs_of(&mut *self.read().await?, instance).await? else { return Ok(()) };
            let targets = targets(instance, host.group, host.place());
            let inputs = DocumentInputs::read(self, Some(&targets)).await?;
            if self.put_document(&inputs, &host, 0).await? {
                return Ok(());
            }
        }
        Err(Error::Unavailable { message: "the sources of the host change too often at once", source: None })
    }

    /// Stores a host's document when it changed. `false`: somebody else stored one meanwhile.
    pub(crate) async fn put_document(&self, inputs: &DocumentInputs, host: &HostInputs, beyond: u64) -> Result<bool> {
        let now = self.now();
        let (mut document, problems) = inputs.document(host);
        let fingerprint = document.fingerprint();
        let never_had_one = host.generation == 0 && document.sources.is_empty() && host.mode == SourcesMode::Additive;
        if (fingerprint == host.fingerprint && beyond == 0) || (never_had_one && problems.is_empty() && beyond == 0) {
            return self.note_problems(host.instance, &problems).await.map(|()| true);
        }
        // Numbers start at the time in seconds, so that a server restored from a backup does not repeat numbers its
        // agents have seen.
        let floor = u64::try_from(now.as_second()).unwrap_or_default();
        document.generation = host.generation.saturating_add(1).max(floor).max(beyond.saturating_add(1));
        let json = serde_json::to_string(&document)
            .map_err(|e| Error::Internal { doing: "write the sources document of a host", source: Box::new(e) })?;
        let stored = Document {
            generation: document.generation,
            fingerprint: &fingerprint,
            document: &json,
            problems: &problems,
            at: now,
        };
        let mut tx = self.begin().await?;
        match host_sources::put(&mut tx, host.instance, &stored, host.generation).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // The instance was deleted meanwhile.
            Err(e) if e.is_referenced() => return Ok(true),
            Err(e) => return Err(e.into()),
        }
        commit(tx).await?;
        self.hub().hint(host.instance);
        Ok(true)
    }

    async fn note_problems(&self, instance: InstanceId, problems: &[String]) -> Result<()> {
        let stored = host_sources::find(&mut *self.read().await?, instance).await?;
        if stored.is_none_or(|stored| stored.problems == problems) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        host_sources::set_problems(&mut tx, instance, problems).await?;
        Ok(commit(tx).await?)
    }

    /// Gives a host's document a number beyond the one its agent has.
    async fn renumber(&self, instance: InstanceId, beyond: u64) -> Result<()> {
        // A number from far in the future is no restored backup but a damaged or hostile agent; it keeps what it has.
        const FUTURE_MAX_SECS: u64 = 10 * 365 * 24 * 3600;
        let now = u64::try_from(self.now().as_second()).unwrap_or_default();
        if beyond > now.saturating_add(FUTURE_MAX_SECS) {
            return Err(Error::invalid("generation", "is none this server or a backup of it ever gave out"));
        }
        let Some(host) = host_sources::inputs_of(&mut *self.read().await?, instance).await? else { return Ok(()) };
        let inputs = DocumentInputs::read(self, None).await?;
        self.put_document(&inputs, &host, beyond).await.map(drop)
    }

    pub(super) async fn instance_sources_view(&self, record: InstanceRecord) -> Result<InstanceSourcesView> {
        let targets = targets(record.id, record.group, record.place());
        let inputs = DocumentInputs::read(self, Some(&targets)).await?;
        let mut c = self.read().await?;
        let stored = host_sources::find(&mut c, record.id).await?;
        let host = HostInputs {
            instance: record.id,
            name: record.name.clone(),
            os: record.os,
            mode: record.sources_mode,
            environment: record.environment,
            group: record.group,
            group_environment: record.group_environment,
            generation: stored.as_ref().map_or(0, |s| s.generation),
            fingerprint: String::new(),
        };
        let resolved = inputs.resolve(&host);
        let here = |id: SourceId| inputs.pointers.get(&(host.place(), id));
        let pointed: Vec<_> = resolved.sources.iter().filter_map(|s| here(s.id)).map(|p| p.snapshot).collect();
        let known = refs(&mut c, &pointed).await?;
        let shown = |target: &AttachedTo| match target {
            AttachedTo::Instance(_) => "instance".to_owned(),
            AttachedTo::Group(id) => format!("group {}", inputs.names.group(*id)),
            AttachedTo::Environment(id) => {
                format!("environment {}", inputs.names.environment(*id).map_or_else(|| id.to_string(), |e| e.spec.name.clone()))
            }
        };
        let sources = resolved.sources.iter().map(|source| InstanceSourceView {
            name: source.name.clone(),
            through: source.attached_to.iter().map(shown).collect(),
            host_source: source.outcome.as_ref().ok().cloned(),
            snapshot: here(source.id).and_then(|p| known.get(&p.snapshot)).cloned(),
            problems: source.outcome.as_ref().err().map(ToString::to_string).into_iter().collect(),
        });
        let report = stored.as_ref().and_then(|s| s.report.clone());
        let done = |r: &HostSourcesReport| r.state == HostSourcesState::Applied && r.generation == host.generation;
        Ok(InstanceSourcesView {
            instance: record.id,
            name: record.name,
            mode: record.sources_mode,
            environment: host.place().and_then(|id| inputs.names.environment(id)).map(|e| e.spec.name.clone()),
            sources: sources.collect(),
            generation: host.generation,
            applied: report.as_ref().is_some_and(done),
            report,
            reported_at: stored.and_then(|s| s.reported_at),
        })
    }
}
