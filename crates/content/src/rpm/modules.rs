//! Module metadata: `modules.yaml` split at its document marks, each document kept as it is. A YAML reader looks only at
//! what names a document and at the packages it lists.
//!
//! Absent: any meaning of defaults and obsoletes beyond their names; package managers do that.

use std::io::BufRead;

use serde::Deserialize;

use super::xml::cut;
use crate::snapshot::ModuleRecord;

/// Largest document, bytes. The largest published ones list some thousand packages; translations have some MiB.
const DOCUMENT_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Documents, count.
pub const MAX_DOCUMENTS: usize = 100_000;
/// Longest part of a key, bytes.
const NAME_MAX_BYTES: usize = 255;

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Document {
    pub record: ModuleRecord,
    /// From `---` to `...`, with a line feed.
    pub text: String,
}

impl Document {
    /// Reads one document.
    ///
    /// # Errors
    /// Says why it is no module metadata.
    pub fn parse(text: String) -> Result<Self, String> {
        let header: Header = serde_saphyr::from_str_with_options(&text, options()).map_err(|error| cut(&error.to_string()))?;
        let Header { document, data, .. } = header;
        if document.is_empty() {
            return Err("no `document:` names its type".to_owned());
        }
        let Data { name, module, stream, version, context, arch, artifacts } = data;
        let mut packages = artifacts.rpms;
        packages.sort_unstable();
        packages.dedup();
        let record = ModuleRecord {
            name: if name.is_empty() { module } else { name },
            kind: document,
            stream,
            version,
            context,
            arch,
            artifacts: packages,
        };
        for part in [&record.kind, &record.name, &record.stream, &record.version, &record.context, &record.arch] {
            if part.len() > NAME_MAX_BYTES || part.chars().any(char::is_control) {
                return Err(format!("the unusable name {}", cut(part)));
            }
        }
        if record.kind == "modulemd" && (record.name.is_empty() || record.stream.is_empty()) {
            return Err("a stream without a name".to_owned());
        }
        Ok(Self { record, text })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    document: String,
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    name: String,
    module: String,
    stream: String,
    version: String,
    context: String,
    arch: String,
    artifacts: Artifacts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Artifacts {
    rpms: Vec<String>,
}

/// How documents of modules are read.
pub(crate) fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    options.emit_comments = false;
    // The document's size is bounded already; aliases stay bounded by the reader's own limits.
    if let Some(budget) = &mut options.budget {
        budget.max_nodes = 4_000_000;
        budget.max_events = 8_000_000;
        budget.max_total_scalar_bytes = DOCUMENT_MAX_BYTES * 2;
        budget.max_reader_input_bytes = Some(DOCUMENT_MAX_BYTES);
    }
    options
}

/// Splits a stream of documents.
pub(crate) struct Documents<R> {
    input: R,
    line: u64,
    /// The `---` line that began the document being collected.
    pending: Option<String>,
    finished: bool,
}

impl<R: BufRead> Documents<R> {
    pub fn new(input: R) -> Self {
        Self { input, line: 0, pending: None, finished: false }
    }

    /// The next document from `---` to `...`, and the line it begins at. Comments and directives between documents are
    /// left out.
    ///
    /// # Errors
    /// When reading fails, a document is too large or not UTF-8.
    pub fn next(&mut self) -> Result<Option<(u64, String)>, String> {
        if self.finished {
            return Ok(None);
        }
        let mut text = self.pending.take().unwrap_or_default();
        let mut at = self.line;
        loop {
            let Some(line) = self.read_line()? else {
                self.finished = true;
                return Ok(closed(text).map(|text| (at, text)));
            };
            let mark = line.trim_end();
            if mark == "---" || mark.starts_with("--- ") {
                if let Some(text) = closed(std::mem::take(&mut text)) {
                    self.pending = Some(line);
                    return Ok(Some((at, text)));
                }
                (text, at) = (line, self.line);
            } else if mark == "..." || mark.starts_with("... ") {
                if let Some(text) = closed(std::mem::take(&mut text)) {
                    return Ok(Some((at, text)));
                }
            } else if text.is_empty() {
                // In front of a document: white space, comments and directives, or its first line.
                if !(mark.is_empty() || mark.starts_with(['#', '%'])) {
                    (text, at) = (format!("---\n{line}"), self.line);
                }
            } else {
                text.push_str(&line);
            }
            if text.len() > DOCUMENT_MAX_BYTES {
                return Err(format!("line {at}: a document larger than {DOCUMENT_MAX_BYTES} bytes"));
            }
        }
    }

