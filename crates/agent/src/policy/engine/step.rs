//! What surrounds every step of a kind: its directory, its note, its limit, and the end of its mistakes. A step runs on a thread
//! of its own, so that a script of ten minutes keeps nobody from repairing what happens meanwhile: other resources' events
//! are looked at between its beginning and its end.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use drydock_domain::inventory::fingerprint;
use drydock_domain::policy::Resource;
use drydock_domain::policy::host::STEP_TIMEOUT_DEFAULT_SECS;
use serde::Serialize;

use super::{At, Engine, Going, Happens, Key, Noticed, Run, Scope, Slot, Workplace};
use crate::platform;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Memory, Watch};
use crate::policy::kinds::{FileMemory, NoMemory};

/// Of a file name, characters.
const NAME_CHARS: usize = 32;

fn name<T: Serialize>(of: &T) -> String {
    // Plain texts always have a JSON form.
    fingerprint(&serde_json::to_vec(of).unwrap_or_default())[..NAME_CHARS].to_owned()
}

/// Name of a resource's directory of downloads: it goes when the resource changes.
pub fn scratch_name(key: &Key, resource: &Resource) -> String {
    name(&(key, resource))
}

/// Name of a resource's note: it goes with the resource.
pub fn memory_name(key: &Key) -> String {
    name(key)
}

/// Calls `work` with what a resource may use. A panic in it is a failure like others.
pub fn with_cx<T>(
    kind: &mut dyn Kind,
    (key, resource): (&Key, &Resource),
    place: &Workplace<'_>,
    work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let scratch = place.scratch.join(scratch_name(key, resource));
    platform::private_dir(&scratch).map_err(|e| Failure::of(format!("cannot create {}: {e}", scratch.display())))?;
    let kept = place.memory.as_ref().map(|dir| FileMemory::new(dir.join(memory_name(key))));
    let memory: &dyn Memory = match &kept {
        Some(file) => file,
        None => &NoMemory,
    };
    let cx = Cx {
        root: place.root,
        runner: place.runner,
        transactions: place.transactions,
        units: place.units,
        scratch: &scratch,
        limit: Duration::from_secs(resource.timeout_secs.unwrap_or(STEP_TIMEOUT_DEFAULT_SECS)),
        secrets: place.secrets,
        memory,
    };
    // What a kind leaves behind is read again by its next validation.
    catch_unwind(AssertUnwindSafe(|| work(kind, &cx))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref().cloned());
        let why = text.unwrap_or_else(|| "no word".to_owned());
        Err(Failure::of(format!("the agent made a mistake here ({why}); please report it")))
    })
}

/// Stands in the place of a kind whose step is under way.
struct Away;

const AWAY: &str = "a step of this resource is under way";

impl Kind for Away {
    fn validate(&mut self, _: &Cx<'_>) -> Result<(), Failure> {
        Err(Failure::of(AWAY))
    }

    fn check(&mut self, _: &Cx<'_>) -> Result<Found, Failure> {
        Err(Failure::of(AWAY))
    }

    fn enforce(&mut self, _: &Cx<'_>) -> Result<Done, Failure> {
        Err(Failure::of(AWAY))
    }

    fn remove(&mut self, _: &Cx<'_>) -> Result<Done, Failure> {
        Err(Failure::of(AWAY))
    }

    fn watches(&self) -> Vec<Watch> {
        Vec::new()
    }
}

impl Engine {
    /// Runs one step of the resource at `at` to its end.
    pub(super) fn work<T: Send>(
        &mut self,
        at: At,
        going: &mut Going<'_, '_>,
        work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let tools = going.tools;
        let slot = &mut self.policies[at.0].slots[at.1];
        let Some(meanwhile) = tools.meanwhile.filter(|_| !going.between) else {
            return with_cx(slot.kind.as_mut(), (&slot.key, &slot.resource), &tools.place, work);
        };
        let (key, resource) = (slot.key.clone(), slot.resource.clone());
        let mut kind = std::mem::replace(&mut slot.kind, Box::new(Away));
        slot.is_away = true;
        let (away, place) = (kind.as_mut(), &tools.place);
        let done = std::thread::scope(|scope| {
            let run = move || {
                let done = with_cx(away, (&key, &resource), place, work);
                meanwhile.step_is_over();
                done
            };
            let thread = std::thread::Builder::new().name("step".to_owned()).spawn_scoped(scope, run);
            let Ok(thread) = thread else { return Err(Failure::of("the host gives no thread; it has too many processes")) };
            while let Happens::Events(events) = meanwhile.wait() {
                self.between(events, going);
            }
            // The thread ends in words: its panics are failures.
            thread.join().unwrap_or_else(|_| Err(Failure::of("the agent made a mistake here")))
        });
        let slot = &mut self.policies[at.0].slots[at.1];
        (slot.kind, slot.is_away) = (kind, false);
        done
    }

    /// Looks at events while a step is under way; some of them have to wait for the end of the run.
    fn between(&mut self, events: BTreeMap<Key, Noticed>, going: &mut Going<'_, '_>) {
        let Some(meanwhile) = going.tools.meanwhile else { return };
        // What this run has changed is checked at its end, which also says what became of its drift.
        let number = going.number;
        let waits = |s: &Slot| s.is_away || s.ran == number || s.kind.changes_packages();
        let must_wait = |key: &Key| self.slots().any(|s| s.key == *key && waits(s));
        let (later, now): (BTreeMap<Key, Noticed>, _) = events.into_iter().partition(|(key, _)| must_wait(key));
        meanwhile.postpone(later);
        if now.is_empty() {
            return;
        }
        let run = Run {
            id: going.run.id.clone(),
            scope: Scope::Resources(now.keys().cloned().collect()),
            only_check: going.run.only_check,
            noticed_by: "event",
            noticed: now,
            cause: String::new(),
        };
        let outcome = self.run_once(&run, going.tools, going.leave, true);
        meanwhile.tell(outcome, self.results());
    }
}
