//! A fleet that lives for a year, from a seed: 10,000 hosts with 600 packages each on eight distributions.
//!
//! - 300 *profiles* of hosts that are set up alike: 350 packages that every host of the distribution has and 250 of its
//!   own choice, out of 2,400.
//! - Upstream, each distribution: security updates on three days of ten, one to four sources of one to three packages;
//!   on the first of a month 60 packages more. About 1,300 of 2,400 packages a year; a host meets about 320 of them.
//! - Hosts: all are patched once a month, a quarter of them each on the 2nd, 5th, 9th and 12th. Of ten profiles one
//!   takes security updates every day and three take them once a week, on a day of the profile's own.
//! - 8 of 100 hosts are touched by hand about once a month (a package comes or goes, and stays so); 3 of 100 share
//!   nothing: 600 packages of their own choice, a patch day of their own, a hand's touch every fortnight.
//! - The kernel stays installed in two versions. A host reports within the day on which something changed.

use std::collections::HashMap;
use std::sync::Arc;

use drydock_domain::inventory::Package;

pub const HOSTS: usize = 10_000;
pub const PACKAGES: usize = 600;
pub const DAYS: u32 = 365;
const DISTRIBUTIONS: usize = 8;
const NAMES: usize = 2400;
const COMMON: usize = 350;
const PROFILES: usize = 300;
const HAND_PERCENT: usize = 8;
const OWN_PERCENT: usize = 3;
const PATCH_DAYS: [u32; 4] = [2, 5, 9, 12];

/// splitmix64.
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, of_1000: usize) -> bool {
        self.below(1000) < of_1000
    }
}

/// A package and its release.
pub type Item = (u16, u16);

/// What a host has: its distribution and its packages in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub distribution: u8,
    pub items: Arc<Vec<Item>>,
}

struct Host {
    state: State,
    profile: usize,
    own: bool,
    by_hand: usize,
    patch_day: u32,
}

pub struct Fleet {
    rng: Rng,
    /// Newest release of each package, and the newest that is a security update, by distribution.
    newest: Vec<Vec<(u16, u16)>>,
    hosts: Vec<Host>,
    json: HashMap<(u8, Item), String>,
}

impl Fleet {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let choose = |rng: &mut Rng, from: usize, count: usize| {
            let mut items: Vec<Item> = (0..from).map(|i| (i as u16, 1)).collect();
            while items.len() < from + count {
                let item = ((COMMON + rng.below(NAMES - COMMON)) as u16, 1);
                if !items[from..].contains(&item) {
                    items.push(item);
                }
            }
            items.sort_unstable();
            Arc::new(items)
        };
        let profiles: Vec<State> = (0..PROFILES)
            .map(|p| State { distribution: (p % DISTRIBUTIONS) as u8, items: choose(&mut rng, COMMON, PACKAGES - COMMON) })
            .collect();
        let hosts = (0..HOSTS).map(|n| {
            let profile = rng.below(PROFILES);
            let kind = rng.below(100);
            let own = kind < OWN_PERCENT;
            let state = match own {
                true => State { distribution: rng.below(DISTRIBUTIONS) as u8, items: choose(&mut rng, 100, PACKAGES - 100) },
                false => profiles[profile].clone(),
            };
            let by_hand = if own {
                71
            } else if kind < OWN_PERCENT + HAND_PERCENT {
                33
            } else {
                0
            };
            let patch_day = if own { 1 + rng.below(28) as u32 } else { PATCH_DAYS[n % PATCH_DAYS.len()] };
            Host { state, profile, own, by_hand, patch_day }
        });
        let hosts = hosts.collect();
        Fleet { rng, newest: vec![vec![(1, 0); NAMES]; DISTRIBUTIONS], hosts, json: HashMap::new() }
    }

    pub fn states(&self) -> Vec<State> {
        self.hosts.iter().map(|h| h.state.clone()).collect()
    }

    /// One day: upstream brings updates, hosts take what is due. Returns the hosts that changed.
    pub fn day(&mut self, day: u32) -> Vec<usize> {
        self.upstream(day);
        let mut patched: HashMap<(State, bool), State> = HashMap::new();
        let mut changed = Vec::new();
        for n in 0..self.hosts.len() {
            let host = &self.hosts[n];
            let full = day % 30 + 1 == host.patch_day;
            let security = !host.own
                && match host.profile % 10 {
                    0 => true,
                    1..=3 => day % 7 == (host.profile % 7) as u32,
                    _ => false,
                };
            let before = host.state.clone();
            let mut state = before.clone();
            if full || security {
                let newest = &self.newest[usize::from(state.distribution)];
                state = patched.entry((state, full)).or_insert_with_key(|(state, full)| update(state, newest, *full)).clone();
            }
            if host.by_hand > 0 && self.rng.chance(host.by_hand) {
                state = touch(&mut self.rng, &state, &self.newest);
            }
            if state != before {
                self.hosts[n].state = state;
                changed.push(n);
            }
        }
        changed
    }

    fn upstream(&mut self, day: u32) {
        for distribution in 0..DISTRIBUTIONS {
            if self.rng.chance(300) {
                for _ in 0..1 + self.rng.below(4) {
                    let first = if self.rng.chance(400) { self.rng.below(COMMON) } else { self.rng.below(NAMES) };
                    for i in first..(first + 1 + self.rng.below(3)).min(NAMES) {
                        let newest = &mut self.newest[distribution][i];
                        newest.0 += 1;
                        newest.1 = newest.0;
                    }
                }
            }
            if day.is_multiple_of(30) {
                for _ in 0..60 {
                    let i = self.rng.below(NAMES);
                    self.newest[distribution][i].0 += 1;
                }
            }
        }
    }

    /// The package section of a state: canonical JSON.
    pub fn body(&mut self, state: &State) -> Vec<u8> {
        let mut body = Vec::with_capacity(state.items.len() * 120);
        body.push(b'[');
        for (n, item) in state.items.iter().enumerate() {
            if n > 0 {
                body.push(b',');
            }
            let write = || serde_json::to_string(&package(state.distribution, *item)).expect("JSON");
            body.extend_from_slice(self.json.entry((state.distribution, *item)).or_insert_with(write).as_bytes());
        }
        body.push(b']');
        body
    }
}

