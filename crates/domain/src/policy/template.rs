//! Templates in resources with `template: true`: `{{ vars.port }}`, `{{ host.os.version }}`, `{{ labels.role | default "web" }}`,
//! `{{ secret.db_password }}`, and `{{ "{{" }}` for the signs themselves. Strict: what has no value is a problem that names
//! the resource, the field and the name, never an empty text.
//!
//! Secrets are not known here: their names go into the text between [`SECRET_MARKS`], and only where a value cannot become
//! the name of anything ([`may_hold_secrets`]).
//!
//! Absent on purpose: loops, conditions, calculations, including files, templates in what was filled in, and filling in
//! ids, numbers and words of the format (`state`, `mode`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::check::INLINE_MAX_BYTES;
use super::host::SECRET_MARKS;
use super::resolve::HostFacts;
use super::spec::{Mode, Resource};
use crate::validate::{Invalid, Problems};

/// Variables of one assignment, count.
pub const VARIABLES_MAX: usize = 100;
/// The value of a variable, bytes.
pub const VARIABLE_MAX_BYTES: usize = 4096;
/// The name of a variable or a secret, bytes.
const NAME_MAX_BYTES: usize = 63;
/// What stands in for a value that only a host has while a template is checked; every word and every path may hold it.
const PROBE: &str = "x";
/// Fields of a resource that are never filled in: other documents and reports refer to them.
const FIXED_FIELDS: [&str; 3] = ["id", "dependsOn", "notify"];
/// Names there are, for messages.
const NAMES: &str = "vars.NAME, labels.KEY, secret.NAME, host.name, host.hostname, host.os.shortName, host.os.version, host.arch, \
                     host.zone, host.group and host.environment";

/// What the names in templates stand for.
#[derive(Debug, Clone, Copy)]
pub struct TemplateFacts<'a> {
    /// `host.…` and `labels.…`.
    pub host: HostFacts<'a>,
    /// `vars.…`: of the assignment.
    pub variables: &'a BTreeMap<String, String>,
}

/// The resource with its templates filled in, and the names of the secrets it needs. One without `template: true` is
/// returned as it is.
///
/// # Errors
/// Names without a value, and what the values make of the resource; each problem's field begins with the resource's id.
pub fn fill(resource: &Resource, facts: &TemplateFacts<'_>) -> Result<(Resource, BTreeSet<String>), Invalid> {
    if !resource.template {
        return Ok((resource.clone(), BTreeSet::new()));
    }
    let at = resource.id.as_str();
    let mut filler = Filler::new(Some(facts.host), Some(facts.variables));
    let filled = filler.fill(at, resource);
    let Filler { mut problems, secrets, .. } = filler;
    // What cannot be filled in is told first: what the gaps make of the resource is noise.
    if problems.is_empty() {
        filled.check(at, Mode::Validation, Texts::Filled, &mut problems);
    }
    problems.finish().map(|()| (filled, secrets))
}

