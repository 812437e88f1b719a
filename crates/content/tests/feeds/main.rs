//! Feeds as vendors write them, small: every item that comes out of them, damage, limits, archives.

mod alma;
mod fleet;
mod limits;
mod mutations;
mod pack;

use std::io::Cursor;

use drydock_content::feeds::{FeedError, FeedItem, FeedKind, FeedReport, Hints, detect, read_feed};
use drydock_domain::advisory::{Advisory, Fix, Product, Statement, Vulnerability};

/// The fixtures with their kinds.
const FIXTURES: [(&str, FeedKind, &[u8]); 11] = [
    ("osv", FeedKind::Osv, include_bytes!("fixtures/osv.jsonl")),
    ("debian-tracker", FeedKind::DebianTracker, include_bytes!("fixtures/debian-tracker.json")),
    ("dsa-list", FeedKind::DebianList, include_bytes!("fixtures/dsa-list.txt")),
    ("usn-database", FeedKind::UbuntuUsn, include_bytes!("fixtures/usn-database.json")),
    ("usn-notices", FeedKind::UbuntuUsn, include_bytes!("fixtures/usn-notices.json")),
    ("csaf-advisory", FeedKind::Csaf, include_bytes!("fixtures/csaf-advisory.json")),
    ("csaf-vex", FeedKind::Csaf, include_bytes!("fixtures/csaf-vex.json")),
    ("csaf-suse", FeedKind::Csaf, include_bytes!("fixtures/csaf-suse.json")),
    ("kev", FeedKind::Kev, include_bytes!("fixtures/kev.json")),
    ("epss", FeedKind::Epss, include_bytes!("fixtures/epss.csv")),
    ("updateinfo", FeedKind::Updateinfo, include_bytes!("fixtures/updateinfo.xml")),
];

fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|(n, ..)| *n == name).map(|(.., bytes)| *bytes).expect("a fixture")
}

/// Everything a feed gives, one line an item.
fn lines(bytes: &[u8], kind: Option<FeedKind>) -> Result<(Vec<String>, FeedReport), FeedError> {
    let mut lines = Vec::new();
    let report = read_feed(kind, Cursor::new(bytes.to_vec()), &Hints::default(), &mut |item| {
        match item {
            FeedItem::Advisory(a) => advisory(&a, &mut lines),
            FeedItem::Vulnerability(v) => lines.push(vulnerability(&v)),
            FeedItem::Statement(s) => lines.push(statement(&s)),
        }
        Ok(())
    })?;
    Ok((lines, report))
}

fn product(p: &Product) -> String {
    if p.os.is_empty() { "any".to_owned() } else { format!("{}-{}", p.os, p.release) }
}

fn package(fix: &Fix) -> String {
    let by = if fix.by == drydock_domain::advisory::NameKind::Source { "source " } else { "" };
    let arch = if fix.arch.is_empty() { String::new() } else { format!(".{}", fix.arch) };
    let module =
        fix.module.as_ref().map_or(String::new(), |m| format!(" in {}:{}:{}:{}", m.name, m.stream, m.version, m.context));
    format!("{} {by}{}{arch} {}{module}", product(&fix.product), fix.name, fix.version)
}

fn advisory(a: &Advisory, lines: &mut Vec<String>) {
    let when = |t: Option<jiff::Timestamp>| t.map_or("-".to_owned(), |t| t.strftime("%Y-%m-%dT%H:%M").to_string());
    let flags = [
        (a.withdrawn, "withdrawn"),
        (a.reboot_suggested, "reboot"),
        (a.relogin_suggested, "relogin"),
        (a.restart_suggested, "restart"),
    ];
    let flags: String = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| format!(" {name}")).collect();
    lines.push(format!(
        "A {} {} {} ({}) {} {} {} refs {}{flags} | {} | {}",
        a.id,
        a.kind.as_str(),
        a.severity.as_str(),
        a.vendor_severity,
        when(a.issued),
        when(a.updated),
        if a.cves.is_empty() { "-".to_owned() } else { a.cves.join(",") },
        a.references.len(),
        a.title,
        a.description
    ));
    lines.extend(a.fixes.iter().map(|fix| format!("  {}", package(fix))));
}

