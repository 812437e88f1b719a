//! A fleet in one process: simulated hosts that speak the protocol's own types, a simulated server around Drydock's own
//! decisions (plans, planner, linter, windows, the machine of a task), and everything that goes wrong, all from one number.
//!
//! After every event a watcher that knows neither planner nor linter looks whether a budget was passed, a host let go
//! twice, outside its window or while the job was held, a final state moved, a hold without a reason, a result lost.
//!
//! Absent: the real store, network and package managers. The control room's own reconcilers are simulated over a real
//! store by the tests of `drydock-control`.

mod agent;
mod luck;
mod people;
mod run;
mod scenario;
mod server;
mod store;
mod watch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;

pub use watch::{Kind, Violation};

/// A bug of the simulated server, planted to show that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Lets one host more go than the zone's budget allows.
    Budget,
    /// Forgets windows and freezes.
    Window,
    /// Forgets pauses, halts and approvals.
    Halt,
    /// Orders a task twice.
    Twice,
    /// Holds hosts without a reason.
    Reason,
    /// Says that it has a result and does not.
    Lost,
}

impl Plant {
    /// All of them, by name.
    pub const ALL: [(&'static str, Plant); 6] = [
        ("budget", Plant::Budget),
        ("window", Plant::Window),
        ("halt", Plant::Halt),
        ("twice", Plant::Twice),
        ("reason", Plant::Reason),
        ("lost", Plant::Lost),
    ];
}

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Hosts of its fleet, count.
    pub hosts: usize,
    /// Events, count.
    pub events: u64,
    /// Violations by [`Kind`].
    pub counts: [u64; 5],
    /// The first of them.
    pub violations: Vec<Violation>,
    /// Where a bad update was to be met by the first wave: nobody beyond it was let go.
    pub contained: Option<bool>,
    /// What happened, line by line, when asked for.
    pub trace: Vec<String>,
}

/// Figures of many seeds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Seeds played.
    pub seeds: u64,
    /// Events of all of them.
    pub events: u64,
    /// More hosts disrupted than allowed.
    pub budget_violations: u64,
    /// Hosts let go outside their window, before their turn, or while the job was held.
    pub window_violations: u64,
    /// Hosts let go or at work twice.
    pub double_admissions: u64,
    /// Holds without a reason, and hosts that never ended.
    pub unexplained_holds: u64,
    /// Results that the server does not have, and final states that moved.
    pub lost_results: u64,
    /// Of the runs in which a bad update fails at least 30 % of the hosts and the first wave is a sample that meets it with
    /// 99.9 %: in how many nobody beyond the first wave was let go.
    pub first_wave_contained_percent: f64,
    /// Time it took.
    pub seconds: f64,
}

impl Summary {
    /// Nothing was violated.
    pub fn is_clean(&self) -> bool {
        let Summary {
            budget_violations: a,
            window_violations: b,
            double_admissions: c,
            unexplained_holds: d,
            lost_results: e,
            ..
        } = self;
        a + b + c + d + e == 0
    }
}

/// Plays one seed.
pub fn play(seed: u64, plant: Option<Plant>, trace: bool) -> Outcome {
    run::play(seed, plant, trace)
}

/// Plays `seeds` of them from `first` on, on all processors. Also gives the outcomes that hold a violation, by seed, and how
/// many runs were measured for containment.
pub fn play_many(first: u64, seeds: u64, plant: Option<Plant>) -> (Summary, Vec<Outcome>, u64) {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut all: Vec<Outcome> = std::thread::scope(|scope| {
        let work = || {
            let mut out = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= seeds {
                    return out;
                }
                out.push(play(first.wrapping_add(n), plant, false));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run does not panic")).collect()
    });
    all.sort_by_key(|o| o.seed);
    let sum = |kind: Kind| all.iter().map(|o| o.counts[kind as usize]).sum();
    let measured = all.iter().filter(|o| o.contained.is_some()).count() as u64;
    let contained = all.iter().filter(|o| o.contained == Some(true)).count() as u64;
    let summary = Summary {
        seeds,
        events: all.iter().map(|o| o.events).sum(),
        budget_violations: sum(Kind::Budget),
        window_violations: sum(Kind::Window),
        double_admissions: sum(Kind::Double),
        unexplained_holds: sum(Kind::Unexplained),
        lost_results: sum(Kind::Lost),
        first_wave_contained_percent: if measured == 0 { 100.0 } else { contained as f64 * 100.0 / measured as f64 },
        seconds: began.elapsed().as_secs_f64(),
    };
    all.retain(|o| !o.violations.is_empty());
    (summary, all, measured)
}
