//! Severities in every vendor's spelling, in one order.

use serde::{Deserialize, Serialize};

/// How bad: Red Hat's four words, which Oracle, AlmaLinux, Rocky and SUSE share; CVSS's and Debian's map to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Nobody says.
    #[default]
    Unknown,
    /// Debian's `unimportant`, Ubuntu's `negligible`, CVSS 0.0.
    Negligible,
    /// `Low`.
    Low,
    /// `Moderate`, `Medium`.
    Moderate,
    /// `Important`, `High`.
    Important,
    /// `Critical`.
    Critical,
}

impl Severity {
    /// From the least to the worst.
    pub const ALL: [Severity; 6] =
        [Severity::Unknown, Severity::Negligible, Severity::Low, Severity::Moderate, Severity::Important, Severity::Critical];

    /// Reads a vendor's word in any case, also `important (7.5)`, `medium**` (Debian), `Sev2`-less spellings.
    pub fn of_word(word: &str) -> Self {
        let word: String = word.trim().chars().take_while(char::is_ascii_alphabetic).collect();
        match word.to_ascii_lowercase().as_str() {
            "critical" | "urgent" => Severity::Critical,
            "important" | "high" => Severity::Important,
            "moderate" | "medium" => Severity::Moderate,
            "low" | "minor" => Severity::Low,
            "unimportant" | "negligible" => Severity::Negligible,
            _ => Severity::Unknown,
        }
    }

    /// By a CVSS v3 or v4 base score in tenths: the qualitative scale of the CVSS specification.
    pub fn of_score(tenths: u16) -> Self {
        match tenths {
            0 => Severity::Negligible,
            1..=39 => Severity::Low,
            40..=69 => Severity::Moderate,
            70..=89 => Severity::Important,
            _ => Severity::Critical,
        }
    }

    /// The shown and stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Unknown => "UNKNOWN",
            Severity::Negligible => "NEGLIGIBLE",
            Severity::Low => "LOW",
            Severity::Moderate => "MODERATE",
            Severity::Important => "IMPORTANT",
            Severity::Critical => "CRITICAL",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        Severity::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (word, want) in [
            ("Important", Severity::Important),
            ("IMPORTANT", Severity::Important),
            ("high", Severity::Important),
            ("medium**", Severity::Moderate),
            ("moderate", Severity::Moderate),
            (" Low ", Severity::Low),
            ("None", Severity::Unknown),
            ("", Severity::Unknown),
            ("unimportant", Severity::Negligible),
            ("critical", Severity::Critical),
            ("important (7.5)", Severity::Important),
        ] {
            assert_eq!(Severity::of_word(word), want, "{word}");
        }
        assert_eq!(
            [0, 1, 39, 40, 70, 90].map(Severity::of_score).map(Severity::as_str),
            ["NEGLIGIBLE", "LOW", "LOW", "MODERATE", "IMPORTANT", "CRITICAL"]
        );
    }
}
