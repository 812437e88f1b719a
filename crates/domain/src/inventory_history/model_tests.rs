//! Classes and timelines together against the plain thing: a list of every set with its time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::timeline::class_at;
use super::{ClassId, PackageId, Timeline, Window, class, diff};

/// How the store keeps classes: bytes, each perhaps on an older one.
#[derive(Default)]
struct Classes {
    rows: Vec<(Vec<u8>, Option<usize>)>,
    by_set: BTreeMap<BTreeSet<u32>, usize>,
}

impl Classes {
    fn intern(&mut self, set: &BTreeSet<u32>, base: Option<ClassId>) -> ClassId {
        let next = self.rows.len();
        let row = *self.by_set.entry(set.clone()).or_insert(next);
        if row == next {
            let ids: Vec<PackageId> = set.iter().copied().map(PackageId).collect();
            let base = base.map(|b| b.0 as usize);
            let decoded = base.map(|b| self.decode(b));
            let coded = class::encode(&ids, decoded.as_deref());
            self.rows.push((coded.bytes, base.filter(|_| coded.on_base)));
        }
        ClassId(u32::try_from(row).expect("small"))
    }

    fn decode(&self, row: usize) -> Vec<PackageId> {
        let (bytes, base) = &self.rows[row];
        class::decode(bytes, base.map(|b| self.decode(b)).as_deref()).expect("ours")
    }

    fn holds(&self, wanted: &[PackageId]) -> BTreeMap<ClassId, Vec<PackageId>> {
        let mut out: BTreeMap<ClassId, Vec<PackageId>> = BTreeMap::new();
        for (n, (bytes, base)) in self.rows.iter().enumerate() {
            let base = base.map(|b| out[&ClassId(u32::try_from(b).expect("small"))].clone());
            let held = class::holds(bytes, base.as_deref(), wanted).expect("ours");
            out.insert(ClassId(u32::try_from(n).expect("small")), held);
        }
        out
    }
}

/// Sets of one host with the seconds they came, in order.
fn life() -> impl Strategy<Value = Vec<(i64, BTreeSet<u32>)>> {
    let step = (1i64..5, proptest::collection::btree_set(0u32..12, 0..8));
    proptest::collection::vec(step, 1..14).prop_map(|steps| {
        let mut now = 10;
        steps
            .into_iter()
            .map(|(gap, set)| {
                now += gap;
                (now, set)
            })
            .collect()
    })
}

fn naive_at(life: &[(i64, BTreeSet<u32>)], second: i64) -> Option<&BTreeSet<u32>> {
    life.iter().rev().find(|(since, _)| *since <= second).map(|(_, set)| set)
}

proptest! {
    #[test]
    fn any_host_at_any_time_and_who_had_what_when(lives in proptest::collection::vec(life(), 1..5), cut in 0i64..60) {
        let mut classes = Classes::default();
        let mut lines = Vec::new();
        for life in &lives {
            let mut line = Timeline::default();
            for (at, set) in life {
                let class = classes.intern(set, line.present());
                line.record(*at, class);
            }
            let line = Timeline::decode(&line.encode()).expect("ours");
            for second in 8..90 {
                let got = line.at(second).map(|c| classes.decode(c.0 as usize));
                let expected = naive_at(life, second).map(|s| s.iter().copied().map(PackageId).collect::<Vec<_>>());
                prop_assert_eq!(got, expected);
                prop_assert_eq!(class_at(&line.encode(), second), Ok(line.at(second)));
            }
            lines.push(line);
        }
        let wanted = [PackageId(3), PackageId(7)];
        let held = classes.holds(&wanted);
        let window = Window { from: 15, until: 50 };
        for (life, line) in lives.iter().zip(&lines) {
            let holdings = line.holdings(window, &held);
            for second in window.from..window.until {
                for id in wanted {
                    let said = holdings.iter().any(|h| h.package == id && h.from <= second && h.until.is_none_or(|u| u > second));
                    prop_assert_eq!(said, naive_at(life, second).is_some_and(|s| s.contains(&id.0)), "{} at {}", id.0, second);
                }
            }
            for pair in holdings.windows(2) {
                prop_assert!(pair[0].package != pair[1].package || pair[0].until < Some(pair[1].from), "one stay, one holding");
            }
        }
        for (life, line) in lives.iter().zip(&lines) {
            let mut shorter = line.clone();
            shorter.cut(cut);
            for second in cut.max(8)..90 {
                prop_assert_eq!(shorter.at(second), line.at(second), "what is not old stays: {:?}", life);
            }
        }
    }

    #[test]
    fn a_difference_turns_one_set_into_the_other(old in proptest::collection::btree_set(0u32..40, 0..30), new in proptest::collection::btree_set(0u32..40, 0..30)) {
        let ids = |s: &BTreeSet<u32>| s.iter().copied().map(PackageId).collect::<Vec<_>>();
        let delta = diff(&ids(&old), &ids(&new));
        let removed: BTreeSet<u32> = delta.removed.iter().map(|id| id.0).collect();
        let added: BTreeSet<u32> = delta.added.iter().map(|id| id.0).collect();
        prop_assert_eq!(&removed, &old.difference(&new).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(&added, &new.difference(&old).copied().collect::<BTreeSet<_>>());
    }
}
