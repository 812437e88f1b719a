//! What the worker hears: events of the host gathered into bursts and mapped to resources, words of the daemon, and the end of a
//! step under way. Between runs the worker asks for it; while a step is under way the engine does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use drydock_domain::policy::{AssignmentHealth, PolicyResult};
use jiff::Timestamp;

use crate::link::session::lock;
use crate::policy::debounce::Debounce;
use crate::policy::engine::{Happens, Key, Meanwhile, Noticed, Outcome};
use crate::policy::kind::Watch;
use crate::policy::outbox::{News, Outbox};

/// What the worker is told.
#[derive(Debug)]
pub enum Heard {
    /// Something happened on the host, and when.
    Happened(Vec<Watch>, Instant, Timestamp),
    /// The daemon wrote a file.
    Daemon,
    /// The step under way is over.
    StepIsOver,
    /// How health checks stand.
    Health(AssignmentHealth),
}

#[derive(Default)]
struct State {
    /// What is watched, and whose it is.
    watching: BTreeMap<Watch, BTreeSet<Key>>,
    debounce: Debounce,
    /// When each burst began, by the host's clock.
    began: BTreeMap<Watch, Timestamp>,
    /// To be looked at.
    events: BTreeMap<Key, Noticed>,
    /// To be looked at once the run under way is over.
    later: BTreeMap<Key, Noticed>,
    daemon: bool,
    /// How health checks stand, oldest first.
    health: Vec<AssignmentHealth>,
}

/// What is heard.
pub struct Ear {
    inbox: Mutex<Receiver<Heard>>,
    ring: Sender<Heard>,
    state: Mutex<State>,
}

/// What a change of packages is noticed by.
pub const BY_PACKAGES: &str = "package database";

fn noticed_by(watch: &Watch) -> &'static str {
    match watch {
        Watch::Path(_) => "file event",
        Watch::Sysctl(_) => "kernel parameter",
        Watch::Unit(_) => "unit signal",
        Watch::Packages => BY_PACKAGES,
    }
}

impl State {
    /// Bursts that are over become events of resources.
    fn gather(&mut self, now: Instant) {
        for (watch, _) in self.debounce.take(now) {
            let at = self.began.remove(&watch).unwrap_or_else(Timestamp::now);
            for key in self.watching.get(&watch).into_iter().flatten() {
                self.events.entry(key.clone()).or_insert(Noticed { at, by: noticed_by(&watch) });
            }
        }
    }
}

impl Ear {
    /// Hears by `inbox`; `ring` is its other end.
    pub fn new(inbox: Receiver<Heard>, ring: Sender<Heard>) -> Self {
        Ear { inbox: Mutex::new(inbox), ring, state: Mutex::default() }
    }

    /// What is watched from now on; true when that is news.
    pub fn watch(&self, watching: BTreeMap<Watch, BTreeSet<Key>>) -> bool {
        let mut state = lock(&self.state);
        let is_news = !watching.keys().eq(state.watching.keys());
        state.watching = watching;
        is_news
    }

    /// This resource is to be looked at.
    pub fn notice(&self, key: Key, noticed: Noticed) {
        lock(&self.state).events.entry(key).or_insert(noticed);
    }

    /// Another document: events of the old one are about nothing.
    pub fn forget(&self) {
        let mut state = lock(&self.state);
        state.events.clear();
        state.later.clear();
    }

    /// Events that are to be looked at now.
    pub fn events(&self, now: Instant) -> BTreeMap<Key, Noticed> {
        let mut state = lock(&self.state);
        state.gather(now);
        let later = std::mem::take(&mut state.later);
        for (key, noticed) in later {
            state.events.entry(key).or_insert(noticed);
        }
        std::mem::take(&mut state.events)
    }

    /// Did the daemon say something since this was asked last?
    pub fn daemon(&self) -> bool {
        std::mem::take(&mut lock(&self.state).daemon)
    }

    /// The other end of what is heard.
    pub fn ring(&self) -> Sender<Heard> {
        self.ring.clone()
    }

    /// What was said of health checks since this was asked last.
    pub fn health(&self) -> Vec<AssignmentHealth> {
        std::mem::take(&mut lock(&self.state).health)
    }

    /// Hears what there is, without waiting.
    pub fn drain(&self) {
        let inbox = lock(&self.inbox);
        while let Ok(heard) = inbox.try_recv() {
            self.hear(heard);
        }
    }

    /// Waits for a word, or until a burst is over, or for `most`; false when nobody can say anything any more.
    pub fn listen(&self, most: Option<Duration>) -> bool {
        match self.next(most) {
            Ok(heard) => {
                self.hear(heard);
                true
            }
            Err(e) => e == RecvTimeoutError::Timeout,
        }
    }

    fn next(&self, most: Option<Duration>) -> Result<Heard, RecvTimeoutError> {
        let burst = lock(&self.state).debounce.due().map(|due| due.saturating_duration_since(Instant::now()));
        let inbox = lock(&self.inbox);
        match burst.into_iter().chain(most).min() {
            Some(wait) => inbox.recv_timeout(wait),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn hear(&self, heard: Heard) {
        let mut state = lock(&self.state);
        match heard {
            Heard::Daemon => state.daemon = true,
            Heard::Health(health) => state.health.push(health),
            Heard::Happened(watches, now, at) => {
                for watch in watches {
                    state.began.entry(watch.clone()).or_insert(at);
                    state.debounce.push(watch, now);
                }
            }
            // Of a step whose end was seen otherwise.
            Heard::StepIsOver => {}
        }
    }
}

/// What happens during a run.
pub struct During<'a> {
    /// By which it is heard.
    pub ear: &'a Ear,
    /// Events wait until the run is over.
    pub waits: bool,
    /// Where results go.
    pub outbox: Mutex<&'a mut Outbox>,
    /// Of the document.
    pub generation: u64,
    /// What keeps the policies as a whole from being kept.
    pub problem: String,
}

impl Meanwhile for During<'_> {
    fn wait(&self) -> Happens {
        loop {
            if !self.waits {
                let mut state = lock(&self.ear.state);
                state.gather(Instant::now());
                if !state.events.is_empty() {
                    return Happens::Events(std::mem::take(&mut state.events));
                }
            }
            // Without an end of the burst to wait for when it would not be looked at anyway.
            let heard = if self.waits {
                lock(&self.ear.inbox).recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.ear.next(None)
            };
            match heard {
                Ok(Heard::StepIsOver) | Err(RecvTimeoutError::Disconnected) => return Happens::StepIsOver,
                Ok(heard) => self.ear.hear(heard),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn step_is_over(&self) {
        // The other end is in the same place as this one.
        let _ = self.ear.ring.send(Heard::StepIsOver);
    }

    fn postpone(&self, events: BTreeMap<Key, Noticed>) {
        lock(&self.ear.state).later.extend(events);
    }

    fn tell(&self, outcome: Outcome, policies: Vec<PolicyResult>) {
        let now = Timestamp::now();
        let again = outcome.again.into_iter().map(|key| (key, Noticed { at: now, by: "change of another resource" }));
        self.postpone(again.collect());
        let mut outbox = lock(&self.outbox);
        let check = outbox.results().check;
        let (generation, problem) = (self.generation, self.problem.clone());
        outbox.put(News { generation, check, problem, policies, drift: outcome.drift }, now);
    }
}
