//! One patch task on this host as a machine: states carry their data, [`step`] is pure, the last arm refuses.
//!
//! ```text
//! ACCEPTED ─> PRE_STEP ─> CHECK(before) ─> REPAIR ─> REFRESH ─> PLAN ─> APPLY ─> VERIFY ─> CHECK(after) ─> POST_STEP ─> HEALTH ─> FINISHED
//!                           │   ▲                      ▲  │                │ ▲               │
//!                           ▼   │                      │  └─dry run─> FIN. ▼ │ (interrupted) ▼
//!                          REBOOT(before)              │                  REPAIR          REBOOT(after)
//!                                                      └────────────────────────────────────┘
//! ```
//! A task that only downloads goes ACCEPTED ─> REFRESH ─> PLAN ─> DOWNLOAD ─> FINISHED. A task with a maintenance window
//! WAITs in front of PRE_STEP (or CHECK), REPAIR, APPLY and REBOOT, one with reboot slots in front of REBOOT; after a wait in front
//! of APPLY it plans anew. Absent: clocks, processes, the ledger. The executor saves the state it gets from here before it
//! acts on it.

use drydock_domain::limits::REBOOTS_MAX;
use drydock_domain::patch::report::StepKind;
use drydock_domain::patch::spec::RebootConfig;
use drydock_domain::patch::task::TaskState;
use serde::{Deserialize, Serialize};

/// How often one plan is tried again after interruptions: a host that dies in every transaction must be looked at.
pub const APPLY_TRIES_MAX: u32 = 5;

/// Before or after patching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Before the first plan.
    Before,
    /// After a plan was applied or found empty.
    After,
}

/// What follows a repair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AfterRepair {
    /// Refresh: the ordinary course.
    Refresh,
    /// The rest of the interrupted plan.
    Apply {
        /// Tries so far.
        tries: u32,
    },
    /// Only look what became of it.
    Verify {
        /// How the task will end.
        ending: Ending,
    },
}

/// How applying ended, to be told after the truth has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It worked, says the tool.
    Good,
    /// It did not.
    Failed {
        /// Why.
        message: String,
    },
    /// Killed on request.
    Killed,
}

/// What waits for the host's maintenance window, or for a reboot slot, before it is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Held {
    /// The first step that changes the host.
    Begin,
    /// Mending what an earlier transaction left, and then the ordinary course.
    Repair,
    /// Installing the newest plans for the first time. A transaction that was begun is brought to its end.
    Apply,
    /// Going down.
    Reboot {
        /// Before or after patching.
        phase: Phase,
        /// The boot that is to end.
        boot: String,
    },
}

/// Where the task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum State {
    /// In the ledger, nothing begun.
    Accepted,
    /// Nothing runs; the task may begin something later.
    Wait {
        /// What.
        before: Held,
    },
    /// The operator's first script.
    PreStep,
    /// Does the host ask for a reboot?
    Check {
        /// Before or after patching.
        phase: Phase,
    },
    /// Going down.
    Reboot {
        /// Before or after patching.
        phase: Phase,
        /// The boot that is to end.
        boot: String,
    },
    /// Mending what was interrupted.
    Repair {
        /// What follows.
        then: AfterRepair,
    },
    /// Reading metadata.
    Refresh,
    /// The dry run.
    Plan,
    /// Downloading the newest plans' packages, installing nothing.
    Download,
    /// Installing the newest plans.
    Apply {
        /// Which try.
        tries: u32,
    },
    /// Reading the truth.
    Verify {
        /// How applying ended.
        ending: Ending,
    },
    /// The operator's last script.
    PostStep {
        /// The host asks for a reboot that it will not get.
        reboot_wanted: bool,
    },
    /// The job's health checks.
    Health {
        /// The host asks for a reboot that it will not get.
        reboot_wanted: bool,
    },
    /// Over.
    Finished {
        /// SUCCEEDED, FAILED …
        state: TaskState,
        /// One line for people.
        message: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The executor begins.
    Begin,
    /// The step did its work.
    Done,
    /// The step did not; `why` starts with what failed.
    Failed(String),
    /// The agent or host went down while it ran, and it cannot be taken up where it was.
    Interrupted,
    /// Killed on request.
    Killed,
    /// A plan with this many changes.
    Planned(usize),
    /// What the verification found wrong, if anything.
    Verified(Option<String>),
    /// Does the host ask for a reboot, and in which boot was that asked?
    HostAsks {
        /// It does.
        reboot: bool,
        /// The current boot.
        boot: String,
    },
    /// The host is up again.
    Booted,
    /// What waited may be begun.
    Admitted {
        /// Time has passed since the wait began.
        waited: bool,
    },
    /// Asked to stop before the next step, and by what.
    Stop(StopReason),
    /// The ledger cannot be written.
    CannotSave(String),
}