/// Names of the secrets that the texts of a filled resource refer to.
pub fn secrets_of(resource: &Resource) -> BTreeSet<String> {
    fn collect(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => names.extend(marked(text).into_iter().flatten().map(str::to_owned)),
            Value::Array(list) => list.iter().for_each(|v| collect(v, names)),
            Value::Object(map) => map.values().for_each(|v| collect(v, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    collect(&json(resource), &mut names);
    names
}

/// Whose texts are checked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'a> {
    /// As people write them: templates are allowed, marks are not. `None`: the policy stands alone, its variables are unknown.
    Written(Option<&'a BTreeMap<String, String>>),
    /// As hosts get them: marks are allowed where secrets are.
    Filled,
}

/// Checks a resource with `template: true` as far as that can be done without a host: the form of the templates, names of
/// variables, and the fields that hold no value of a host.
pub(super) fn check_written(
    at: &str,
    resource: &Resource,
    mode: Mode,
    variables: Option<&BTreeMap<String, String>>,
    problems: &mut Problems,
) {
    let mut filler = Filler::new(None, variables);
    let probe = filler.fill(at, resource);
    let Filler { problems: found, open, .. } = filler;
    let broken = !found.is_empty();
    problems.take(found);
    if broken {
        return;
    }
    let mut of_probe = Problems::default();
    probe.check(at, mode, Texts::Filled, &mut of_probe);
    for problem in of_probe.finish().err().into_iter().flat_map(|invalid| invalid.errors) {
        // Whether a line begins as it should depends on the line.
        let other = problem.field.strip_suffix("line.startsWith").map(|front| format!("{front}line.line"));
        if !open.contains(&problem.field) && other.is_none_or(|field| !open.contains(&field)) {
            problems.add(problem.field, problem.message);
        }
    }
}

/// Checks `variables` of an assignment.
pub(super) fn check_variables(variables: &BTreeMap<String, String>, problems: &mut Problems) {
    problems.count("variables", variables.len(), VARIABLES_MAX);
    for (name, value) in variables.iter().take(VARIABLES_MAX) {
        let field = format!("variables.{name}");
        check_name(&field, name, problems);
        problems.text(&field, value, VARIABLE_MAX_BYTES);
    }
}

/// Names of variables and secrets: 1 to 63 of a-z, A-Z, 0-9, _ and -, beginning with a letter or _.
pub fn check_name(field: &str, name: &str, problems: &mut Problems) {
    if !is_name(name) {
        problems
            .add(field, format!("{name:?} is not 1 to {NAME_MAX_BYTES} letters, digits, _ and -, beginning with a letter or _"));
    }
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.len() <= NAME_MAX_BYTES && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Where secrets may stand, by the path inside the resource: contents, scripts, arguments and commands, never a path, a name
/// or an id.
pub fn may_hold_secrets(field: &str) -> bool {
    let part_of = |list: &str| field.strip_prefix(list).is_some_and(|rest| rest.starts_with('['));
    let texts = ["file.content", "line.line", "exec.validate.script", "exec.enforce.script", "cron.command"];
    let lists = ["exec.validate.args", "exec.enforce.args", "timer.command"];
    // The first part of a timer's command is the path of the program.
    (texts.contains(&field) || lists.iter().any(|list| part_of(list))) && field != "timer.command[0]"
}

/// Refuses marks of secrets in what people write.
pub(super) fn refuse_marks<T: Serialize>(at: &str, document: &T, problems: &mut Problems) {
    fn walk(at: &str, value: &Value, problems: &mut Problems) {
        match value {
            Value::String(text) if text.contains(is_mark) => problems.add(at, MARK_REFUSED),
            Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| walk(&format!("{at}[{i}]"), v, problems)),
            Value::Object(map) => {
                for (key, value) in map {
                    let field = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                    if key.contains(is_mark) {
                        problems.add(at, MARK_REFUSED);
                    }
                    walk(&field, value, problems);
                }
            }
            _ => {}
        }
    }
    walk(at, &json(document), problems);
}

const MARK_REFUSED: &str = "holds U+F5EC or U+F5ED, which mark secrets; remove them and write {{ secret.NAME }}";

/// Checks the marks of a filled resource: in pairs, around the name of a secret, and only where secrets may stand.
pub(super) fn check_marks(at: &str, resource: &Resource, problems: &mut Problems) {
    let mut texts = Vec::new();
    texts_of("", &json(resource), &mut texts);
    for (field, text) in texts.into_iter().filter(|(_, text)| text.contains(is_mark)) {
        match marked(&text) {
            Some(names) if may_hold_secrets(&field) && names.iter().all(|name| is_name(name)) => {}
            _ => problems.add(format!("{at}.{field}"), "holds marks of secrets that stand for no secret"),
        }
    }
}

fn texts_of(at: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => out.push((at.to_owned(), text.clone())),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| texts_of(&format!("{at}[{i}]"), v, out)),
        Value::Object(map) => {
            for (key, value) in map {
                texts_of(&if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, value, out);
                out.extend(key.contains(is_mark).then(|| (at.to_owned(), key.clone())));
            }
        }
        _ => {}
    }
}

/// What stands between marks; `None`: they are not in pairs.
fn marked(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_mark) {
        let (name, after) = rest[start..].strip_prefix(SECRET_MARKS.0)?.split_once(SECRET_MARKS.1)?;
        if name.contains(is_mark) {
            return None;
        }
        names.push(name);
        rest = after;
    }
    Some(names)
}

