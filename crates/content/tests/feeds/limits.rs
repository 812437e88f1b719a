//! Huge and hostile feeds cost time and not memory.

use std::io::{self, Read};

use drydock_content::feeds::{CSAF_MAX_BYTES, DOCUMENT_MAX_BYTES, FINDINGS_MAX};

use super::*;

const MIB: usize = 1024 * 1024;

/// Bytes in front, a filler many times, bytes behind: never in memory at once.
struct Long {
    parts: Vec<(Vec<u8>, usize)>,
    at: usize,
    offset: usize,
}

impl Long {
    fn new(parts: &[(&[u8], usize)]) -> Self {
        let parts = parts.iter().map(|(part, times)| (part.to_vec(), *times)).collect();
        Self { parts, at: 0, offset: 0 }
    }
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some((part, times)) = self.parts.get(self.at) else { break };
            let total = part.len() * times;
            if self.offset >= total {
                (self.at, self.offset) = (self.at + 1, 0);
                continue;
            }
            let from = self.offset % part.len();
            let count = (part.len() - from).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&part[from..from + count]);
            (filled, self.offset) = (filled + count, self.offset + count);
        }
        Ok(filled)
    }
}

fn count(kind: FeedKind, input: Long) -> Result<(Vec<String>, FeedReport), FeedError> {
    let mut lines = Vec::new();
    let report = read_feed(Some(kind), input, &Hints::default(), &mut |item| {
        match item {
            FeedItem::Advisory(a) => lines.push(format!("{} {} {}", a.id, a.title.len(), a.description.len())),
            FeedItem::Vulnerability(v) => lines.push(format!("{} {}", v.id, v.summary.len())),
            FeedItem::Statement(s) => lines.push(statement(&s)),
        }
        Ok(())
    })?;
    Ok((lines, report))
}

const AFFECTED: &[u8] = br#","affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"fixed":"1-1"}]}]}]}"#;

/// The peak of this process's memory, MiB.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[test]
fn a_field_of_200_mib_is_cut_while_it_is_read() {
    let before = peak_mib();
    let (lines, report) = count(
        FeedKind::Osv,
        Long::new(&[
            (br#"{"id":"ALSA-2030:1","details":""#, 1),
            ("xé".repeat(MIB / 3).as_bytes(), 210),
            (b"\"", 1),
            (AFFECTED, 1),
            (br#"{"id":"ALSA-2030:2""#, 1),
            (AFFECTED, 1),
        ]),
    )
    .unwrap();
    assert_eq!(lines, ["ALSA-2030:1 0 16384", "ALSA-2030:2 0 0"]);
    assert_eq!((report.documents, report.left_out), (2, 0));
    assert!(report.bytes > 200 * MIB as u64);
    assert!(peak_mib() < before + 64, "{before} -> {} MiB", peak_mib());
}

#[test]
fn documents_beyond_the_limit_are_left_out() {
    let before = peak_mib();
    for (kind, max) in [(FeedKind::Osv, DOCUMENT_MAX_BYTES), (FeedKind::Csaf, CSAF_MAX_BYTES)] {
        let member = format!("{{\"package\":{{\"name\":\"{}\"}}}},", "n".repeat(100_000));
        let (lines, report) = count(
            kind,
            Long::new(&[
                (br#"{"id":"ALSA-2030:1","affected":["#, 1),
                (member.as_bytes(), 2 * max / member.len()),
                (b"{}]}\n", 1),
                (br#"{"id":"ALSA-2030:2""#, 1),
                (AFFECTED, 1),
            ]),
        )
        .unwrap();
        let problem = format!("1 entry 1: it is larger than {max} bytes");
        assert!(findings(&report).contains(&problem), "{:?}", findings(&report));
        assert_eq!(lines.len(), usize::from(kind == FeedKind::Osv));
    }
    assert!(peak_mib() < before + 200, "{before} -> {} MiB", peak_mib());
}

#[test]
fn lists_beyond_the_limit_are_cut() {
    let package =
        br#"{"package":{"ecosystem":"AlmaLinux:8","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"fixed":"1-1"}]}]},"#;
    let (lines, report) =
        count(FeedKind::Osv, Long::new(&[(br#"{"id":"A-1","affected":["#, 1), (package, 30_000), (b"{}]}", 1)])).unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(findings(&report), ["10001 A-1: it names more than 20000 packages"]);
    let nested = Long::new(&[(&[b'['; 1000], 1000), (&[b']'; 1000], 1000)]);
    let (lines, report) = count(FeedKind::Osv, nested).unwrap();
    assert_eq!((lines.len(), findings(&report)), (0, vec!["1 entry 1: it is nested too deeply".to_owned()]));
}

#[test]
fn findings_are_bounded_and_all_are_counted() {
    let text: String = (0..1000)
        .map(|n| format!("{{\"id\":\"X-{n}\",\"affected\":[{{\"package\":{{\"ecosystem\":\"Eco{n}:1\"}}}}]}}\n"))
        .collect();
    let (_, report) = lines(text.as_bytes(), Some(FeedKind::Osv)).unwrap();
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert_eq!((report.documents, report.left_out), (1000, 2000));
}

#[test]
fn long_lines_and_endless_space() {
    let list = Long::new(&[
        (b"[21 Nov 2030] DSA-1-1 a - b\n\t{", 1),
        (&b"CVE-2030-0001 ".repeat(10_000), 2_000),
        (b"}\n\t[bookworm] - a 1-1\n", 1),
    ]);
    let (lines, report) = count(FeedKind::DebianList, list).unwrap();
    assert_eq!((lines, report.left_out), (vec!["DSA-1-1 5 0".to_owned()], 1));
    assert!(matches!(count(FeedKind::Epss, Long::new(&[(b"cve,epss,percentile,", MIB)])), Err(FeedError::Broken { .. })));
    assert!(matches!(count(FeedKind::Kev, Long::new(&[(&[b' '; 4096], 2_560), (b"{}", 1)])), Err(FeedError::Broken { .. })));
    let update = Long::new(&[
        (b"<updates><update><id>A</id><description>", 1),
        (&[b'x'; 4096], 10_000),
        (b"</description></update></updates>", 1),
    ]);
    assert!(count(FeedKind::Updateinfo, update).is_err());
    let tracker = Long::new(&[
        (br#"{"p":{"CVE-2030-0001":{"description":""#, 1),
        (&[b'y'; 4096], 30_000),
        (br#"","releases":{"bookworm":{"status":"open"}}}}}"#, 1),
    ]);
    let (lines, _) = count(FeedKind::DebianTracker, tracker).unwrap();
    assert_eq!(lines, ["CVE-2030-0001 16384", "S CVE-2030-0001 debian-12 source p Affected UNKNOWN"]);
}
