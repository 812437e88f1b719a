//! Trees from sorted entries. Full leaves are hashed and packed on worker threads while the caller goes on; what waits
//! is bounded, so memory does not grow with the tree (but for 100 bytes a leaf).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::chunk::Chunker;
use super::node::{Child, LeafDraft, write_node};
use super::{Entry, TreeRef, check_entry};
use crate::error::{ContentError, ContentResult};
use crate::objects::ObjectStore;

/// Threads that pack leaves.
pub(super) const WORKERS: usize = 2;
/// Leaves that wait for a worker; with those being packed and the one being filled, 5 × 4 MiB at most as a rule.
const QUEUE_LEAVES: usize = 2;

/// Makes a tree of entries pushed in strictly ascending order of their keys.
pub struct TreeBuilder {
    parts: usize,
    last_key: Option<Vec<u8>>,
    leaves: LeafWriter,
}

impl TreeBuilder {
    /// A tree whose entries have `parts` parts.
    pub fn new(store: &ObjectStore, parts: usize) -> Self {
        TreeBuilder { parts, last_key: None, leaves: LeafWriter::new(store, parts, WORKERS) }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: &Entry) -> ContentResult<()> {
        self.push_entry(&entry.key, &entry.record, entry.parts.iter().map(Vec::as_slice))
    }

    /// Adds an entry whose parts lie anywhere.
    pub fn push_parts(&mut self, key: &[u8], record: &[u8], parts: &[&[u8]]) -> ContentResult<()> {
        self.push_entry(key, record, parts.iter().copied())
    }

    fn push_entry<'a>(&mut self, key: &[u8], record: &[u8], parts: impl Iterator<Item = &'a [u8]> + Clone) -> ContentResult<()> {
        check_entry(key, record, parts.clone(), self.parts)?;
        if self.last_key.as_deref().is_some_and(|last| last >= key) {
            let what = String::from_utf8_lossy(&key[..key.len().min(200)]).replace('\0', " ");
            return Err(ContentError::Refused {
                what: format!("entry {what:?}"),
                problem: "its key is not above the one before it".to_owned(),
            });
        }
        self.last_key = Some(key.to_vec());
        self.leaves.push(key, record, parts)
    }

    /// Ends the tree. Its objects are durable after [`ObjectStore::sync`].
    pub fn finish(self) -> ContentResult<TreeRef> {
        let store = self.leaves.store.clone();
        let leaves = self.leaves.finish()?;
        finish_levels(&store, 0, leaves, self.parts)
    }
}

/// Builds the levels above `nodes` (all nodes of `level`) until one node is left.
pub(super) fn finish_levels(store: &ObjectStore, level: u8, nodes: Vec<Child>, parts: usize) -> ContentResult<TreeRef> {
    let (mut level, mut nodes) = (level, nodes);
    while nodes.len() > 1 {
        level += 1;
        nodes = pack_level(store, level, nodes)?;
    }
    let root = match nodes.pop() {
        Some(root) => root,
        None => LeafDraft::new(parts).write(store)?,
    };
    Ok(TreeRef { root: root.id, height: level, count: root.count, raw_bytes: root.raw_bytes })
}

fn pack_level(store: &ObjectStore, level: u8, children: Vec<Child>) -> ContentResult<Vec<Child>> {
    let mut writer = NodeWriter::new(store, level);
    for child in children {
        writer.push(child)?;
    }
    writer.finish()
}

/// Cuts children into inner nodes of one level and stores them.
pub(super) struct NodeWriter {
    store: ObjectStore,
    level: u8,
    chunker: Chunker,
    open: Vec<Child>,
    nodes: Vec<Child>,
}

impl NodeWriter {
    pub(super) fn new(store: &ObjectStore, level: u8) -> Self {
        NodeWriter { store: store.clone(), level, chunker: Chunker::new(level), open: Vec::new(), nodes: Vec::new() }
    }

    /// No child since the last node ended?
    pub(super) fn at_start(&self) -> bool {
        self.chunker.at_start()
    }