/// Why a task stops between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A person cancelled.
    Request,
    /// The job's duration ended.
    Deadline,
    /// The host's maintenance window does not open again.
    WindowOver,
}

/// What of the order and of the past decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Plan only.
    pub dry_run: bool,
    /// Plan, then only download.
    pub download_only: bool,
    /// There is a pre-step.
    pub pre_step: bool,
    /// There is a post-step.
    pub post_step: bool,
    /// When to reboot.
    pub reboot: RebootConfig,
    /// Reboots done for this task.
    pub reboots: u32,
    /// One of them was after patching.
    pub rebooted_after: bool,
    /// The host may be changed in its maintenance window only.
    pub windows: bool,
    /// A reboot needs a slot.
    pub reboot_slot: bool,
    /// There are health checks.
    pub health: bool,
    /// Something was applied, or the host was rebooted.
    pub changed: bool,
    /// The task takes another one back.
    pub undo: bool,
}

/// An event the state does not know: a fault of the executor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task in state {state:?} refuses {event:?}")]
pub struct Refused {
    /// State it is in.
    pub state: State,
    /// Event refused.
    pub event: Event,
}

impl State {
    /// The step that runs in this state, if one does.
    pub fn step_kind(&self) -> Option<StepKind> {
        match self {
            State::Accepted | State::Wait { .. } | State::Check { .. } | State::Finished { .. } => None,
            State::PreStep => Some(StepKind::PreStep),
            State::Reboot { .. } => Some(StepKind::Reboot),
            State::Repair { .. } => Some(StepKind::Repair),
            State::Refresh => Some(StepKind::Refresh),
            State::Plan => Some(StepKind::Plan),
            State::Download => Some(StepKind::Download),
            State::Apply { .. } => Some(StepKind::Apply),
            State::Verify { .. } => Some(StepKind::Verify),
            State::PostStep { .. } => Some(StepKind::PostStep),
            State::Health { .. } => Some(StepKind::Health),
        }
    }

    /// The shown step, for example `APPLY`.
    pub fn label(&self) -> &'static str {
        match self {
            State::Accepted => "ACCEPTED",
            State::Wait { before: Held::Begin } => "WAIT",
            State::Wait { before: Held::Repair } => "WAIT_REPAIR",
            State::Wait { before: Held::Apply } => "WAIT_APPLY",
            State::Wait { before: Held::Reboot { .. } } => "WAIT_REBOOT",
            State::PreStep => "PRE_STEP",
            State::Check { .. } => "REBOOT_CHECK",
            State::Reboot { .. } => "REBOOT",
            State::Repair { .. } => "REPAIR",
            State::Refresh => "REFRESH",
            State::Plan => "PLAN",
            State::Download => "DOWNLOAD",
            State::Apply { .. } => "APPLY",
            State::Verify { .. } => "VERIFY",
            State::PostStep { .. } => "POST_STEP",
            State::Health { .. } => "HEALTH",
            State::Finished { .. } => "FINISHED",
        }
    }

    /// What the server is told.
    pub fn task_state(&self) -> TaskState {
        match self {
            State::PreStep => TaskState::RunningPrePatchStep,
            State::Reboot { .. } => TaskState::Rebooting,
            State::Apply { .. }
            | State::Verify { .. }
            | State::Repair { then: AfterRepair::Apply { .. } | AfterRepair::Verify { .. } } => TaskState::ApplyingPatches,
            State::PostStep { .. } | State::Health { .. } => TaskState::RunningPostPatchStep,
            State::Download => TaskState::DownloadingPatches,
            State::Finished { state, .. } => *state,
            State::Accepted | State::Wait { .. } | State::Check { .. } | State::Repair { .. } | State::Refresh | State::Plan => {
                TaskState::Started
            }
        }
    }

    /// Nothing more will happen.
    pub fn is_finished(&self) -> bool {
        matches!(self, State::Finished { .. })
    }

    /// May the task stop here, before this step? Not while a half-applied transaction must be mended and read.
    fn may_stop(&self) -> bool {
        !matches!(
            self,
            State::Finished { .. }
                | State::Verify { .. }
                | State::Repair { then: AfterRepair::Verify { .. } | AfterRepair::Apply { .. } }
        )
    }
}

