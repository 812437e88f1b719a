//! Wake-ups inside one process: hints to attached agents, and "look again" for whoever watches a job. None carries
//! data and all coalesce; losing one costs time, never work, because agents and reconcilers also look by themselves.
//!
//! Absent on purpose: other server processes on the same database. Their agents find their work at the next pull.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drydock_domain::ids::InstanceId;
use tokio::sync::watch;

/// A map that survives a panic of another holder: every change of it is a single insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Attached {
    last_number: u64,
    agents: HashMap<InstanceId, (u64, watch::Sender<u64>)>,
}

/// The agents that hold a stream open, and how to reach them.
#[derive(Debug, Clone, Default)]
pub struct HintHub(Arc<Mutex<Attached>>);

impl HintHub {
    /// Registers an open stream. An older stream of the same instance ends: the agent reconnected.
    pub fn attach(&self, instance: InstanceId) -> Attachment {
        let (sender, receiver) = watch::channel(0);
        let mut attached = lock(&self.0);
        attached.last_number += 1;
        let number = attached.last_number;
        attached.agents.insert(instance, (number, sender));
        Attachment { hub: self.clone(), instance, number, receiver }
    }

    /// Tells the instance to look, if it is attached here.
    pub fn hint(&self, instance: InstanceId) {
        if let Some((_, sender)) = lock(&self.0).agents.get(&instance) {
            sender.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    /// Ends the instance's stream.
    pub fn cut(&self, instance: InstanceId) {
        lock(&self.0).agents.remove(&instance);
    }

    /// Does the instance hold a stream open here?
    pub fn is_attached(&self, instance: InstanceId) -> bool {
        lock(&self.0).agents.contains_key(&instance)
    }

    /// How many do.
    pub fn attached(&self) -> usize {
        lock(&self.0).agents.len()
    }
}

/// One open stream; dropping it detaches.
#[derive(Debug)]
pub struct Attachment {
    hub: HintHub,
    instance: InstanceId,
    number: u64,
    receiver: watch::Receiver<u64>,
}

impl Attachment {
    /// Waits for a hint. `None`: the stream is over (revoked, or replaced by a newer one).
    pub async fn next(&mut self) -> Option<()> {
        self.receiver.changed().await.ok()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut attached = lock(&self.hub.0);
        if attached.agents.get(&self.instance).is_some_and(|(number, _)| *number == self.number) {
            attached.agents.remove(&self.instance);
        }
    }
}

/// Who watches which job.
#[derive(Debug, Clone)]
pub(crate) struct JobWatches<Id>(Arc<Mutex<HashMap<Id, watch::Sender<u64>>>>);

impl<Id> Default for JobWatches<Id> {
    fn default() -> Self {
        JobWatches(Arc::default())
    }
}

impl<Id: Eq + Hash> JobWatches<Id> {
    pub(crate) fn watch(&self, job: Id) -> JobWatch {
        let mut watches = lock(&self.0);
        // Bounded by the watchers alive: entries nobody watches go here and in `changed`.
        watches.retain(|_, sender| sender.receiver_count() > 0);
        let sender = watches.entry(job).or_insert_with(|| watch::channel(0).0);
        JobWatch { receiver: sender.subscribe() }
    }

    pub(crate) fn changed(&self, job: Id) {
        let mut watches = lock(&self.0);
        if let Some(sender) = watches.get(&job) {
            if sender.receiver_count() == 0 {
                watches.remove(&job);
            } else {
                sender.send_modify(|n| *n = n.wrapping_add(1));
            }
        }
    }
}

/// Tells when a job may have changed.
#[derive(Debug)]
pub struct JobWatch {
    receiver: watch::Receiver<u64>,
}

impl JobWatch {
    /// Waits until the job or one of its tasks changed since the last call (several changes count once).
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // The sender lives as long as somebody watches, so this is the server going down.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_hint_reaches_the_newest_stream_and_a_cut_ends_it() {
        let hub = HintHub::default();
        let id = InstanceId(Uuid::from_u128(1));
        let mut old = hub.attach(id);
        let mut new = hub.attach(id);
        assert_eq!(old.next().await, None);
        drop(old);
        assert!(hub.is_attached(id), "dropping a replaced stream detaches nobody");
        hub.hint(id);
        hub.hint(id);
        assert_eq!(new.next().await, Some(()));
        hub.cut(id);
        assert_eq!(new.next().await, None);
        assert!(!hub.is_attached(id));
    }
}
