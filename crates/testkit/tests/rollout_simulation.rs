//! Some hundred simulated fleets in which nothing may go wrong, and planted bugs that must be found. Ten thousand are
//! `cargo xtask simulate rollout --seeds 10000`.
#![allow(missing_docs)]

use drydock_testkit::rollout_sim::{Kind, Plant, play, play_many};

/// Fleets of this test, count: some seconds without optimisation.
const SEEDS: u64 = 300;
/// Fleets in which a planted bug must be found, count.
const PLANTED_SEEDS: u64 = 40;

#[test]
fn nothing_that_must_not_be_happens_in_some_hundred_fleets() {
    let (summary, failed, measured) = play_many(1, SEEDS, None);
    let told: Vec<String> = failed.iter().map(|o| format!("seed {}: {:?}", o.seed, o.violations)).collect();
    assert!(summary.is_clean(), "{told:#?}\nagain: cargo xtask simulate rollout --trace --first SEED");
    assert!(summary.events > 100_000, "{summary:?}");
    assert!(measured > SEEDS / 4, "{measured}");
    assert!(summary.first_wave_contained_percent >= 99.0, "{summary:?}");
}

#[test]
fn planted_bugs_are_found() {
    for (name, plant) in Plant::ALL {
        let (_, failed, _) = play_many(1, PLANTED_SEEDS, Some(plant));
        let kind = match plant {
            Plant::Budget => Kind::Budget,
            Plant::Window | Plant::Halt => Kind::Window,
            Plant::Twice => Kind::Double,
            Plant::Reason => Kind::Unexplained,
            Plant::Lost => Kind::Lost,
        };
        assert!(failed.iter().any(|o| o.violations.iter().any(|v| v.kind == kind)), "{name} is not found");
        // The seed alone finds it again.
        let again = play(failed[0].seed, Some(plant), true);
        let words = |o: &drydock_testkit::rollout_sim::Outcome| o.violations.iter().map(|v| v.what.clone()).collect::<Vec<_>>();
        assert_eq!(words(&again), words(&failed[0]));
        assert!(again.trace.len() > 10, "{name}: nothing is told");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 77, 1234] {
        let (first, second) = (play(seed, None, true), play(seed, None, true));
        assert_eq!((first.events, first.hosts), (second.events, second.hosts));
        assert_eq!(first.trace, second.trace);
        assert_ne!(first.trace, play(seed + 1, None, true).trace);
    }
}
