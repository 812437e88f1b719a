//! Seeded damage: every reader ends, keeps within its limits and says yes or no; undamaged items stay as they are where
//! damage costs one entry.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Damaged files tried of each fixture.
const TRIES: u64 = 250;

fn damaged(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..random.gen_range(1..4) {
        let at = random.gen_range(0..bytes.len());
        let end = (at + random.gen_range(0..30)).min(bytes.len());
        match random.gen_range(0..5) {
            0 => bytes[at] = random.r#gen(),
            1 => bytes[at] = b"{}[]\",:<>\\\n0"[random.gen_range(0..12)],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
    bytes
}

#[test]
fn damage_is_found_or_harmless() {
    for (number, (name, kind, bytes)) in FIXTURES.into_iter().enumerate() {
        let (mut read, mut refused) = (0, 0);
        for try_number in 0..TRIES {
            let bytes = damaged(bytes, try_number * 100 + number as u64);
            match lines(&bytes, Some(kind)) {
                Ok((_, report)) => {
                    read += 1;
                    assert!(report.findings.len() <= drydock_content::feeds::FINDINGS_MAX, "{name} {try_number}");
                }
                Err(FeedError::Broken { offset, .. }) => {
                    refused += 1;
                    assert!(offset <= bytes.len() as u64, "{name} {try_number}");
                }
                Err(FeedError::Read(_)) => refused += 1,
                Err(other) => panic!("{name} {try_number}: {other}"),
            }
            drop(lines(&bytes, None));
        }
        assert!(read > 0, "{name}: {read} read, {refused} refused");
    }
}

#[test]
fn damage_in_one_line_costs_that_line() {
    let text = std::str::from_utf8(fixture("osv")).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    let after = rows[0].replace("ALSA-2030:0101", "ALSA-2030:0999").replace("webd", "after");
    for at in (1..rows[1].len()).step_by(7).filter(|at| rows[1].is_char_boundary(*at)) {
        let text = format!("{}\n{}\n{after}\n", rows[0], &rows[1][..at]);
        let (lines, report) = lines(text.as_bytes(), Some(FeedKind::Osv)).unwrap();
        assert!(lines.iter().any(|line| line.contains("after-filesystem 2.4.1")), "cut at {at}: {lines:?} {report:?}");
        assert_eq!((report.documents, report.advisories, report.left_out), (3, 2, 3), "cut at {at}");
    }
}
