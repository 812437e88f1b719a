//! Resources of paper, for tests: what is wrong with them, and what goes wrong with mending them, is set by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use drydock_domain::policy::{Evidence, Resource};

use crate::link::session::lock;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, UnitState, Units, Watch};

/// A host of fakes: which resources are not as they should be, and what goes wrong.
#[derive(Default)]
pub struct World {
    pub wanting: BTreeSet<String>,
    /// `check b` → what happens then.
    pub faults: BTreeMap<String, Fault>,
    /// Enforcing this one makes that one wanting.
    pub breaks: BTreeMap<String, String>,
    pub packages: BTreeSet<String>,
    pub calls: Vec<String>,
}

#[derive(Clone)]
pub enum Fault {
    Error,
    TimedOut,
    Panic,
    /// It says it worked, and it did not.
    Useless,
    Foreign,
    /// It takes until the lock is free.
    Waits(Arc<Mutex<()>>),
}

pub struct Fake {
    id: String,
    world: Arc<Mutex<World>>,
}

impl Fake {
    /// The resource, in this world.
    pub fn build(resource: &Resource, world: &Arc<Mutex<World>>) -> Box<dyn Kind> {
        Box::new(Fake { id: resource.id.clone(), world: Arc::clone(world) })
    }

    fn call(&self, op: &str) -> Result<bool, Failure> {
        let call = format!("{op} {}", self.id);
        let fault = {
            let mut world = lock(&self.world);
            world.calls.push(call.clone());
            world.faults.get(&call).cloned()
        };
        match fault {
            Some(Fault::Waits(until)) => {
                drop(lock(&until));
                Ok(true)
            }
            Some(Fault::Error) => Err(Failure::of(format!("{call} failed"))),
            Some(Fault::TimedOut) => Err(Failure { timed_out: true, ..Failure::of("it took too long") }),
            Some(Fault::Panic) => panic!("a mistake in {call}"),
            Some(Fault::Useless | Fault::Foreign) => Ok(false),
            None => Ok(true),
        }
    }
}

impl Kind for Fake {
    fn validate(&mut self, _: &Cx<'_>) -> Result<(), Failure> {
        self.call("validate").map(|_| ())
    }

    fn check(&mut self, _: &Cx<'_>) -> Result<Found, Failure> {
        if !self.call("check")? {
            return Ok(Found::NotApplicable("of another system".into()));
        }
        let evidence = Some(Evidence::State { old: "bad".into(), new: "good".into() });
        let wanting = lock(&self.world).wanting.contains(&self.id);
        Ok(if wanting { Found::NonCompliant { what: "it is bad".into(), evidence } } else { Found::Compliant })
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        assert_eq!(cx.limit.as_secs(), 600);
        let works = self.call("enforce")?;
        let mut world = lock(&self.world);
        if works {
            world.wanting.remove(&self.id);
        }
        if let Some(other) = world.breaks.get(&self.id).cloned() {
            world.wanting.insert(other);
        }
        Ok(Done { what: "made good".into(), evidence: None, output: "left behind".into() })
    }

    fn remove(&mut self, _: &Cx<'_>) -> Result<Done, Failure> {
        self.call("remove").map(|_| Done::default())
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::Path(format!("/{}", self.id).into())]
    }

    fn notified(&mut self, _: &Cx<'_>) -> Result<Done, Failure> {
        self.call("notified").map(|_| Done { what: "reloaded".into(), ..Done::default() })
    }

    fn changes_packages(&self) -> bool {
        lock(&self.world).packages.contains(&self.id)
    }
}

pub struct NoUnits;

impl Units for NoUnits {
    fn state(&self, _: &str) -> Result<UnitState, Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn start(&self, _: &str, _: std::time::Duration) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn stop(&self, _: &str, _: std::time::Duration) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn reload_or_restart(&self, _: &str, _: std::time::Duration) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn set_enabled(&self, _: &str, _: bool) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn set_masked(&self, _: &str, _: bool) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
    fn daemon_reload(&self) -> Result<(), Failure> {
        Err(Failure::of("no systemd here"))
    }
}