fn vulnerability(v: &Vulnerability) -> String {
    let cvss: String = v.cvss.iter().map(|c| format!(" {:?}={}{}", c.version, c.tenths, c.by)).collect();
    let kev =
        v.kev.as_ref().map_or(String::new(), |k| format!(" kev {} {:?} {}", k.added, k.due.map(|d| d.to_string()), k.ransomware));
    let epss = v.epss.map_or(String::new(), |e| format!(" epss {} {}", e.millionths, e.percentile_millionths));
    format!("V {} {}{cvss}{kev}{epss} | {}", v.id, v.severity.as_str(), v.summary)
}

fn statement(s: &Statement) -> String {
    let by = if s.by == drydock_domain::advisory::NameKind::Source { "source " } else { "" };
    let module = s.module.as_ref().map_or(String::new(), |m| format!(" in {}:{}", m.name, m.stream));
    let more = [s.version.as_str(), s.justification.as_str()]
        .map(|t| if t.is_empty() { String::new() } else { format!(" {t}") })
        .concat();
    format!("S {} {} {by}{}{module} {:?} {}{more}", s.vulnerability, product(&s.product), s.name, s.status, s.severity.as_str())
}

fn findings(report: &FeedReport) -> Vec<String> {
    report.findings.iter().map(|f| format!("{} {}: {}", f.count, f.entry, f.problem)).collect()
}

#[test]
fn kinds_are_found_out() {
    for (name, kind, bytes) in FIXTURES {
        assert_eq!(detect(bytes), Some(kind), "{name}");
        // The first kilobyte is enough for all but lists that begin with much prose.
        assert_eq!(detect(bytes.get(..1024).unwrap_or(bytes)), Some(kind), "{name}");
        assert_eq!(FeedKind::parse(kind.as_str()), Some(kind));
        let array = [b"[".as_slice(), bytes, b"]"].concat();
        if matches!(kind, FeedKind::Csaf | FeedKind::Osv) {
            assert_eq!(detect(&array), Some(kind), "{name} in an array");
        }
    }
    for unknown in [&b""[..], b"{}", b"[]", b"{\"a\":1}", b"<html></html>", b"hello", b"\x00\x01", b"PK\x03\x04"] {
        assert_eq!(detect(unknown), None, "{unknown:?}");
        assert!(matches!(lines(unknown, None), Err(FeedError::Unknown | FeedError::Read(_))), "{unknown:?}");
    }
}

/// Every item and every finding of every fixture. The table is `fixtures/expected.txt`; `UPDATE_EXPECTED=1` writes it anew.
#[test]
fn every_item_is_as_expected() {
    let mut text = String::new();
    for (name, _, bytes) in FIXTURES {
        let (lines, report) = lines(bytes, None).unwrap();
        let counts = (report.documents, report.advisories, report.vulnerabilities, report.statements, report.left_out);
        text.push_str(&format!("== {name} {counts:?}\n"));
        for line in lines.iter().chain(&findings(&report).iter().map(|f| format!("! {f}")).collect::<Vec<_>>()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/feeds/fixtures/expected.txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    for (have, want) in text.lines().zip(expected.lines()) {
        assert_eq!(have, want);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[test]
fn the_stamp_is_of_the_file_and_a_sink_may_refuse() {
    let (_, report) = lines(fixture("kev"), None).unwrap();
    assert_eq!(report.bytes, fixture("kev").len() as u64);
    assert_eq!(report.stamp, drydock_content::digest::Sha256::of(fixture("kev")).to_string());
    let error = read_feed(None, Cursor::new(fixture("kev")), &Hints::default(), &mut |_| Err("full".into())).unwrap_err();
    assert!(matches!(&error, FeedError::Sink(why) if why.to_string() == "full"), "{error}");
}
