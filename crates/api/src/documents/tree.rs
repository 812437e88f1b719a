//! A parsed document whose every value knows its place. Bounded: size, depth, nodes and what aliases repeat.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Longest text, bytes (4 MiB): a thousand policies of some kilobytes.
pub const TEXT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting, levels: Google's format needs 12.
const DEPTH_MAX: usize = 64;
/// Values of one text, count, repeated ones included: stops documents that grow by aliases.
const NODES_MAX: usize = 500_000;

/// A place in a text, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value as written.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text; plain when it was written without quotes, so that it may be a number, a truth or nothing.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    /// Keys with their places, in order.
    Map(Vec<(String, Place, Node)>),
}

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub place: Place,
    pub message: String,
}

/// Reads every document of a text; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, Broken> {
    if text.len() > TEXT_MAX_BYTES {
        let message = format!("the text is {} bytes long; at most {TEXT_MAX_BYTES} are allowed", text.len());
        return Err(Broken { place: Place { line: 1, column: 1 }, message });
    }
    let mut reader = Reader { anchors: BTreeMap::new(), nodes: 0, parser: Parser::new_from_str(text) };
    let mut documents = Vec::new();
    while let Some((event, _)) = reader.next()? {
        match event {
            Event::DocumentStart(..) => {
                let (event, span) = reader.expect()?;
                let node = reader.node(event, span, 0)?;
                if !node.is_nothing() {
                    documents.push(node);
                }
                reader.anchors.clear();
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    Ok(documents)
}

struct Reader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

impl<'t> Reader<'t> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Broken> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => {
                    let at = error.marker();
                    return Err(Broken { place: Place { line: at.line().max(1), column: at.col() + 1 }, message: error.info() });
                }
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'t>, Span), Broken> {
        let end = Broken { place: Place { line: 1, column: 1 }, message: "the document ends too early".to_owned() };
        self.next()?.ok_or(end)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Broken> {
        let place = place(&span);
        let broken = |message: &str| Broken { place, message: message.to_owned() };
        if depth > DEPTH_MAX {
            return Err(broken(&format!("nests deeper than {DEPTH_MAX} levels")));
        }
        let before = self.nodes;
        self.count(1, place)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                (Node { place, value: Value::Scalar { text: text.into_owned(), is_plain } }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(place, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(place, depth)?, anchor),
            Event::Alias(id) => {
                let (node, size) = self.anchors.get(&id).cloned().ok_or_else(|| broken("repeats a value within itself"))?;
                self.count(size, place)?;
                // What is wrong with it is wrong where it is written.
                return Ok(node);
            }
            _ => return Err(broken("a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), Broken> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return Err(Broken { place, message: format!("the text has more than {NODES_MAX} values, repeated ones included") });
        }
        Ok(())
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        let mut items = Vec::new();
        loop {
            match self.expect()? {
                (Event::SequenceEnd, _) => return Ok(Node { place, value: Value::List(items) }),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        loop {
            let (event, span) = self.expect()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node { place, value: Value::Map(entries) });
            }
            let key = self.node(event, span, depth + 1)?;
            let Value::Scalar { text: name, .. } = key.value else {
                return Err(Broken { place: key.place, message: "a key must be text".to_owned() });
            };
            if let Some(first) = seen.insert(name.clone(), key.place) {
                let message = format!("{name} is given twice; first in line {}", first.line);
                return Err(Broken { place: key.place, message });
            }
            let (event, span) = self.expect()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((name, key.place, value));
        }
    }
}

impl Node {
    /// Nothing was written: an empty document, or `null`.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, is_plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key, in either spelling.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, ..)| camel(name) == key).map(|(.., node)| node)
    }

    /// Leaves out keys, in either spelling.
    pub fn leave_out(&mut self, keys: &[&str]) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(name, ..)| !keys.contains(&camel(name).as_str()));
        }
    }

    /// The place of a path such as `osPolicies[0].resourceGroups[1].resources`, or of the part of it that is there: what
    /// is missing is missing there. A key's own place where the path ends with one.
    pub fn place_of(&self, path: &str) -> Place {
        let mut here = self;
        let mut place = self.place;
        for step in steps(path) {
            let next = match (&here.value, &step) {
                (Value::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|(name, ..)| name == key || camel(name) == *key).map(|(_, at, node)| (*at, node))
                }
                (Value::List(items), Step::Index(i)) => items.get(*i).map(|node| (node.place, node)),
                _ => None,
            };
            let Some((at, node)) = next else { break };
            (place, here) = (at, node);
        }
        place
    }
}

/// One step of a path.
enum Step {
    Key(String),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step> + '_ {
    path.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
        let mut pieces = part.split('[');
        let key = pieces.next().filter(|key| !key.is_empty()).map(|key| Step::Key(key.to_owned()));
        let indexes = pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok().map(Step::Index));
        key.into_iter().chain(indexes).collect::<Vec<_>>()
    })
}

/// `resource_groups` as `resourceGroups`.
fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' if !out.is_empty() => up = true,
            c if up => {
                out.extend(c.to_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out
}
