//! Advisories: one `<update>` of `updateinfo.xml`, what we need of it, and how two with one id become one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::fragments::Shape;
use super::primary::has_foreign_prefix;
use super::xml::{Event, Tag, Walker, XmlError, cut, decode};
use crate::snapshot::{AdvisoryRecord, nevra, rpm_version};

/// `updateinfo.xml`. One advisory: some MiB for a distribution's rebuild of everything.
pub(crate) const UPDATEINFO: Shape = Shape { root: "updates", element: "update", max_bytes: 16 * 1024 * 1024 };
/// Advisories of a repository, count. The largest published ones have some ten thousand.
pub const MAX_ADVISORIES: usize = 200_000;

/// Longest id, bytes.
const ID_MAX_BYTES: usize = 255;
/// Longest text that is taken from an element or attribute, bytes.
const TEXT_MAX_BYTES: usize = 255;

/// An advisory that was read.
#[derive(Debug)]
pub(crate) struct Advisory {
    pub record: AdvisoryRecord,
    /// When it was last changed: the newer of two with one id wins.
    pub updated: Option<i64>,
    foreign_prefix: bool,
}

impl Advisory {
    /// Reads a fragment.
    ///
    /// # Errors
    /// [`XmlError`] when it is malformed; the offset is within the fragment.
    pub fn parse(text: &str) -> Result<Self, XmlError> {
        let mut walker = Walker::new(text);
        let mut path: Vec<&str> = Vec::new();
        let (mut packages, mut cves) = (BTreeSet::new(), BTreeSet::new());
        let mut advisory = Advisory { record: AdvisoryRecord::default(), updated: None, foreign_prefix: false };
        while let Some(event) = walker.next()? {
            match event {
                Event::Start(tag) => {
                    advisory.foreign_prefix |= has_foreign_prefix(&tag);
                    match path.as_slice() {
                        [] => advisory.record.kind = short(&tag, "type"),
                        ["update"] => advisory.tag(&tag),
                        ["update", "pkglist", "collection"] if tag.name == "package" => {
                            packages.extend(named_package(&tag));
                        }
                        ["update", "references"] if tag.name == "reference" && short(&tag, "type") == "cve" => {
                            cves.insert(short(&tag, "id"));
                        }
                        _ => {}
                    }
                    if !tag.empty {
                        path.push(tag.name);
                    }
                }
                Event::Text(text) => advisory.text(&path, &decode(text)),
                Event::CData(text) => advisory.text(&path, text),
                Event::End { .. } => {
                    path.pop();
                }
            }
        }
        cves.remove("");
        advisory.record.packages = packages.into_iter().collect();
        advisory.record.cves = cves.into_iter().collect();
        for text in [&mut advisory.record.id, &mut advisory.record.severity] {
            *text = text.trim().to_owned();
        }
        Ok(advisory)
    }

    /// One that was stored already.
    pub fn stored_before(record: AdvisoryRecord, updated: Option<i64>) -> Self {
        Self { record, updated, foreign_prefix: false }
    }

    fn tag(&mut self, tag: &Tag<'_>) {
        match tag.name {
            "issued" => self.record.issued = tag.get("date").and_then(|date| seconds(&date)),
            "updated" => self.updated = tag.get("date").and_then(|date| seconds(&date)),
            _ => {}
        }
    }

    fn text(&mut self, path: &[&str], text: &str) {
        let field = match path {
            ["update", "id"] => &mut self.record.id,
            ["update", "severity"] => &mut self.record.severity,
            _ => return,
        };
        if field.len() + text.len() <= TEXT_MAX_BYTES + 2 {
            field.push_str(text);
        }
    }

    /// Why it cannot be stored.
    pub fn problem(&self) -> Option<String> {
        let id = &self.record.id;
        if id.is_empty() {
            return Some("has no id".to_owned());
        }
        let bad = id.len() > ID_MAX_BYTES || id.chars().any(char::is_control);
        bad.then(|| format!("has the unusable id {}", cut(id)))
    }

    /// The fragment as it is stored: with a line feed, and declarations where it needs them.
    pub fn stored(&self, text: &str, declarations: &str) -> String {
        match text.strip_prefix("<update") {
            Some(rest) if self.foreign_prefix => format!("<update{declarations}{rest}\n"),
            _ => format!("{text}\n"),
        }
    }
}

fn short(tag: &Tag<'_>, attribute: &str) -> String {
    tag.get(attribute).filter(|value| value.len() <= TEXT_MAX_BYTES).map(|value| value.trim().to_owned()).unwrap_or_default()
}

fn named_package(tag: &Tag<'_>) -> Option<String> {
    let [name, version, release, arch, epoch] = ["name", "version", "release", "arch", "epoch"].map(|key| short(tag, key));
    (!name.is_empty() && !version.is_empty()).then(|| nevra(&name, &rpm_version(&epoch, &version, &release), &arch))
}

/// Dates as upstreams write them: `2026-01-15 12:00:00` (UTC), with or without time or zone, or seconds since 1970.
fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let text = text.trim_end_matches("UTC").trim_end();
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0)));
    civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp().as_second())
}