fn is_mark(c: char) -> bool {
    c == SECRET_MARKS.0 || c == SECRET_MARKS.1
}

/// Plain structs of texts and numbers always have a JSON form.
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// What a name stands for.
enum Found<'a> {
    Text(&'a str),
    Secret,
    /// Nothing, and why.
    Absent(String),
    /// Only a host can tell.
    Open,
}

/// Goes through the texts of one resource.
struct Filler<'a> {
    /// `None`: no host is known, its values stay open.
    host: Option<HostFacts<'a>>,
    /// `None`: unknown, they stay open.
    variables: Option<&'a BTreeMap<String, String>>,
    problems: Problems,
    secrets: BTreeSet<String>,
    /// Fields with values that only a host has.
    open: BTreeSet<String>,
}

impl<'a> Filler<'a> {
    fn new(host: Option<HostFacts<'a>>, variables: Option<&'a BTreeMap<String, String>>) -> Self {
        Filler { host, variables, problems: Problems::default(), secrets: BTreeSet::new(), open: BTreeSet::new() }
    }

    fn fill(&mut self, at: &str, resource: &Resource) -> Resource {
        let mut form = json(resource);
        if let Value::Object(map) = &mut form {
            for (key, value) in map.iter_mut().filter(|(key, _)| !FIXED_FIELDS.contains(&key.as_str())) {
                self.walk(at, key, value);
            }
        }
        // Only texts were changed, and only where the form has free texts.
        match serde_json::from_value::<Resource>(form) {
            Ok(filled) => Resource { template: false, ..filled },
            Err(e) => {
                self.problems.add(at, format!("cannot be filled in: {e}"));
                resource.clone()
            }
        }
    }