fn finished(state: TaskState, message: impl Into<String>) -> State {
    State::Finished { state, message: message.into() }
}

fn failed(message: impl Into<String>) -> State {
    finished(TaskState::Failed, message)
}

/// The next state.
pub fn step(state: State, event: Event, rules: Rules) -> Result<State, Refused> {
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (s, E::Stop(reason)) if s.may_stop() => stopped(&s, reason),
        (s, E::CannotSave(why)) if !s.is_finished() => cannot_save(&s, &why),
        (S::Accepted, E::Begin) if rules.dry_run || rules.download_only => S::Refresh,
        (S::Accepted, E::Begin) => held(Held::Begin, rules),
        (S::Accepted | S::Wait { before: Held::Begin }, E::Failed(why)) => failed(format!("{why}; nothing was patched")),
        // What was planned before the wait may not be there any more.
        (S::Wait { before: Held::Apply }, E::Admitted { waited: true }) => S::Refresh,
        (S::Wait { before }, E::Admitted { .. }) => begun(before, rules),
        (S::PreStep, E::Done) => S::Check { phase: Phase::Before },
        (S::PreStep, E::Failed(why)) => failed(format!("the pre-step failed: {why}; nothing was patched")),
        (s @ (S::PreStep | S::Repair { then: AfterRepair::Refresh } | S::Refresh | S::Plan | S::Download), E::Killed) => {
            finished(TaskState::Canceled, format!("killed on request during {}", s.label()))
        }
        (S::PreStep, E::Interrupted) => failed("the pre-step was interrupted and is never run twice; nothing was patched"),
        (S::Check { phase }, E::HostAsks { reboot, boot }) => checked(phase, reboot, boot, rules),
        (S::Reboot { phase: Phase::Before, .. }, E::Booted) => S::Check { phase: Phase::Before },
        (S::Reboot { phase: Phase::After, .. }, E::Booted) => S::Refresh,
        (S::Reboot { .. }, E::Failed(why)) => failed(format!("the host did not reboot: {why}")),
        (S::Repair { then: AfterRepair::Refresh }, E::Done) => S::Refresh,
        (S::Repair { then: AfterRepair::Apply { tries } }, E::Done) => S::Apply { tries },
        (S::Repair { then: AfterRepair::Verify { ending } }, E::Done) => S::Verify { ending },
        (S::Repair { then: AfterRepair::Refresh }, E::Failed(why)) => {
            failed(format!("an interrupted transaction could not be repaired: {why}"))
        }
        (S::Repair { then: AfterRepair::Verify { ending: Ending::Killed } }, E::Failed(_)) => {
            S::Verify { ending: Ending::Killed }
        }
        (S::Repair { .. }, E::Failed(why)) => {
            S::Verify { ending: Ending::Failed { message: format!("the interrupted transaction could not be repaired: {why}") } }
        }
        (S::Refresh, E::Done) => S::Plan,
        (S::Refresh, E::Failed(why)) => failed(format!("the repositories could not be read: {why}")),
        (S::Plan, E::Planned(n)) => planned(n, rules),
        (S::Download, E::Done) => finished(TaskState::Succeeded, "staged: the packages are downloaded, nothing was installed"),
        (S::Download, E::Failed(why)) => failed(format!("the packages could not be downloaded: {why}; nothing was installed")),
        (S::Plan, E::Failed(why)) => failed(format!("no plan could be made: {why}")),
        (S::Apply { .. }, E::Done) => S::Verify { ending: Ending::Good },
        (S::Apply { .. }, E::Failed(message)) => S::Verify { ending: Ending::Failed { message } },
        (S::Apply { .. }, E::Killed) => S::Repair { then: AfterRepair::Verify { ending: Ending::Killed } },
        (S::Apply { tries }, E::Interrupted) if tries < APPLY_TRIES_MAX => {
            S::Repair { then: AfterRepair::Apply { tries: tries + 1 } }
        }
        (S::Apply { tries }, E::Interrupted) => S::Repair {
            then: AfterRepair::Verify {
                ending: Ending::Failed {
                    message: format!("the transaction was interrupted {tries} times; look why the host goes down"),
                },
            },
        },
        (S::Verify { ending: Ending::Killed }, E::Verified(_)) => {
            finished(TaskState::Canceled, "stopped on request during APPLY; the package results tell what was done")
        }
        (S::Verify { ending: Ending::Failed { message } }, E::Verified(found)) => {
            failed(found.map_or(message.clone(), |f| format!("{message}; {f}")))
        }
        (S::Verify { ending: Ending::Good }, E::Verified(Some(found))) => failed(found),
        (S::Verify { ending: Ending::Good }, E::Verified(None)) => S::Check { phase: Phase::After },
        (S::Verify { .. }, E::Failed(why)) => failed(format!("the package database could not be read afterwards: {why}")),
        (s @ (S::PostStep { .. } | S::Health { .. }), e) => return closing(s, e, rules),
        (state, event) => return Err(Refused { state, event }),
    })
}

