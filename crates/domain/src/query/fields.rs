//! The words of the language. Absent on purpose: what they mean for a host (`eval`).

/// Fields that hold one text, compared with `=` and `!=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextField {
    /// Name of the instance.
    Name,
    /// Its zone.
    Zone,
    /// Name of its managed instance group; empty when it is in none.
    Group,
    /// Name of the lifecycle environment it looks through, its own or its group's; empty when there is none.
    Environment,
    /// Path of its compartment.
    Compartment,
    /// `ID` of os-release(5).
    OsId,
    /// Architecture.
    OsArch,
    /// Any of its package managers.
    Manager,
}

/// Fields that hold a dotted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionField {
    /// `VERSION_ID` of os-release(5).
    OsVersion,
    /// The running kernel.
    Kernel,
}

/// Fields that hold a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountField {
    /// Installed packages.
    Packages,
    /// Updates that are not held.
    Updates,
    /// Of these, security updates.
    SecurityUpdates,
    /// Held updates.
    HeldUpdates,
}

/// Fields that are so or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// The host asks for a reboot.
    Reboot,
    /// The host has sent an inventory.
    Inventory,
}

/// What a word begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Package,
    Update,
    Advisory,
    Cve,
    Label,
    State,
    LastSeen,
    Text(TextField),
    Version(VersionField),
    Count(CountField),
    Flag(Flag),
}

/// Every field with its word.
pub(super) const FIELDS: [(&str, Field); 23] = [
    ("package", Field::Package),
    ("update", Field::Update),
    ("advisory", Field::Advisory),
    ("cve", Field::Cve),
    ("label", Field::Label),
    ("name", Field::Text(TextField::Name)),
    ("group", Field::Text(TextField::Group)),
    ("environment", Field::Text(TextField::Environment)),
    ("zone", Field::Text(TextField::Zone)),
    ("compartment", Field::Text(TextField::Compartment)),
    ("state", Field::State),
    ("lastSeen", Field::LastSeen),
    ("os.id", Field::Text(TextField::OsId)),
    ("os.version", Field::Version(VersionField::OsVersion)),
    ("os.arch", Field::Text(TextField::OsArch)),
    ("kernel", Field::Version(VersionField::Kernel)),
    ("manager", Field::Text(TextField::Manager)),
    ("packages", Field::Count(CountField::Packages)),
    ("updates", Field::Count(CountField::Updates)),
    ("updates.security", Field::Count(CountField::SecurityUpdates)),
    ("updates.held", Field::Count(CountField::HeldUpdates)),
    ("reboot", Field::Flag(Flag::Reboot)),
    ("inventory", Field::Flag(Flag::Inventory)),
];

/// Words that people write and the field they mean; refused with a suggestion, so that one filter has one spelling.
pub(super) const MEANT: [(&str, &str); 16] = [
    ("os", "os.id"),
    ("version", "os.version"),
    ("arch", "os.arch"),
    ("architecture", "os.arch"),
    ("host", "name"),
    ("hostname", "name"),
    ("instance", "name"),
    ("env", "environment"),
    ("tag", "label"),
    ("labels", "label"),
    ("rpm", "package"),
    ("deb", "package"),
    ("pkg", "package"),
    ("security", "updates.security"),
    ("status", "state"),
    ("seen", "lastSeen"),
];

/// The field of this word, in any case.
pub(super) fn field_of(word: &str) -> Option<Field> {
    FIELDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, field)| *field)
}

fn word_of(field: Field) -> &'static str {
    FIELDS.iter().find(|(_, f)| *f == field).map_or("", |(name, _)| name)
}

impl TextField {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        word_of(Field::Text(self))
    }
}

impl VersionField {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        word_of(Field::Version(self))
    }
}

impl CountField {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        word_of(Field::Count(self))
    }
}

impl Flag {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        word_of(Field::Flag(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_one_word_and_suggestions_are_fields() {
        for (word, field) in FIELDS {
            assert_eq!(field_of(word), Some(field));
            assert_eq!(word_of(field), word);
        }
        for (wrong, right) in MEANT {
            assert!(field_of(wrong).is_none() && field_of(right).is_some(), "{wrong} → {right}");
        }
        assert_eq!(field_of("LASTSEEN"), Some(Field::LastSeen));
    }
}