/// The same with every update that is due.
fn update(state: &State, newest: &[(u16, u16)], full: bool) -> State {
    let mut items = Vec::with_capacity(state.items.len());
    for (i, release) in state.items.iter() {
        let (any, security) = newest[usize::from(*i)];
        let due = if full || security > *release { any } else { *release };
        items.push((*i, due.max(*release)));
        // The kernel before stays, the one before that goes.
        if *i == 0 && due > *release {
            items.retain(|item| item.0 != 0 || item.1 >= *release);
            items.insert(0, (0, *release));
        }
    }
    items.sort_unstable();
    items.dedup();
    State { distribution: state.distribution, items: Arc::new(items) }
}

/// A package comes or goes.
fn touch(rng: &mut Rng, state: &State, newest: &[Vec<(u16, u16)>]) -> State {
    let mut items = state.items.to_vec();
    let i = (COMMON + rng.below(NAMES - COMMON)) as u16;
    match items.iter().position(|item| item.0 == i) {
        Some(at) => drop(items.remove(at)),
        None if rng.chance(300) && items.len() > PACKAGES => drop(items.remove(COMMON + 2)),
        None => items.push((i, newest[usize::from(state.distribution)][usize::from(i)].0)),
    }
    items.sort_unstable();
    State { distribution: state.distribution, items: Arc::new(items) }
}

/// A package as its host names it: four rpm distributions, four deb ones.
pub fn package(distribution: u8, (i, release): Item) -> Package {
    const STEMS: [&str; 6] = ["libs", "common", "python3", "tools", "server", "devel"];
    let name = format!("pkg{i:04}-{}", STEMS[usize::from(i) % STEMS.len()]);
    if distribution.is_multiple_of(2) {
        let version = format!("{}.{}.{release:04}-{release}.el{}", i % 9, i % 31, 7 + distribution / 2);
        let source = format!("{name}-{version}.src.rpm");
        return Package { arch: "x86_64".into(), version, source, vendor: "Oracle America".into(), name };
    }
    let version = format!("{}.{}.{release:04}-{release}+deb{}u{release}", i % 9, i % 31, 11 + distribution / 2);
    let source = format!("pkg{i:04} {version}");
    Package { arch: "amd64".into(), version, source, vendor: String::new(), name }
}