/// What follows patching.
fn closing(state: State, event: Event, rules: Rules) -> Result<State, Refused> {
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (S::PostStep { reboot_wanted }, E::Done) => last_look(reboot_wanted, rules),
        (S::PostStep { .. }, E::Failed(why)) => failed(format!("the post-step failed: {why}; the updates are installed")),
        (S::PostStep { .. }, E::Killed) => {
            finished(TaskState::Canceled, "killed on request during POST_STEP; the updates are installed")
        }
        (S::PostStep { .. }, E::Interrupted) => {
            failed("the post-step was interrupted and is never run twice; the updates are installed")
        }
        (S::Health { reboot_wanted }, E::Done) => success(reboot_wanted, rules),
        (S::Health { .. }, E::Failed(why)) => failed(format!("health gate failed: {why}; the updates are installed")),
        (S::Health { .. }, E::Killed) => {
            finished(TaskState::Canceled, "killed on request during HEALTH; the updates are installed")
        }
        (state, event) => return Err(Refused { state, event }),
    })
}

/// Waits, where this kind of beginning has to.
fn held(before: Held, rules: Rules) -> State {
    let waits = rules.windows || (rules.reboot_slot && matches!(before, Held::Reboot { .. }));
    if waits { State::Wait { before } } else { begun(before, rules) }
}

fn begun(what: Held, rules: Rules) -> State {
    match what {
        Held::Begin if rules.pre_step => State::PreStep,
        Held::Begin => State::Check { phase: Phase::Before },
        Held::Repair => State::Repair { then: AfterRepair::Refresh },
        Held::Apply => State::Apply { tries: 1 },
        Held::Reboot { phase, boot } => State::Reboot { phase, boot },
    }
}

fn last_look(reboot_wanted: bool, rules: Rules) -> State {
    if rules.health && rules.changed { State::Health { reboot_wanted } } else { success(reboot_wanted, rules) }
}

fn cannot_save(before: &State, why: &str) -> State {
    let step = before.label();
    failed(format!("stopped before {step}: the agent's ledger cannot be written ({why}); free space in its state directory"))
}

