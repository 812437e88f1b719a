//! Oddities of an upstream, told apart by kind so that ten thousand of one do not hide the single other.

use std::collections::BTreeMap;

use crate::sync::Findings;

/// Findings of one kind that are shown one by one.
const SHOWN_OF_A_KIND: u64 = 20;

/// Collects findings by kind.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    findings: Findings,
    counts: BTreeMap<&'static str, u64>,
}

impl Notes {
    /// Adds one; of many of a kind only the first are shown, and how many there are.
    pub fn add(&mut self, kind: &'static str, subject: &str, message: impl AsRef<str>) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN_OF_A_KIND {
            self.findings.note(subject, message);
        }
    }

    /// Adds one that cannot occur often.
    pub fn single(&mut self, subject: &str, message: impl AsRef<str>) {
        self.findings.note(subject, message);
    }

    /// Adds those of a part.
    pub fn extend(&mut self, other: Notes) {
        self.findings.extend(other.into_findings().into_vec());
    }

    /// All of them.
    pub fn into_findings(mut self) -> Findings {
        for (kind, count) in self.counts.into_iter().filter(|(_, count)| *count > SHOWN_OF_A_KIND) {
            self.findings.note("", format!("{count} {kind}; the first {SHOWN_OF_A_KIND} are shown"));
        }
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_does_not_hide_another() {
        let mut part = Notes::default();
        for number in 0..5000 {
            part.add("packages with odd names", &format!("p{number}"), "odd");
        }
        let mut notes = Notes::default();
        notes.extend(part);
        notes.single("repomd.xml", "rare");
        let list = notes.into_findings().into_vec();
        assert_eq!(list.len(), 22);
        assert!(list.iter().any(|f| f.message.starts_with("5000 packages with odd names")));
        assert!(list.iter().any(|f| f.message == "rare"));
    }
}