    /// A line with its line feed; the last one gets one.
    fn read_line(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let number = self.line + 1;
        let mut limited = std::io::Read::take(&mut self.input, DOCUMENT_MAX_BYTES as u64 + 1);
        limited.read_until(b'\n', &mut bytes).map_err(|error| format!("line {number}: {error}"))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() > DOCUMENT_MAX_BYTES {
            return Err(format!("line {number}: longer than {DOCUMENT_MAX_BYTES} bytes"));
        }
        self.line = number;
        let mut line = String::from_utf8(bytes).map_err(|_| format!("line {number}: not UTF-8"))?;
        if number == 1 && line.starts_with('\u{FEFF}') {
            line.remove(0);
        }
        if !line.ends_with('\n') {
            line.push('\n');
        }
        Ok(Some(line))
    }
}

/// A collected document with its end mark; `None` when it holds nothing.
fn closed(mut text: String) -> Option<String> {
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let first_says_something = text.lines().next().is_some_and(|first| first.trim_end() != "---" && !first.trim_end().is_empty());
    if !first_says_something && body.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return None;
    }
    text.push_str("...\n");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\
document: modulemd
version: 2
data:
  name: nodejs
  stream: 1.10
  version: 8030020210426100849
  context: 229f0a1c
  arch: x86_64
  summary: Javascript runtime
  description: >-
    ...
    --- not a mark
  artifacts:
    rpms:
    - nodejs-1:18.0.0-1.module_el8.x86_64
    - npm-1:8.0.0-1.module_el8.noarch
    - npm-1:8.0.0-1.module_el8.noarch
";

    fn split(text: &str) -> Vec<String> {
        let mut documents = Documents::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some((_, text)) = documents.next().unwrap() {
            all.push(text);
        }
        all
    }

    #[test]
    fn documents_are_split_at_marks_only() {
        let defaults = "document: modulemd-defaults\nversion: 1\ndata:\n  module: nodejs\n  stream: 18\n";
        let all = split(&format!("# c\n%YAML 1.2\n---\n{STREAM}...\n---\n{defaults}---\n# nothing\n--- # c\n{defaults}"));
        assert_eq!(all, [format!("---\n{STREAM}...\n"), format!("---\n{defaults}...\n"), format!("--- # c\n{defaults}...\n")]);
        assert_eq!(split(defaults), [format!("---\n{defaults}...\n")]);
        assert!(split("").is_empty());
        assert_eq!(split("---\na: b").len(), 1);
    }

    #[test]
    fn streams_are_strings_whatever_they_look_like() {
        let document = Document::parse(format!("---\n{STREAM}...\n")).unwrap();
        let ModuleRecord { name, stream, version, context, arch, artifacts, .. } = &document.record;
        assert_eq!((name.as_str(), stream.as_str(), version.as_str()), ("nodejs", "1.10", "8030020210426100849"));
        assert_eq!((context.as_str(), arch.as_str()), ("229f0a1c", "x86_64"));
        assert_eq!(artifacts.len(), 2);
    }

    #[test]
    fn documents_that_name_nothing_are_refused() {
        for bad in [
            "---\ndata: {}\n",
            "---\n- a\n",
            "---\ndocument: modulemd\ndata: {stream: a}\n",
            "---\ndocument: [\n",
            "---\n&a *a\n",
        ] {
            assert!(Document::parse(bad.to_owned()).is_err(), "{bad}");
        }
        let bomb = "---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\ndocument: modulemd-defaults\n";
        let _ = Document::parse(bomb.to_owned());
    }

    #[test]
    fn other_documents_name_their_module() {
        let text = "---\ndocument: modulemd-obsoletes\ndata:\n  module: a\n  stream: x\n...\n";
        let record = Document::parse(text.to_owned()).unwrap().record;
        assert_eq!((record.kind.as_str(), record.name.as_str(), record.stream.as_str()), ("modulemd-obsoletes", "a", "x"));
    }
}