fn stopped(before: &State, reason: StopReason) -> State {
    if matches!(before, State::Apply { tries: 2.. }) {
        // An earlier try was interrupted and has left its marks: they are read and told.
        return State::Verify { ending: Ending::Killed };
    }
    let why = match reason {
        StopReason::Request => "stopped on request",
        StopReason::Deadline => "stopped because the job's duration ended",
        StopReason::WindowOver => "stopped because the host's maintenance window does not open again",
    };
    let patched = match before {
        State::Check { phase: Phase::After }
        | State::Wait { before: Held::Reboot { phase: Phase::After, .. } }
        | State::Reboot { phase: Phase::After, .. }
        | State::PostStep { .. }
        | State::Health { .. } => "; the updates are installed",
        _ => "",
    };
    let next = match before {
        State::Wait { before: Held::Begin } => "anything was begun",
        State::Wait { before: Held::Repair } => "REPAIR",
        State::Wait { before: Held::Apply } => "APPLY",
        State::Wait { before: Held::Reboot { .. } } => "REBOOT",
        State::Health { .. } => "its health was known",
        other => other.label(),
    };
    finished(TaskState::Canceled, format!("{why} before {next}{patched}"))
}

fn checked(phase: Phase, asks: bool, boot: String, rules: Rules) -> State {
    let never = rules.reboot == RebootConfig::Never;
    let owed = phase == Phase::After && rules.reboot == RebootConfig::Always && !rules.rebooted_after;
    if (asks || owed) && !never {
        if rules.reboots >= REBOOTS_MAX {
            return failed(format!("{REBOOTS_MAX} reboots did not satisfy the host; its reboot reasons are in the report"));
        }
        return held(Held::Reboot { phase, boot }, rules);
    }
    match phase {
        Phase::Before => held(Held::Repair, rules),
        Phase::After if rules.post_step => State::PostStep { reboot_wanted: asks },
        Phase::After => last_look(asks, rules),
    }
}

fn planned(changes: usize, rules: Rules) -> State {
    match changes {
        n if rules.dry_run => finished(TaskState::Succeeded, format!("dry run: {} planned, nothing was changed", updates(n))),
        0 if rules.download_only => finished(TaskState::Succeeded, "nothing to download"),
        _ if rules.download_only => State::Download,
        0 => State::Check { phase: Phase::After },
        _ => held(Held::Apply, rules),
    }
}

fn success(reboot_wanted: bool, rules: Rules) -> State {
    let (state, message) = if reboot_wanted {
        let done = if rules.undo { "taken back" } else { "patched" };
        (TaskState::SucceededRebootRequired, format!("{done}; the host asks for a reboot, which this job does not allow"))
    } else {
        let done = if rules.undo { "taken back and verified" } else { "patched and verified" };
        (TaskState::Succeeded, done.to_owned())
    };
    let health = match (rules.health, rules.changed) {
        (false, _) => "",
        (true, true) => "; the host is healthy",
        (true, false) => "; nothing was changed, so its health was not checked",
    };
    finished(state, format!("{message}{health}"))
}

