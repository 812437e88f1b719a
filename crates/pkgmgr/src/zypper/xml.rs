//! `zypper --xmlout`: what zypper 1.14 prints for machines. Each command's form:
//!
//! ```xml
//! <update kind="patch" name="SUSE-2026-1" edition="1" arch="noarch" status="needed" category="security"
//!   severity="important" pkgmanager="false" restart="true" interactive="true">…<source url="…" alias="main"/>…</update>
//! <update kind="package" name="openssl" edition="3.1-2" arch="x86_64" edition-old="3.1-1">…</update>
//! <install-summary …><to-upgrade><solvable type="package" name="openssl" edition="3.1-2" arch="x86_64"
//!   repository="main" edition-old="3.1-1" arch-old="x86_64" summary="…">…</solvable></to-upgrade></install-summary>
//! <search-result><solvable-list><solvable status="other-version" name="openssl" kind="package" edition="3.1-1"
//!   arch="x86_64" repository="main"/></solvable-list></search-result>
//! <lock number="1"><name>kernel*</name><type>package</type></lock>
//! <message type="error">[main|http://mirror/] Failed to retrieve new repository metadata.</message>
//! <prompt id="1"><description>Problem: 1: …</description>…</prompt>
//! ```

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A line of list-patches or list-updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `patch` or `package`.
    pub kind: String,
    pub name: String,
    pub edition: String,
    pub arch: String,
    pub edition_old: String,
    /// `needed`, `optional`, `applied` …
    pub status: String,
    pub category: String,
    pub severity: String,
    /// Wants a reboot.
    pub restart: bool,
    /// Repository alias.
    pub alias: String,
}

/// A package (or patch) of a dry run's summary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Solvable {
    /// `to-upgrade`, `to-install`, `to-remove`, `to-downgrade` …
    pub section: String,
    pub kind: String,
    pub name: String,
    pub edition: String,
    pub arch: String,
    pub edition_old: String,
    pub arch_old: String,
    pub repository: String,
}

/// Everything of interest in one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub listed: Vec<Listed>,
    pub solvables: Vec<Solvable>,
    /// A summary was printed, even an empty one.
    pub summary: bool,
    pub need_reboot: bool,
    /// Names or globs of package locks.
    pub locks: Vec<String>,
    pub errors: Vec<String>,
    pub infos: Vec<String>,
    /// What it would have asked a person.
    pub questions: Vec<String>,
}

/// Which text is being read.
enum Inside {
    Nothing,
    Error,
    Info,
    Lock,
    Question,
}

/// Reads an answer.
pub(crate) fn parse(text: &str) -> Result<Answer, String> {
    let mut reader = Reader::from_str(text);
    let mut answer = Answer::default();
    let (mut inside, mut words, mut section, mut prompt) = (Inside::Nothing, String::new(), String::new(), false);
    loop {
        let event = reader.read_event().map_err(|e| format!("{e} at byte {}", reader.error_position()))?;
        match event {
            Event::Eof => return Ok(answer),
            Event::Start(tag) => {
                let name = tag.name().as_ref().to_owned();
                open(&tag, &name, &mut answer, &section)?;
                match name.as_str() {
                    section_name if section_name.starts_with("to-") => section = name,
                    "prompt" => prompt = true,
                    _ => {}
                }
                inside = match tag.name().as_ref() {
                    "message" if attribute(&tag, "type")? == "error" => Inside::Error,
                    "message" => Inside::Info,
                    "name" => Inside::Lock,
                    "description" if prompt => Inside::Question,
                    _ => Inside::Nothing,
                };
                words.clear();
            }
            Event::Empty(tag) => {
                let name = tag.name().as_ref().to_owned();
                open(&tag, &name, &mut answer, &section)?;
            }
            Event::Text(part) => words.push_str(&part),
            Event::GeneralRef(name) => words.push_str(&entity(&name)),
            Event::End(tag) => {
                if tag.name().as_ref() == "prompt" {
                    prompt = false;
                }
                let said = words.trim().to_owned();
                words.clear();
                match std::mem::replace(&mut inside, Inside::Nothing) {
                    Inside::Nothing => {}
                    Inside::Error => answer.errors.push(said),
                    Inside::Info => answer.infos.push(said),
                    Inside::Lock => answer.locks.push(said),
                    Inside::Question => answer.questions.push(said),
                }
            }
            _ => {}
        }
    }
}

fn open(tag: &BytesStart<'_>, name: &str, answer: &mut Answer, section: &str) -> Result<(), String> {
    let get = |key: &str| attribute(tag, key);
    match name {
        "update" => answer.listed.push(Listed {
            kind: get("kind")?,
            name: get("name")?,
            edition: get("edition")?,
            arch: get("arch")?,
            edition_old: get("edition-old")?,
            status: get("status")?,
            category: get("category")?,
            severity: get("severity")?,
            restart: get("restart")? == "true",
            alias: String::new(),
        }),
        "source" => {
            if let Some(last) = answer.listed.last_mut() {
                last.alias = get("alias")?;
            }
        }
        "install-summary" => {
            answer.summary = true;
            answer.need_reboot = get("need-reboot")? == "1";
        }
        "solvable" => answer.solvables.push(Solvable {
            section: section.to_owned(),
            // A search says `kind`.
            kind: Some(get("type")?).filter(|kind| !kind.is_empty()).map_or_else(|| get("kind"), Ok)?,
            name: get("name")?,
            edition: get("edition")?,
            arch: get("arch")?,
            edition_old: get("edition-old")?,
            arch_old: get("arch-old")?,
            repository: get("repository")?,
        }),
        _ => {}
    }
    Ok(())
}

/// An attribute's value; empty when it is not there.
fn attribute(tag: &BytesStart<'_>, key: &str) -> Result<String, String> {
    let found = tag.try_get_attribute(key).map_err(|e| e.to_string())?;
    let Some(attribute) = found else { return Ok(String::new()) };
    quick_xml::escape::unescape(&attribute.value).map(std::borrow::Cow::into_owned).map_err(|e| e.to_string())
}

fn entity(name: &str) -> String {
    let text = format!("&{name};");
    quick_xml::escape::unescape(&text).map_or_else(|_| text.clone(), |t| t.into_owned())
}
