//! Accounts of people and programs, groups of them, passwords that are not taken, and what a token may be narrowed to.
//! Absent on purpose: hashing, codes, clocks.

use serde::{Deserialize, Serialize};

use super::builtin::find_group;
use super::permissions::{Right, RightSet, Target, Verb};
use crate::ids::UserId;
use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::query::{nearest, shown};
use crate::validate::{Invalid, Problems};

/// Longest name of a user or a group, bytes.
pub const ACCOUNT_NAME_MAX_BYTES: usize = 64;
/// Longest address of a user's mail, bytes (RFC 5321).
pub const EMAIL_MAX_BYTES: usize = 254;
/// Shortest password, bytes.
pub const PASSWORD_MIN_BYTES: usize = 12;
/// Longest password, bytes: hashing more costs and protects nothing.
pub const PASSWORD_MAX_BYTES: usize = 128;
/// Entries of what a token is narrowed to, count.
pub const SCOPE_ENTRIES_MAX: usize = 50;
/// Longest entry of what a token is narrowed to, bytes.
pub const SCOPE_ENTRY_MAX_BYTES: usize = 1024;

/// Long passwords that guessers try first, in lower case. The shorter ones are refused for their length.
const WORST_PASSWORDS: [&str; 24] = [
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "administrator",
    "adminadminadmin",
    "abcdefghijkl",
    "abcdefghijklm",
    "changemechangeme",
    "changeme1234",
    "correcthorsebatterystaple",
    "correct horse battery staple",
    "drydockdrydock",
    "iloveyou1234",
    "letmeinletmein",
    "letmein12345",
    "passw0rd1234",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "qwertyqwerty",
    "qwertyuiop123",
    "qwerty123456",
    "welcome12345",
];

/// What sort of account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserKind {
    /// A person.
    #[default]
    User,
    /// A program: it has tokens and API keys, and never a password.
    ServiceAccount,
}

impl UserKind {
    /// The stored and shown name.
    pub fn as_str(self) -> &'static str {
        match self {
            UserKind::User => "user",
            UserKind::ServiceAccount => "service-account",
        }
    }

    /// Reads the stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [UserKind::User, UserKind::ServiceAccount].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A user as made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSpec {
    /// Unique in any case; part of URLs. Never changes.
    pub name: String,
    /// A person or a program.
    #[serde(default)]
    pub kind: UserKind,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// For people who want to reach them; the server sends nothing.
    #[serde(default)]
    pub email: String,
}

impl UserSpec {
    /// Checks the specification by itself.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_account_name(&self.name, &mut problems);
        check_texts(&self.description, &self.email, &mut problems);
        problems.finish()
    }
}

/// A group of users as made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserGroupSpec {
    /// Unique in any case; statements name it. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
}

impl UserGroupSpec {
    /// Checks the specification by itself.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_account_name(&self.name, &mut problems);
        if find_group(&self.name).is_some() {
            problems.add("name", "is the name of a group that is always there; choose another one");
        }
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        problems.finish()
    }
}

/// Notes what is wrong with free text and address of a user.
pub fn check_texts(description: &str, email: &str, problems: &mut Problems) {
    problems.text("description", description, DESCRIPTION_MAX_BYTES);
    problems.text("email", email, EMAIL_MAX_BYTES);
    if !email.is_empty() && email.split_once('@').is_none_or(|(own, host)| own.is_empty() || host.is_empty()) {
        problems.add("email", "is no address; write for example ann@example.com");
    }
}

/// The form in which names of users and groups are compared: in any case.
pub fn folded_name(name: &str) -> String {
    super::fold(name)
}

fn check_account_name(name: &str, problems: &mut Problems) {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
    if name.is_empty() || name.len() > ACCOUNT_NAME_MAX_BYTES || !name.bytes().all(good) {
        problems.add("name", format!("is 1 to {ACCOUNT_NAME_MAX_BYTES} of a-z, A-Z, 0-9, `.`, `_`, `-`, `@`, `+`"));
    } else if !name.as_bytes()[0].is_ascii_alphanumeric() {
        problems.add("name", "begins with a letter or a digit");
    } else if name.parse::<UserId>().is_ok() {
        problems.add("name", "looks like an id; choose another one");
    }
}

/// Why a password is not taken. (It is never part of the message.) What makes a good one is its length: there are no rules about
/// capitals, digits or signs.
pub fn check_password(field: &str, name: &str, password: &str) -> Result<(), Invalid> {
    let mut problems = Problems::default();
    let folded = super::fold(password);
    let (own, distinct) = (super::fold(name), folded.chars().collect::<std::collections::BTreeSet<_>>().len());
    if password.len() < PASSWORD_MIN_BYTES {
        problems.add(field, format!("is too short; at least {PASSWORD_MIN_BYTES} bytes, for example four unrelated words"));
    } else if password.len() > PASSWORD_MAX_BYTES {
        problems.add(field, format!("is too long; at most {PASSWORD_MAX_BYTES} bytes"));
    } else if password.contains('\0') {
        problems.add(field, "holds a NUL");
    } else if WORST_PASSWORDS.contains(&folded.as_str()) || distinct < 5 {
        problems.add(field, "is among those that guessers try first; choose another one");
    } else if !own.is_empty() && folded.replace(&own, "").len() < PASSWORD_MIN_BYTES / 2 {
        problems.add(field, "is little more than the user's name; choose another one");
    }
    problems.finish()
}