    /// Takes the next child.
    pub(super) fn push(&mut self, child: Child) -> ContentResult<()> {
        let ends = self.chunker.push(&child.last_key, child.last_key.len() as u64);
        self.open.push(child);
        if ends { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> ContentResult<()> {
        self.nodes.push(write_node(&self.store, self.level, &self.open)?);
        self.open.clear();
        Ok(())
    }

    /// The nodes in order.
    pub(super) fn finish(mut self) -> ContentResult<Vec<Child>> {
        if !self.open.is_empty() {
            self.close()?;
        }
        Ok(self.nodes)
    }
}

/// What the workers have done: leaves by their place, or the first failure.
type Done = Arc<Mutex<ContentResult<Vec<(usize, Child)>>>>;
type Job = (usize, LeafDraft);

/// Cuts entries into leaves and stores them.
pub(super) struct LeafWriter {
    store: ObjectStore,
    parts: usize,
    chunker: Chunker,
    draft: LeafDraft,
    /// Leaves handed over so far.
    handed: usize,
    done: Done,
    workers: Option<(SyncSender<Job>, Vec<JoinHandle<()>>)>,
}

impl LeafWriter {
    /// With no workers every leaf is stored by the caller's thread.
    pub(super) fn new(store: &ObjectStore, parts: usize, workers: usize) -> Self {
        let done: Done = Arc::new(Mutex::new(Ok(Vec::new())));
        let workers = (workers > 0).then(|| {
            let (sender, receiver) = sync_channel::<Job>(QUEUE_LEAVES);
            let receiver = Arc::new(Mutex::new(receiver));
            let threads = (0..workers)
                .map(|_| {
                    let (store, receiver, done) = (store.clone(), Arc::clone(&receiver), Arc::clone(&done));
                    std::thread::spawn(move || work(&store, &receiver, &done))
                })
                .collect();
            (sender, threads)
        });
        LeafWriter {
            store: store.clone(),
            parts,
            chunker: Chunker::new(0),
            draft: LeafDraft::new(parts),
            handed: 0,
            done,
            workers,
        }
    }

    /// No entry since the last leaf ended?
    pub(super) fn at_start(&self) -> bool {
        self.chunker.at_start()
    }

    /// Takes an entry whose sizes were checked.
    pub(super) fn push<'a>(
        &mut self,
        key: &[u8],
        record: &[u8],
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> ContentResult<()> {
        let bytes = key.len() + record.len() + parts.clone().map(<[u8]>::len).sum::<usize>();
        self.draft.push(key, record, parts);
        if self.chunker.push(key, bytes as u64) { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> ContentResult<()> {
        let draft = std::mem::replace(&mut self.draft, LeafDraft::new(self.parts));
        let place = self.handed;
        self.handed += 1;
        match &self.workers {
            Some((sender, _)) => {
                // The workers stop at the first failure, which `finish` reports; here it only ends the pushing early.
                sender.send((place, draft)).map_err(|_| take_failure(&self.done))
            }
            None => {
                let child = draft.write(&self.store)?;
                if let Ok(done) = &mut *lock(&self.done) {
                    done.push((place, child));
                }
                Ok(())
            }
        }
    }

    /// The leaves in order.
    pub(super) fn finish(mut self) -> ContentResult<Vec<Child>> {
        if !self.at_start() {
            self.hand_over()?;
        }
        if let Some((sender, threads)) = self.workers.take() {
            drop(sender);
            for thread in threads {
                if thread.join().is_err() {
                    return Err(worker_gone());
                }
            }
        }
        let mut leaves = std::mem::replace(&mut *lock(&self.done), Ok(Vec::new()))?;
        leaves.sort_unstable_by_key(|(place, _)| *place);
        if leaves.len() != self.handed {
            return Err(worker_gone());
        }
        Ok(leaves.into_iter().map(|(_, child)| child).collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn worker_gone() -> ContentError {
    ContentError::Refused { what: "packing metadata".to_owned(), problem: "a worker thread ended early; try again".to_owned() }
}

fn take_failure(done: &Done) -> ContentError {
    std::mem::replace(&mut *lock(done), Ok(Vec::new())).err().unwrap_or_else(worker_gone)
}

fn work(store: &ObjectStore, receiver: &Mutex<Receiver<Job>>, done: &Done) {
    loop {
        let next = lock(receiver).recv();
        let Ok((place, draft)) = next else { return };
        if lock(done).is_err() {
            return;
        }
        let written = draft.write(store);
        let mut done = lock(done);
        match (&mut *done, written) {
            (Ok(leaves), Ok(child)) => leaves.push((place, child)),
            (Ok(_), Err(e)) => {
                *done = Err(e);
                return;
            }
            (Err(_), _) => return,
        }
    }
}