    /// `field` is the path inside the resource.
    fn walk(&mut self, at: &str, field: &str, value: &mut Value) {
        match value {
            Value::String(text) if text.contains("{{") => match self.text(at, field, text) {
                Ok(filled) => *text = filled,
                Err(message) => self.problems.add(format!("{at}.{field}"), message),
            },
            Value::Array(list) => {
                for (i, value) in list.iter_mut().enumerate() {
                    self.walk(at, &format!("{field}[{i}]"), value);
                }
            }
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    self.walk(at, &format!("{field}.{key}"), value);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, at: &str, field: &str, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((front, after)) = rest.split_once("{{") {
            out.push_str(front);
            let (expression, after) = Expression::read(after)?;
            rest = after;
            let Expression { name, default } = expression;
            match (self.look(name)?, default) {
                (Found::Text(value), _) if value.contains(is_mark) => {
                    return Err(format!("{{{{ {name} }}}}: its value {MARK_REFUSED}"));
                }
                (Found::Text(value), _) => out.push_str(value),
                (Found::Secret, Some(_)) => return Err(format!("{{{{ {name} }}}}: a secret has no default")),
                (Found::Secret, None) if !may_hold_secrets(field) => {
                    return Err(format!(
                        "{{{{ {name} }}}}: a secret may stand only in the content of a file, a line, the script or arguments of exec, \
                         and the command of cron or timer"
                    ));
                }
                (Found::Secret, None) => {
                    let secret = name.strip_prefix("secret.").unwrap_or(name);
                    out.extend([SECRET_MARKS.0]);
                    out.push_str(secret);
                    out.extend([SECRET_MARKS.1]);
                    self.secrets.insert(secret.to_owned());
                }
                (Found::Open, default) => {
                    self.open.insert(format!("{at}.{field}"));
                    out.push_str(default.as_deref().unwrap_or(PROBE));
                }
                (Found::Absent(_), Some(default)) => out.push_str(&default),
                (Found::Absent(why), None) => {
                    return Err(format!("{{{{ {name} }}}}: {why}; give it, or write {{{{ {name} | default \"…\" }}}}"));
                }
            }
            // No field may be longer, and a short template must not become a huge text.
            if out.len() > INLINE_MAX_BYTES {
                return Err(format!("is longer than {INLINE_MAX_BYTES} bytes when it is filled in"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn look(&self, name: &str) -> Result<Found<'a>, String> {
        if name == LITERAL {
            return Ok(Found::Absent(String::new()));
        }
        let unknown = || format!("{{{{ {name} }}}}: there is no such name; there are {NAMES}");
        let (kind, key) = name.split_once('.').ok_or_else(unknown)?;
        let given = |value: Option<&'a str>, why: String| match value.filter(|v| !v.is_empty()) {
            Some(value) => Found::Text(value),
            None => Found::Absent(why),
        };
        match kind {
            "secret" if is_name(key) => return Ok(Found::Secret),
            "vars" if is_name(key) => {
                let Some(variables) = self.variables else { return Ok(Found::Open) };
                // A variable that was given as an empty text is one.
                return Ok(match variables.get(key) {
                    Some(value) => Found::Text(value),
                    None => Found::Absent(format!("the assignment has no variable {key}")),
                });
            }
            "labels" if is_name(key) => {
                let Some(host) = self.host else { return Ok(Found::Open) };
                return Ok(match host.selection.labels.get(key) {
                    Some(value) => Found::Text(value),
                    None => Found::Absent(format!("the host has no label {key}")),
                });
            }
            "host" => {}
            _ => return Err(unknown()),
        }
        let host = self.host;
        let (value, what) = match key {
            "name" => (host.map(|h| h.name), "name"),
            "hostname" => (host.map(|h| h.hostname), "known hostname"),
            "os.shortName" => (host.map(|h| h.selection.os_short_name), "known system"),
            "os.version" => (host.map(|h| h.selection.os_version), "known version of its system"),
            "arch" => (host.map(|h| h.architecture), "known architecture"),
            "zone" => (host.map(|h| h.zone), "zone"),
            "group" => (host.map(|h| h.selection.group.unwrap_or_default()), "group"),
            "environment" => (host.map(|h| h.selection.environment.unwrap_or_default()), "lifecycle environment"),
            _ => return Err(unknown()),
        };
        Ok(if host.is_none() { Found::Open } else { given(value, format!("the host has no {what}")) })
    }
}

/// The name of an expression that is only a quoted text.
const LITERAL: &str = "\"";

/// What stands between `{{` and `}}`: a name, perhaps with a default, or a quoted text alone (which is its own default).
struct Expression<'t> {
    name: &'t str,
    default: Option<String>,
}

impl<'t> Expression<'t> {
    /// Reads one, and what comes after its `}}`.
    fn read(text: &'t str) -> Result<(Self, &'t str), String> {
        let open = "has {{ without }}; write {{ \"{{\" }} for the signs themselves";
        let start = text.trim_start();
        if start.starts_with('"') {
            let (literal, rest) = quoted(start)?;
            let rest = rest.trim_start().strip_prefix("}}").ok_or("has {{ \"…\" without }} after it")?;
            return Ok((Expression { name: LITERAL, default: Some(literal) }, rest));
        }
        let end = start.find(|c: char| c.is_whitespace() || "|}\"{".contains(c)).ok_or(open)?;
        let (name, rest) = start.split_at(end);
        let rest = rest.trim_start();
        if name.is_empty() {
            return Err(format!("has {{{{ }}}} without a name; names are {NAMES}"));
        }
        if let Some(rest) = rest.strip_prefix("}}") {
            return Ok((Expression { name, default: None }, rest));
        }
        if rest.is_empty() {
            return Err(open.to_owned());
        }
        let strange = || format!("{{{{ {name} …: after a name only }}}} or | default \"…\" may come");
        let filter = rest.strip_prefix('|').ok_or_else(strange)?.trim_start().strip_prefix("default").ok_or_else(strange)?;
        if !filter.starts_with(char::is_whitespace) {
            return Err(strange());
        }
        let (default, rest) = quoted(filter.trim_start()).map_err(|_| strange())?;
        let rest = rest.trim_start().strip_prefix("}}").ok_or_else(strange)?;
        Ok((Expression { name, default: Some(default) }, rest))
    }
}

/// A text in double quotes (`\"` and `\\` inside), and what comes after it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let unfinished = || "has {{ \" without the closing quote".to_owned();
    let mut out = String::new();
    let mut chars = text.strip_prefix('"').ok_or_else(unfinished)?.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[i + 2..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => out.push(escaped),
                _ => return Err("has a \\ in quotes that is not \\\" or \\\\".to_owned()),
            },
            c => out.push(c),
        }
    }
    Err(unfinished())
}