/// Two advisories with one id and different content: the one changed last stays (of equal ones the later), and the
/// package collections of the other are added to it. Upstreams split one advisory over architectures or modules this way.
pub(crate) fn merge(a: (Advisory, String), b: (Advisory, String)) -> (Advisory, String) {
    let ((mut kept, text), (other, other_text)) = if a.0.updated > b.0.updated { (a, b) } else { (b, a) };
    let inner = pkglist(&other_text).map(|(start, end, _)| other_text.get(start..end).unwrap_or_default());
    let merged = match (pkglist(&text), inner.filter(|inner| !inner.trim().is_empty())) {
        (Some((_, end, false)), Some(inner)) => {
            let (before, after) = text.split_at(end);
            format!("{before}{inner}{after}")
        }
        _ => text,
    };
    let packages: BTreeSet<_> = kept.record.packages.drain(..).chain(other.record.packages).collect();
    kept.record.packages = packages.into_iter().collect();
    (kept, merged)
}

/// Where the content of the first `<pkglist>` lies; the flag says `<pkglist/>`.
fn pkglist(text: &str) -> Option<(usize, usize, bool)> {
    let mut walker = Walker::new(text);
    let mut start = None;
    let mut before = 0;
    loop {
        let event = walker.next().ok()??;
        match event {
            Event::Start(tag) if tag.name == "pkglist" && walker.depth() <= 2 => {
                if tag.empty {
                    return Some((tag.end, tag.end, true));
                }
                start = Some(tag.end);
                before = tag.end;
            }
            Event::Start(tag) => before = tag.end,
            Event::End { end } => {
                if let (Some(start), 1) = (start, walker.depth()) {
                    let close = text.get(before..end)?.rfind("</")?;
                    return Some((start, before + close, false));
                }
                before = end;
            }
            Event::Text(_) | Event::CData(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"<update from="x" status="final" type="security" version="1">
  <id>LABSA-2026:0001</id><title>t</title>
  <issued date="2026-01-15 12:00:00"/><updated date="2026-01-16"/>
  <severity>Important</severity>
  <references><reference type="cve" id="CVE-2026-1"/><reference type="self" id="x"/></references>
  <pkglist><collection short="a"><package name="dd" version="1.1" release="1" epoch="0" arch="x86_64" src="dd.src.rpm"><filename>f</filename></package>
  <package name="dd" version="1.1" release="1" arch="x86_64"/></collection></pkglist>
</update>"#;

    fn named(collection: &str, updated: &str) -> (Advisory, String) {
        let text = format!(
            "<update type='bugfix'><id>A</id><updated date='{updated}'/><pkglist>\n<collection><package name='{collection}' \
             version='1' release='1' arch='noarch'/></collection>\n</pkglist></update>"
        );
        (Advisory::parse(&text).unwrap(), text)
    }

    #[test]
    fn reads_what_selections_need() {
        let advisory = Advisory::parse(ONE).unwrap();
        assert_eq!(advisory.record.id, "LABSA-2026:0001");
        assert_eq!(advisory.record.cves, ["CVE-2026-1"]);
        assert_eq!(advisory.record.kind, "security");
        assert_eq!(advisory.record.severity, "Important");
        assert_eq!(advisory.record.issued, Some(1_768_478_400));
        assert_eq!(advisory.updated, Some(1_768_521_600));
        assert_eq!(advisory.record.packages, ["dd-0:1.1-1.x86_64"]);
        assert_eq!(advisory.problem(), None);
        assert!(Advisory::parse("<update/>").unwrap().problem().is_some());
        assert!(Advisory::parse(&format!("<update><id>{}</id></update>", "x".repeat(256))).unwrap().problem().is_some());
    }

    #[test]
    fn dates_of_every_upstream() {
        for (text, want) in [
            ("2026-01-15 12:00:00", Some(1_768_478_400)),
            ("2026-01-15 12:00:00 UTC", Some(1_768_478_400)),
            ("2026-01-15", Some(1_768_435_200)),
            ("2026-01-15T12:00:00Z", Some(1_768_478_400)),
            ("1768478400", Some(1_768_478_400)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }

    #[test]
    fn the_newer_wins_and_packages_are_united() {
        for (a, b) in
            [(named("old", "2026-01-01"), named("new", "2026-02-01")), (named("new", "2026-02-01"), named("old", "2026-01-01"))]
        {
            let (kept, text) = merge(a, b);
            assert_eq!(kept.record.packages, ["new-0:1-1.noarch", "old-0:1-1.noarch"]);
            let read = Advisory::parse(&text).unwrap();
            assert_eq!(read.record.packages, kept.record.packages, "{text}");
            assert_eq!(read.updated, kept.updated);
            assert!(text.find("name='new'").unwrap() < text.find("name='old'").unwrap());
        }
        let (_, text) = merge(
            named("x", "2026-01-01"),
            (Advisory::parse("<update><id>A</id></update>").unwrap(), "<update><id>A</id></update>".into()),
        );
        assert!(text.contains("name='x'"));
    }
}
