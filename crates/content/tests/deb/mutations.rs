//! The parsers under damaged input: seeds that are right, changed at random, always the same way.

use std::process::Command;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::have;
use crate::upstream::{Suite, stanza};

/// Damaged inputs a seed, count; a second of a debug build.
const MUTATIONS: usize = 1_500;
/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 14] = [
    b"\n\n",
    b"\n",
    b"\r\n",
    b" ",
    b":",
    b"\0",
    b"../",
    b"./",
    b"Filename: x\n",
    b"SHA256:\n",
    b"\xff",
    b"!<arch>\n",
    b"99999999999999999999",
    b"-",
];

fn mutated(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.gen_range(1..6) {
        let at = random.gen_range(0..=bytes.len());
        match random.gen_range(0..5) {
            0 if at < bytes.len() => bytes[at] = random.r#gen(),
            1 => bytes.truncate(at),
            2 => {
                let piece = PIECES.choose(random).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => {
                let end = random.gen_range(at..=bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + random.gen_range(0..40)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

#[test]
fn parsers_survive_damaged_input() {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let index = stanza("a", "1:2-3", "amd64") + &stanza("b", "2", "all");
    let mut suite = Suite::stable(now, &index);
    suite.valid_until = Some(now);
    let mut seeds = vec![index.clone().into_bytes(), suite.files().1.into_bytes()];
    let control = "Package: dd\nVersion: 1\nArchitecture: all\nMaintainer: x <y@z.invalid>\nDescription: d\n more\n";
    seeds.push(control.as_bytes().to_vec());
    if have("dpkg-deb") {
        seeds.push(package(control));
    }
    let mut random = StdRng::seed_from_u64(20_261_122);
    for seed in &seeds {
        drydock_content::fuzz::deb(seed);
        for _ in 0..MUTATIONS {
            drydock_content::fuzz::deb(&mutated(seed, &mut random));
        }
    }
}

fn package(control: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    std::fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let file = dir.path().join("x.deb");
    let built = Command::new("dpkg-deb").args(["-Zxz", "--build"]).arg(&tree).arg(&file).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    std::fs::read(file).unwrap()
}