fn updates(n: usize) -> String {
    if n == 1 { "1 change".to_owned() } else { format!("{n} changes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            dry_run: false,
            download_only: false,
            pre_step: true,
            post_step: true,
            reboot: RebootConfig::Default,
            reboots: 0,
            rebooted_after: false,
            windows: false,
            reboot_slot: false,
            undo: false,
            health: false,
            changed: true,
        }
    }

    fn states() -> Vec<State> {
        let mut all = vec![State::Accepted, State::PreStep, State::Refresh, State::Plan, State::Download];
        all.extend([Phase::Before, Phase::After].map(|phase| State::Check { phase }));
        all.extend([Phase::Before, Phase::After].map(|phase| State::Reboot { phase, boot: "b".into() }));
        let endings = [Ending::Good, Ending::Failed { message: "m".into() }, Ending::Killed];
        all.push(State::Repair { then: AfterRepair::Refresh });
        all.push(State::Repair { then: AfterRepair::Apply { tries: 2 } });
        all.extend(endings.clone().map(|ending| State::Repair { then: AfterRepair::Verify { ending } }));
        all.extend([1, APPLY_TRIES_MAX].map(|tries| State::Apply { tries }));
        all.extend(endings.map(|ending| State::Verify { ending }));
        all.push(State::PostStep { reboot_wanted: false });
        all.push(State::Health { reboot_wanted: true });
        let reboot = Held::Reboot { phase: Phase::After, boot: "b".into() };
        all.extend([Held::Begin, Held::Repair, Held::Apply, reboot].map(|before| State::Wait { before }));
        all.push(finished(TaskState::Succeeded, "x"));
        all
    }

    fn events() -> Vec<Event> {
        vec![
            Event::Begin,
            Event::Done,
            Event::Failed("why".into()),
            Event::Interrupted,
            Event::Killed,
            Event::Planned(0),
            Event::Planned(2),
            Event::Verified(None),
            Event::Verified(Some("found".into())),
            Event::HostAsks { reboot: false, boot: "b".into() },
            Event::HostAsks { reboot: true, boot: "b".into() },
            Event::Booted,
            Event::Stop(StopReason::Request),
            Event::CannotSave("full".into()),
            Event::Admitted { waited: false },
            Event::Admitted { waited: true },
        ]
    }

    fn short(state: &State) -> String {
        match state {
            State::Check { phase } => format!("CHECK.{phase:?}"),
            State::Reboot { phase, .. } => format!("REBOOT.{phase:?}"),
            State::Repair { then: AfterRepair::Refresh } => "REPAIR.refresh".into(),
            State::Repair { then: AfterRepair::Apply { tries } } => format!("REPAIR.apply{tries}"),
            State::Repair { then: AfterRepair::Verify { ending } } => format!("REPAIR.{}", ending_name(ending)),
            State::Apply { tries } => format!("APPLY{tries}"),
            State::Verify { ending } => format!("VERIFY.{}", ending_name(ending)),
            State::Finished { state, .. } => state.as_str()[..4].to_owned(),
            other => other.label().to_owned(),
        }
    }

    fn ending_name(ending: &Ending) -> &'static str {
        match ending {
            Ending::Good => "good",
            Ending::Failed { .. } => "bad",
            Ending::Killed => "killed",
        }
    }

    /// All pairs of states and events, as `state: event→next …`; everything not written is refused.
    #[test]
    fn all_pairs() {
        let table: Vec<String> = states()
            .iter()
            .map(|s| {
                let row: Vec<String> = events()
                    .iter()
                    .enumerate()
                    .filter_map(|(i, e)| Some(format!("{i}>{}", short(&step(s.clone(), e.clone(), rules()).ok()?))))
                    .collect();
                format!("{}: {}", short(s), row.join(" "))
            })
            .collect();
        let expected = "\
ACCEPTED: 0>PRE_STEP 2>FAIL 12>CANC 13>FAIL
PRE_STEP: 1>CHECK.Before 2>FAIL 3>FAIL 4>CANC 12>CANC 13>FAIL
REFRESH: 1>PLAN 2>FAIL 4>CANC 12>CANC 13>FAIL
PLAN: 2>FAIL 4>CANC 5>CHECK.After 6>APPLY1 12>CANC 13>FAIL
DOWNLOAD: 1>SUCC 2>FAIL 4>CANC 12>CANC 13>FAIL
CHECK.Before: 9>REPAIR.refresh 10>REBOOT.Before 12>CANC 13>FAIL
CHECK.After: 9>POST_STEP 10>REBOOT.After 12>CANC 13>FAIL
REBOOT.Before: 2>FAIL 11>CHECK.Before 12>CANC 13>FAIL
REBOOT.After: 2>FAIL 11>REFRESH 12>CANC 13>FAIL
REPAIR.refresh: 1>REFRESH 2>FAIL 4>CANC 12>CANC 13>FAIL
REPAIR.apply2: 1>APPLY2 2>VERIFY.bad 13>FAIL
REPAIR.good: 1>VERIFY.good 2>VERIFY.bad 13>FAIL
REPAIR.bad: 1>VERIFY.bad 2>VERIFY.bad 13>FAIL
REPAIR.killed: 1>VERIFY.killed 2>VERIFY.killed 13>FAIL
APPLY1: 1>VERIFY.good 2>VERIFY.bad 3>REPAIR.apply2 4>REPAIR.killed 12>CANC 13>FAIL
APPLY5: 1>VERIFY.good 2>VERIFY.bad 3>REPAIR.bad 4>REPAIR.killed 12>VERIFY.killed 13>FAIL
VERIFY.good: 2>FAIL 7>CHECK.After 8>FAIL 13>FAIL
VERIFY.bad: 2>FAIL 7>FAIL 8>FAIL 13>FAIL
VERIFY.killed: 2>FAIL 7>CANC 8>CANC 13>FAIL
POST_STEP: 1>SUCC 2>FAIL 3>FAIL 4>CANC 12>CANC 13>FAIL
HEALTH: 1>SUCC 2>FAIL 4>CANC 12>CANC 13>FAIL
WAIT: 2>FAIL 12>CANC 13>FAIL 14>PRE_STEP 15>PRE_STEP
WAIT_REPAIR: 12>CANC 13>FAIL 14>REPAIR.refresh 15>REPAIR.refresh
WAIT_APPLY: 12>CANC 13>FAIL 14>APPLY1 15>REFRESH
WAIT_REBOOT: 12>CANC 13>FAIL 14>REBOOT.After 15>REBOOT.After
SUCC: ";
        assert_eq!(table.join("\n"), expected);
    }

    #[test]
    fn a_dry_run_only_refreshes_and_plans() {
        let rules = Rules { dry_run: true, ..rules() };
        assert_eq!(step(State::Accepted, Event::Begin, rules), Ok(State::Refresh));
        let end = step(State::Plan, Event::Planned(3), rules).expect("known");
        assert!(matches!(end, State::Finished { state: TaskState::Succeeded, message } if message.contains("3 changes")));
    }

    #[test]
    fn a_download_ends_before_anything_is_installed() {
        let rules = Rules { download_only: true, ..rules() };
        assert_eq!(step(State::Accepted, Event::Begin, rules), Ok(State::Refresh), "no step, no repair, no reboot");
        assert_eq!(step(State::Plan, Event::Planned(2), rules), Ok(State::Download));
        assert_eq!(State::Download.task_state(), TaskState::DownloadingPatches);
        let end = step(State::Download, Event::Done, rules).expect("known");
        assert!(matches!(end, State::Finished { state: TaskState::Succeeded, message } if message.starts_with("staged")));
        let none = step(State::Plan, Event::Planned(0), rules).expect("known");
        assert_eq!(none.task_state(), TaskState::Succeeded);
    }

    #[test]
    fn reboot_settings() {
        let check = |phase, asks, rules| {
            step(State::Check { phase }, Event::HostAsks { reboot: asks, boot: "b".into() }, rules).expect("known")
        };
        let with = |reboot, reboots, rebooted_after| Rules { post_step: false, reboot, reboots, rebooted_after, ..rules() };
        let never = with(RebootConfig::Never, 0, false);
        assert_eq!(check(Phase::Before, true, never), State::Repair { then: AfterRepair::Refresh });
        assert_eq!(check(Phase::After, true, never).task_state(), TaskState::SucceededRebootRequired);
        assert_eq!(check(Phase::After, false, never).task_state(), TaskState::Succeeded);
        let always = with(RebootConfig::Always, 1, false);
        assert_eq!(check(Phase::After, false, always).task_state(), TaskState::Rebooting);
        assert_eq!(check(Phase::After, false, with(RebootConfig::Always, 2, true)).task_state(), TaskState::Succeeded);
        assert_eq!(check(Phase::Before, false, always), State::Repair { then: AfterRepair::Refresh });
        let capped = check(Phase::After, true, with(RebootConfig::Default, REBOOTS_MAX, true));
        assert!(matches!(capped, State::Finished { state: TaskState::Failed, message } if message.contains("5 reboots")));
    }

    #[test]
    fn a_stop_after_patching_says_that_the_updates_are_installed() {
        let message = |state: State| match step(state, Event::Stop(StopReason::Deadline), rules()) {
            Ok(State::Finished { state: TaskState::Canceled, message }) => message,
            other => panic!("{other:?}"),
        };
        let after = message(State::PostStep { reboot_wanted: false });
        assert_eq!(after, "stopped because the job's duration ended before POST_STEP; the updates are installed");
        assert!(!message(State::Check { phase: Phase::Before }).contains("installed"));
        assert!(!message(State::Apply { tries: 1 }).contains("installed"));
    }

    #[test]
    fn what_changes_the_host_waits_for_its_window_and_what_was_begun_does_not() {
        let rules = Rules { windows: true, ..rules() };
        let next = |state, event| step(state, event, rules).expect("known");
        assert_eq!(next(State::Accepted, Event::Begin), State::Wait { before: Held::Begin });
        let calm = next(State::Check { phase: Phase::Before }, Event::HostAsks { reboot: false, boot: "b".into() });
        assert_eq!(calm, State::Wait { before: Held::Repair });
        assert_eq!(next(State::Plan, Event::Planned(1)), State::Wait { before: Held::Apply });
        assert_eq!(next(State::Plan, Event::Planned(0)), State::Check { phase: Phase::After });
        let asks = |phase| next(State::Check { phase }, Event::HostAsks { reboot: true, boot: "b".into() });
        for phase in [Phase::Before, Phase::After] {
            assert_eq!(asks(phase), State::Wait { before: Held::Reboot { phase, boot: "b".into() } });
        }
        assert_eq!(next(State::Apply { tries: 1 }, Event::Interrupted), State::Repair { then: AfterRepair::Apply { tries: 2 } });
        assert_eq!(next(State::Repair { then: AfterRepair::Apply { tries: 2 } }, Event::Done), State::Apply { tries: 2 });
        for rules in [Rules { dry_run: true, ..rules }, Rules { download_only: true, ..rules }] {
            assert_eq!(step(State::Accepted, Event::Begin, rules), Ok(State::Refresh), "changes nothing on the host");
        }
        let slot = Rules { windows: false, reboot_slot: true, ..rules };
        assert_eq!(step(State::Accepted, Event::Begin, slot), Ok(State::PreStep));
        assert_eq!(step(State::Plan, Event::Planned(1), slot), Ok(State::Apply { tries: 1 }));
        let reboot = step(State::Check { phase: Phase::After }, Event::HostAsks { reboot: true, boot: "b".into() }, slot);
        assert!(matches!(reboot, Ok(State::Wait { before: Held::Reboot { .. } })), "{reboot:?}");
    }

    #[test]
    fn health_is_looked_at_last_and_only_after_a_change() {
        let with = |health, changed, post_step| Rules { health, changed, post_step, ..rules() };
        let checked = Event::HostAsks { reboot: false, boot: "b".into() };
        let after = State::Check { phase: Phase::After };
        let health = State::Health { reboot_wanted: false };
        assert_eq!(step(State::PostStep { reboot_wanted: false }, Event::Done, with(true, true, true)), Ok(health.clone()));
        assert_eq!(step(after.clone(), checked.clone(), with(true, true, false)), Ok(health.clone()));
        let said = |state, event, rules| match step(state, event, rules) {
            Ok(State::Finished { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert!(said(after.clone(), checked.clone(), with(true, false, false)).contains("health was not checked"));
        assert_eq!(said(after, checked, with(false, true, false)), "patched and verified");
        assert_eq!(
            said(health.clone(), Event::Failed("unit a: is failed".into()), with(true, true, true)),
            "health gate failed: unit a: is failed; the updates are installed"
        );
        assert_eq!(health.task_state(), TaskState::RunningPostPatchStep);
        let stopped = said(health, Event::Stop(StopReason::Deadline), with(true, true, true));
        assert!(stopped.ends_with("before its health was known; the updates are installed"), "{stopped}");
    }
}
