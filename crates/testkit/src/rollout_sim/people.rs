//! What people and gates do to the simulated server's jobs: each a transaction.

use drydock_domain::patch::spec::Concurrency;
use drydock_domain::patch::task::TaskState;
use drydock_domain::rollout::{Approval, Halt, HaltCause, LayoutFacts, LayoutHost, Paused, WebhookAnswer, lay_out};

use super::scenario::{Act, Scenario, stamp};
use super::server::{Killed, LastSeen, Server, layout_host};
use super::store::{Change, Task};

impl Server {
    /// A person acts.
    pub(super) fn act(
        &mut self,
        scenario: &Scenario,
        j: usize,
        act: Act,
        now: i64,
        last_seen: LastSeen<'_>,
    ) -> Result<(), Killed> {
        let Some(job) = self.store.jobs.get(j).filter(|job| !job.state.is_final()) else { return Ok(()) };
        if act == Act::Replan {
            return self.replan(scenario, j, now);
        }
        let mut control = job.control.clone();
        let (by, at) = ("eve".to_owned(), stamp(now));
        let yes = Approval { by: by.clone(), at };
        let mut abort = false;
        match act {
            Act::Approve => control.approved = Some(yes),
            Act::ApproveGate(wave) => control.gates.entry(wave).or_default().approved = Some(yes),
            Act::Pause => control.paused = Some(Paused { by, since: at }),
            Act::Unpause => control.paused = None,
            Act::Halt if control.halted.is_none() => {
                control.halted = Some(Halt { at, wave: None, cause: HaltCause::Asked { by, reason: String::new() } });
            }
            Act::Resume => {
                control.halted = None;
                control.forgiven_until = Some(at);
                control.forgiven_decayed.extend(self.decayed(j, now, last_seen));
            }
            Act::Abort => abort = true,
            Act::Halt | Act::Replan => {}
        }
        self.tx(|store| {
            store.jobs[j].control = control;
            store.jobs[j].cancel_requested |= abort;
            store.noted(Change::Control(j));
        })
    }

    /// A webhook answered.
    pub(super) fn gate_answer(&mut self, j: usize, wave: u16, passed: bool, now: i64) -> Result<(), Killed> {
        if self.store.jobs[j].state.is_final() {
            return Ok(());
        }
        let answer = WebhookAnswer { passed, detail: "as the gate says".into(), at: stamp(now) };
        self.tx(|store| {
            store.jobs[j].control.gates.entry(wave).or_default().webhook = Some(answer);
            store.noted(Change::Control(j));
        })
    }

    /// Lays the rollout out anew with twice the budget and no last wave but `rest`; who has begun stays in its wave.
    fn replan(&mut self, scenario: &Scenario, j: usize, now: i64) -> Result<(), Killed> {
        let job = &self.store.jobs[j];
        let Some(parent) = job.plans.last() else { return Ok(()) };
        let mut rollout = parent.rollout.clone();
        if let Some(Concurrency::Fixed(n)) = rollout.disruption_budget.as_mut() {
            *n = n.saturating_mul(2);
        }
        if rollout.waves.len() > 1 {
            rollout.waves.pop();
        }
        let kinds: Vec<usize> = scenario.hosts.iter().map(|h| h.kind).collect();
        let begun = |t: &Task| (t.state != TaskState::Pending).then_some(t.wave);
        let layout: Vec<LayoutHost<'_>> = job.tasks.iter().map(|t| layout_host(scenario, &kinds, j, t.host, begun(t))).collect();
        let facts = LayoutFacts { rollout: &rollout, drawn_seed: 0, parent: Some(parent), why: "asked", now: stamp(now) };
        let (plan, waves) = lay_out(&facts, &layout);
        self.tx(|store| {
            let job = &mut store.jobs[j];
            job.tasks.iter_mut().zip(waves).for_each(|(task, wave)| task.wave = wave);
            job.plans.push(plan);
            store.noted(Change::Plan(j));
        })
    }
}