/// Reads what a token is narrowed to: entries such as `read drydock-family`, `{DRYDOCK_INSTANCE_PATCH}` or
/// `DRYDOCK_INSTANCE_PATCH, DRYDOCK_INSTANCE_READ`, with the words of statements.
pub fn parse_scope(entries: &[String]) -> Result<RightSet, Invalid> {
    let mut problems = Problems::default();
    problems.count("scope", entries.len(), SCOPE_ENTRIES_MAX);
    let mut rights: Vec<Right> = Vec::new();
    for (n, entry) in entries.iter().take(SCOPE_ENTRIES_MAX).enumerate() {
        match parse_entry(entry) {
            Ok(found) => rights.extend(found.iter()),
            Err(why) => problems.add(format!("scope[{n}]"), why),
        }
    }
    if entries.is_empty() {
        problems.add("scope", "is empty; leave it out for a token that is not narrowed");
    }
    problems.finish()?;
    Ok(rights.into_iter().collect())
}

fn parse_entry(entry: &str) -> Result<RightSet, String> {
    if entry.len() > SCOPE_ENTRY_MAX_BYTES {
        return Err(format!("is longer than {SCOPE_ENTRY_MAX_BYTES} bytes"));
    }
    let text = entry.trim();
    let braced = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let words: Vec<&str> = text.split_whitespace().collect();
    if let ([verb, target], None) = (words.as_slice(), braced)
        && !verb.ends_with(',')
    {
        let known = Verb::ALL.map(Verb::as_str);
        let read = Verb::find(verb).ok_or_else(|| unknown("verb", verb, nearest(verb, known)))?;
        let target =
            Target::find(target).ok_or_else(|| unknown("resource type or family", target, nearest(target, Target::names())))?;
        return Ok(target.rights(read));
    }
    let named = braced.unwrap_or(text).split(',').map(|name| Right::named(name.trim()).map_err(|e| e.to_string()));
    named.collect::<Result<Vec<Right>, String>>().map(|rights| rights.into_iter().collect())
}

fn unknown(what: &str, word: &str, meant: Option<&str>) -> String {
    let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
    format!("there is no {what} {}{meant}", shown(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(entries: &[&str]) -> Result<RightSet, Invalid> {
        parse_scope(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_scope_is_what_its_entries_say_in_the_words_of_statements() {
        let right = |name: &str| Right::find(name).expect("known");
        let read = scope(&["read drydock-family"]).expect("read");
        assert!(read.has(right("DRYDOCK_INSTANCE_READ")) && !read.has(right("DRYDOCK_INSTANCE_PATCH")));
        let both = scope(&["READ Drydock-Instances", " {DRYDOCK_INSTANCE_PATCH, drydock_group_read} "]).expect("read");
        assert!(both.has(right("DRYDOCK_INSTANCE_PATCH")) && both.has(right("DRYDOCK_GROUP_READ")));
        assert!(!both.has(right("DRYDOCK_GROUP_UPDATE")));
        let bare = scope(&["DRYDOCK_INSTANCE_PATCH"]).expect("read");
        assert_eq!(bare.iter().count(), 1);
        assert_eq!(scope(&["DRYDOCK_INSTANCE_PATCH, DRYDOCK_INSTANCE_READ"]).expect("read").iter().count(), 2);
    }

    #[test]
    fn what_no_statement_could_say_is_no_scope() {
        for (entry, part) in [
            ("raed drydock-family", "did you mean read?"),
            ("read drydock-famly", "did you mean drydock-family?"),
            ("DRYDOCK_INSTANCE_PATH", "did you mean DRYDOCK_INSTANCE_PATCH?"),
            ("read drydock-family in compartment A", "there is no permission"),
            ("{}", "there is no permission"),
            ("", "there is no permission"),
        ] {
            let refusal = scope(&[entry]).expect_err(entry).to_string();
            assert!(refusal.starts_with("scope[0]: ") && refusal.contains(part), "{refusal}");
        }
        assert!(scope(&[]).is_err());
        assert!(scope(&["read drydock-family"; SCOPE_ENTRIES_MAX + 1]).is_err());
    }

    #[test]
    fn passwords_are_long_and_not_the_first_that_is_guessed() {
        let check = |password: &str| check_password("password", "ann.lee", password);
        assert!(check("unten rot acht mauer").is_ok());
        assert!(check("ünïcödé wörds").is_ok());
        for bad in ["kurz", "", "password1234", "PassWord1234", "aaaaaaaaaaaa", "abababababab", "ann.lee12345", "Ann.LeeAnn.Lee"]
        {
            let refusal = check(bad).expect_err(bad).to_string();
            assert!(bad.is_empty() || !refusal.contains(bad), "{refusal}");
        }
        assert!(check(&"ab1!cdefgh".repeat(13)).is_err(), "longer than is hashed");
    }

    #[test]
    fn names_are_what_statements_and_addresses_can_hold() {
        let user =
            |name: &str| UserSpec { name: name.into(), kind: UserKind::User, description: String::new(), email: String::new() };
        for good in ["ann", "Ann.Lee", "ann@example.com", "ci-1", "a+b"] {
            assert!(user(good).validate().is_ok(), "{good}");
        }
        for bad in ["", "-ann", "a b", "a/b", "a:b", "é", "0198c0de-0000-7000-8000-000000000001", &"a".repeat(65)] {
            assert!(user(bad).validate().is_err(), "{bad}");
        }
        assert!(UserGroupSpec { name: "administrators".into(), description: String::new() }.validate().is_err());
        assert!(UserSpec { email: "nobody".into(), ..user("ann") }.validate().is_err());
    }
}
