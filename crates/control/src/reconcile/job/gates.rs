//! Webhooks of gates: asked outside of turns, in the background; the answer is stored with the job and decided on by the
//! next turn. A question that is lost (the server died) is asked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use drydock_content::fetch::{HookAnswer, ask_hook};
use drydock_domain::ids::JobId;
use drydock_domain::rollout::{Decision, RolloutPlan, WebhookAnswer};
use drydock_store::{commit, patch_jobs};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::Control;
use crate::error::Result;

/// A webhook answers within this time, seconds.
const ANSWER_WITHIN_SECS: u64 = 10;
/// Who asked to be asked again is asked again after this, seconds.
const AGAIN_AFTER_SECS: i64 = 30;
/// A question under way is not repeated before this, seconds; longer than any answer takes.
const UNDER_WAY_SECS: i64 = 60;
/// *Too early*: asks to be asked again.
const TOO_EARLY: u16 = 425;
/// How often an answer is stored anew when the job's row changes meanwhile, count.
const RETRIES: usize = 20;

/// When each gate may be asked next. Lost at a restart, which costs one question more.
#[derive(Debug, Default)]
pub(crate) struct GateAsks(Mutex<HashMap<(JobId, u16), Timestamp>>);

impl GateAsks {
    /// May it be asked now? Then it is under way.
    fn take(&self, gate: (JobId, u16), now: Timestamp) -> bool {
        let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks.retain(|_, at| *at > now);
        if asks.contains_key(&gate) {
            return false;
        }
        asks.insert(gate, later(now, UNDER_WAY_SECS));
        true
    }

    fn done(&self, gate: (JobId, u16), again_at: Option<Timestamp>) {
        let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match again_at {
            Some(at) => asks.insert(gate, at),
            None => asks.remove(&gate),
        };
    }
}

/// What a webhook is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    job: JobId,
    display_name: &'a str,
    plan: u32,
    wave: &'a str,
    counts: Counts,
}

/// The wave's hosts.
#[derive(Serialize)]
struct Counts {
    hosts: u32,
    succeeded: u32,
    failed: u32,
}

/// Asks the webhooks that are due.
pub(super) fn ask(control: &Control, job: (JobId, &str), plan: &RolloutPlan, decision: &Decision, now: Timestamp) {
    for wave in &decision.webhooks_due {
        let i = usize::from(*wave);
        let (Some(planned), Some(status)) = (plan.waves.get(i), decision.waves.get(i)) else { continue };
        let Some(url) = planned.gate.as_ref().and_then(|g| g.webhook.clone()) else { continue };
        let counts = Counts { hosts: status.hosts, succeeded: status.succeeded, failed: status.failed };
        let question = Question { job: job.0, display_name: job.1, plan: plan.number, wave: &planned.name, counts };
        let Ok(body) = serde_json::to_string(&question) else { continue };
        let gate = (job.0, *wave);
        if control.gate_asks().take(gate, now) {
            let (control, plan) = (control.clone(), plan.number);
            tokio::spawn(async move {
                let answer = ask_hook(&url, body, Duration::from_secs(ANSWER_WITHIN_SECS)).await;
                take_in(&control, gate, plan, answer).await;
            });
        }
    }
}

async fn take_in(control: &Control, gate: (JobId, u16), plan: u32, answer: std::result::Result<HookAnswer, String>) {
    let (passed, detail) = match answer {
        Ok(HookAnswer { status: TOO_EARLY, .. }) => {
            return control.gate_asks().done(gate, Some(later(control.now(), AGAIN_AFTER_SECS)));
        }
        Ok(HookAnswer { status, text }) => ((200..300).contains(&status), format!("HTTP {status} {text}").trim().to_owned()),
        Err(why) => (false, format!("its webhook {why}")),
    };
    let answer = WebhookAnswer { passed, detail, at: control.now() };
    if let Err(error) = store(control, gate, plan, answer).await {
        tracing::error!(job.id = %gate.0, wave = gate.1, %error, "cannot store what a gate said; it is asked again");
    }
    control.gate_asks().done(gate, None);
    control.wake();
}

async fn store(control: &Control, gate: (JobId, u16), plan: u32, answer: WebhookAnswer) -> Result<()> {
    for _ in 0..RETRIES {
        let Some(mut job) = patch_jobs::find(&mut *control.read().await?, gate.0).await? else { return Ok(()) };
        // Another plan has other waves: it asks for itself.
        if job.state.is_final() || job.plans.last().is_none_or(|p| p.number != plan) {
            return Ok(());
        }
        job.control.gates.entry(gate.1).or_default().webhook = Some(answer.clone());
        let mut tx = control.begin().await?;
        if patch_jobs::update(&mut tx, &job).await? {
            commit(tx).await?;
            control.job_changed(gate.0);
            return Ok(());
        }
    }
    Ok(())
}

fn later(now: Timestamp, secs: i64) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX)
}
