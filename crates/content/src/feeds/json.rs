//! Cuts a JSON document of any size into the values one is interested in, one at a time: memory holds one value and a
//! read buffer. The grammar is checked as it goes, so that damage is noticed where it is and not a gigabyte later.
//!
//! Strings longer than [`STRING_MAX_BYTES`] are cut while they are read, values that are too large or too deep are passed
//! over without being kept. Absent: looking into the values (serde does), repeated keys (the reader decides).

use std::io::{self, BufRead};

/// Longest string that is kept of a value, bytes as written (escapes included); the rest of it is dropped. Descriptions
/// are cut to 16 KiB later, and one character may take six bytes.
pub(super) const STRING_MAX_BYTES: usize = 128 * 1024;
/// Deepest nesting of a value, levels. CSAF's product tree has about fifteen.
pub(super) const DEPTH_MAX: usize = 64;
/// Longest key of the outer levels, bytes as written.
const KEY_MAX_BYTES: usize = 4 * 1024;
/// White space between two tokens, bytes: nobody sends more on purpose.
const SPACE_MAX_BYTES: u64 = 1024 * 1024;

/// Why a document could not be cut.
#[derive(Debug)]
pub(super) enum JsonError {
    /// Reading or decompressing failed.
    Read(io::Error),
    /// Not JSON.
    Syntax(String),
    /// It ends in the middle.
    End,
}

type JsonResult<T> = Result<T, JsonError>;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is in [`Json::taken`].
    Taken,
    /// Larger than allowed; passed over.
    TooLarge,
    /// Nested deeper than [`DEPTH_MAX`]; passed over.
    TooDeep,
}

/// What may come next inside of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    CommaOrClose,
}

/// The cutter.
pub(super) struct Json<R> {
    input: R,
    offset: u64,
    taken: Vec<u8>,
    max: usize,
    keep: bool,
    cut: Cut,
    /// The byte in front of the next one was a line feed.
    at_line: bool,
    /// A line feed was passed over since the value began.
    line_inside: bool,
    /// Documents are one a line: a line feed inside of one is damage.
    one_a_line: bool,
}

impl<R: BufRead> Json<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            taken: Vec::new(),
            max: 0,
            keep: false,
            cut: Cut::Taken,
            at_line: true,
            line_inside: false,
            one_a_line: false,
        }
    }

    /// Uncompressed bytes read until now.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The value that was [`Cut::Taken`].
    pub(super) fn taken(&self) -> &[u8] {
        &self.taken
    }

    fn look(&mut self) -> JsonResult<Option<u8>> {
        Ok(self.input.fill_buf().map_err(JsonError::Read)?.first().copied())
    }

    fn step(&mut self) {
        self.input.consume(1);
        self.offset += 1;
        self.at_line = false;
    }

    fn byte(&mut self) -> JsonResult<u8> {
        let byte = self.look()?.ok_or(JsonError::End)?;
        self.step();
        Ok(byte)
    }

    /// The next byte that is no white space, not consumed; `None` at the end. A byte order mark in front is passed over.
    pub(super) fn peek(&mut self) -> JsonResult<Option<u8>> {
        let begin = self.offset;
        loop {
            let buffer = self.input.fill_buf().map_err(JsonError::Read)?;
            if self.offset == 0 && buffer.starts_with(b"\xef\xbb\xbf") {
                self.input.consume(3);
                self.offset += 3;
                continue;
            }
            let Some(first) = buffer.first() else { return Ok(None) };
            // 0x1e parts the documents of a JSON text sequence (RFC 7464).
            let space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x1e);
            if !space(first) {
                return Ok(Some(*first));
            }
            let count = buffer.iter().take_while(|b| space(b)).count();
            let spaces = buffer.get(..count).unwrap_or_default();
            self.at_line = spaces.last() == Some(&b'\n');
            self.line_inside |= spaces.contains(&b'\n');
            self.input.consume(count);
            self.offset += count as u64;
            if self.offset - begin > SPACE_MAX_BYTES {
                return Err(JsonError::Syntax(format!("more than {SPACE_MAX_BYTES} bytes of white space")));
            }
        }
    }

    /// Consumes `{` or `[`.
    pub(super) fn open(&mut self, bracket: u8) -> JsonResult<()> {
        match self.peek()? {
            Some(byte) if byte == bracket => {
                self.step();
                Ok(())
            }
            Some(byte) => Err(unexpected(byte, &format!("`{}`", char::from(bracket)))),
            None => Err(JsonError::End),
        }
    }

    /// Is there another member of what was opened? Consumes the comma or the closing bracket.
    pub(super) fn more(&mut self, close: u8, first: &mut bool) -> JsonResult<bool> {
        let byte = self.peek()?.ok_or(JsonError::End)?;
        let was_first = std::mem::replace(first, false);
        if byte == close {
            self.step();
            return Ok(false);
        }
        if was_first {
            return Ok(true);
        }
        if byte != b',' {
            return Err(unexpected(byte, "a comma"));
        }
        self.step();
        match self.peek()? {
            Some(byte) if byte == close => Err(unexpected(byte, "a member after the comma")),
            Some(_) => Ok(true),
            None => Err(JsonError::End),
        }
    }

    /// A key with its colon. Longer ones than a reader could want are cut.
    pub(super) fn key(&mut self) -> JsonResult<String> {
        match self.peek()? {
            Some(b'"') => {}
            Some(byte) => return Err(unexpected(byte, "a key")),
            None => return Err(JsonError::End),
        }
        self.begin(KEY_MAX_BYTES);
        self.step();
        self.push(b'"');
        self.string()?;
        match self.peek()? {
            Some(b':') => self.step(),
            Some(byte) => return Err(unexpected(byte, "a colon")),
            None => return Err(JsonError::End),
        }
        if self.cut != Cut::Taken {
            return Ok(format!("(a key of more than {KEY_MAX_BYTES} bytes)"));
        }
        serde_json::from_slice(&self.taken).map_err(|error| JsonError::Syntax(error.to_string()))
    }

    /// The next value, at most `max` bytes of it.
    pub(super) fn value(&mut self, max: usize) -> JsonResult<Cut> {
        self.begin(max);
        self.scan()?;
        Ok(self.cut)
    }

    /// Was the value that was just read in one line? What follows it decides nothing.
    pub(super) fn was_one_line(&self) -> bool {
        !self.line_inside
    }

    /// From here on a line feed inside of a value is damage.
    pub(super) fn expect_lines(&mut self) {
        self.one_a_line = true;
    }

    /// Passes over the next value.
    pub(super) fn skip(&mut self) -> JsonResult<()> {
        self.begin(0);
        self.keep = false;
        self.scan()
    }

    /// After a [`JsonError::Syntax`] in a sequence of documents: goes on at the next line that begins with `{`; `false` at
    /// the end of the input.
    pub(super) fn next_line(&mut self) -> JsonResult<bool> {
        if self.at_line && self.look()? == Some(b'{') {
            return Ok(true);
        }
        loop {
            let buffer = self.input.fill_buf().map_err(JsonError::Read)?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let found = memchr::memchr(b'\n', buffer);
            let count = found.map_or(buffer.len(), |at| at + 1);
            self.input.consume(count);
            self.offset += count as u64;
            if found.is_some() && self.look()? == Some(b'{') {
                return Ok(true);
            }
        }
    }

    fn begin(&mut self, max: usize) {
        // A value of many MiB is rare: its room is not kept for the next one.
        const KEPT_BYTES: usize = 1024 * 1024;
        self.taken.clear();
        self.taken.shrink_to(KEPT_BYTES);
        (self.max, self.keep, self.cut) = (max, true, Cut::Taken);
    }

    fn push(&mut self, byte: u8) {
        if !self.keep {
            return;
        }
        if self.taken.len() >= self.max {
            self.give_up(Cut::TooLarge);
            return;
        }
        self.taken.push(byte);
    }

    fn give_up(&mut self, why: Cut) {
        if self.cut == Cut::Taken {
            self.cut = why;
        }
        self.keep = false;
        self.taken = Vec::new();
    }

    fn scan(&mut self) -> JsonResult<()> {
        // Kinds of the open brackets, `true` = object; those beyond DEPTH_MAX are only counted.
        let mut open: Vec<bool> = Vec::with_capacity(8);
        let mut deeper: u64 = 0;
        let mut want = Want::Value;
        self.peek()?;
        self.line_inside = false;
        loop {
            let byte = self.peek()?.ok_or(JsonError::End)?;
            if self.one_a_line && self.line_inside {
                return Err(JsonError::Syntax("it ends in the middle of its line".to_owned()));
            }
            if deeper > 0 {
                self.step();
                match byte {
                    b'{' | b'[' => deeper += 1,
                    b'}' | b']' => deeper -= 1,
                    b'"' => self.string()?,
                    _ => {}
                }
                want = if deeper == 0 { Want::CommaOrClose } else { want };
                continue;
            }
            let value = matches!(want, Want::Value | Want::ValueOrClose);
            let key = matches!(want, Want::Key | Want::KeyOrClose);
            let may_close = matches!(want, Want::ValueOrClose | Want::KeyOrClose | Want::CommaOrClose);
            want = match byte {
                b'{' | b'[' if value => {
                    self.step();
                    self.push(byte);
                    if open.len() >= DEPTH_MAX {
                        self.give_up(Cut::TooDeep);
                        deeper = 1;
                        continue;
                    }
                    open.push(byte == b'{');
                    if byte == b'{' { Want::KeyOrClose } else { Want::ValueOrClose }
                }
                b'}' | b']' if may_close && open.last() == Some(&(byte == b'}')) => {
                    self.step();
                    self.push(byte);
                    open.pop();
                    Want::CommaOrClose
                }
                b'"' if value || key => {
                    self.step();
                    self.push(byte);
                    self.string()?;
                    if key { Want::Colon } else { Want::CommaOrClose }
                }
                b':' if want == Want::Colon => {
                    self.step();
                    self.push(byte);
                    Want::Value
                }
                b',' if want == Want::CommaOrClose && !open.is_empty() => {
                    self.step();
                    self.push(byte);
                    if open.last() == Some(&true) { Want::Key } else { Want::Value }
                }
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if value => {
                    self.scalar()?;
                    Want::CommaOrClose
                }
                other => return Err(unexpected(other, expected(want))),
            };
            if open.is_empty() && want == Want::CommaOrClose {
                return Ok(());
            }
        }
    }

    /// A number, `true`, `false` or `null`; serde looks closer.
    fn scalar(&mut self) -> JsonResult<()> {
        while let Some(byte) = self.look()? {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')) {
                break;
            }
            self.step();
            self.push(byte);
        }
        Ok(())
    }

    /// The rest of a string whose quote was read, run by run.
    fn string(&mut self) -> JsonResult<()> {
        let (mut length, mut cutting, mut escaped) = (0_usize, false, false);
        loop {
            let buffer = self.input.fill_buf().map_err(JsonError::Read)?;
            if buffer.is_empty() {
                return Err(JsonError::End);
            }
            // Other control characters are left to serde, which sees what is kept.
            let end = memchr::memchr3(b'"', b'\\', b'\n', buffer).unwrap_or(buffer.len());
            let run = buffer.get(..end).unwrap_or_default();
            if !cutting && self.keep && !run.is_empty() {
                let room = STRING_MAX_BYTES.saturating_sub(length);
                // Only in front of a whole character that follows no escape (which may be half a surrogate pair).
                let boundary = |(at, byte): &(usize, &u8)| (*at > 0 || !escaped) && *byte & 0xC0 != 0x80;
                let cut = run.iter().enumerate().skip(room).find(boundary).map(|(at, _)| at);
                let kept = run.get(..cut.unwrap_or(end)).unwrap_or_default();
                cutting = cut.is_some();
                if self.taken.len() + kept.len() > self.max {
                    (self.cut, self.keep, self.taken) = (Cut::TooLarge, false, Vec::new());
                } else {
                    self.taken.extend_from_slice(kept);
                }
            }
            length = length.saturating_add(end);
            escaped &= end == 0;
            let next = buffer.get(end).copied();
            self.input.consume(end);
            self.offset += end as u64;
            self.at_line &= end == 0;
            match next {
                None => {}
                Some(b'"') => {
                    self.step();
                    self.push(b'"');
                    return Ok(());
                }
                Some(b'\\') => {
                    self.step();
                    let kind = self.byte()?;
                    if !b"\"\\/bfnrtu".contains(&kind) {
                        return Err(unexpected(kind, "an escape"));
                    }
                    if !cutting {
                        self.push(b'\\');
                        self.push(kind);
                    }
                    (length, escaped) = (length.saturating_add(2), true);
                }
                // Not consumed: it may be the end of a damaged line.
                Some(byte) => return Err(unexpected(byte, "no line feed in a string")),
            }
        }
    }
}

fn expected(want: Want) -> &'static str {
    match want {
        Want::Value | Want::ValueOrClose => "a value",
        Want::Key | Want::KeyOrClose => "a key",
        Want::Colon => "a colon",
        Want::CommaOrClose => "a comma or the matching bracket",
    }
}

fn unexpected(byte: u8, wanted: &str) -> JsonError {
    let shown =
        if byte.is_ascii_graphic() || byte == b' ' { format!("`{}`", char::from(byte)) } else { format!("byte {byte:#04x}") };
    JsonError::Syntax(format!("{shown} where {wanted} should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &[u8], max: usize) -> JsonResult<(Cut, Vec<u8>)> {
        let mut json = Json::new(text);
        let cut = json.value(max)?;
        let taken = json.taken().to_vec();
        match json.peek()? {
            None => Ok((cut, taken)),
            Some(byte) => Err(unexpected(byte, "the end")),
        }
    }

    /// What serde takes is taken and what it refuses is refused, for documents and every cut of them.
    #[test]
    fn the_grammar_is_that_of_serde() {
        let whole = br#" {"a":[1,-2.5e3,true,null,"x\"\\\u00e9\ud83d\ude00",{}],"b":{"c":[[]]}, "d" : "" } "#;
        let accepts = |text: &[u8]| cut(text, 1000).is_ok();
        assert!(accepts(whole));
        for at in 0..whole.len() {
            let text = whole.get(..at).unwrap_or_default();
            let serde = serde_json::from_slice::<serde_json::Value>(text).is_ok();
            assert_eq!(accepts(text), serde, "{at}");
        }
        for bad in ["{,}", "[1,]", "[1 2]", "{\"a\" 1}", "{\"a\":}", "{1:2}", "[}", "{]", "\"\n\"", "\"\\x\"", "x", "]", ""] {
            assert!(!accepts(bad.as_bytes()), "{bad}");
        }
        let (_, taken) = cut(whole, 1000).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&taken).unwrap();
        assert_eq!(value, serde_json::from_slice::<serde_json::Value>(whole).unwrap());
    }

    #[test]
    fn large_and_deep_values_are_passed_over() {
        assert_eq!(cut(b"[1,2,3]", 6).unwrap(), (Cut::TooLarge, Vec::new()));
        assert_eq!(cut(b"[1,2,3]", 7).unwrap().0, Cut::Taken);
        let deep = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert_eq!(cut(&deep(DEPTH_MAX), 1 << 20).unwrap().0, Cut::Taken);
        assert_eq!(cut(&deep(DEPTH_MAX + 1), 1 << 20).unwrap(), (Cut::TooDeep, Vec::new()));
        assert_eq!(cut(&deep(1_000_000), 1 << 30).unwrap(), (Cut::TooDeep, Vec::new()));
    }

    #[test]
    fn long_strings_are_cut_at_characters() {
        for filler in ["x", "é", "\u{1F600}", "\\u00e9"] {
            let text = format!("{{\"long\":\"{}\",\"after\":1}}", filler.repeat(STRING_MAX_BYTES));
            let (_, taken) = cut(text.as_bytes(), 1 << 20).unwrap();
            if filler.starts_with('\\') {
                // All escapes: there is nowhere to cut, so the limit of the value holds.
                continue;
            }
            let value: serde_json::Value = serde_json::from_slice(&taken).unwrap();
            let kept = value["long"].as_str().unwrap();
            assert!(kept.len() <= STRING_MAX_BYTES + 4 && kept.chars().all(|c| filler.contains(c)), "{filler}");
            assert_eq!(value["after"], 1);
        }
    }

    #[test]
    fn damage_in_a_line_ends_with_the_line() {
        let mut json = Json::new(b"{\"a\":1}\n{\"b\":\"x\n{\"c\":3}\n{\"d\":\n{\"e\":5}\n{\"f\":" as &[u8]);
        let mut seen = Vec::new();
        json.expect_lines();
        while json.peek().unwrap().is_some() {
            match json.value(100) {
                Ok(_) => seen.push(String::from_utf8_lossy(json.taken()).into_owned()),
                Err(JsonError::Syntax(_)) if json.next_line().unwrap() => {}
                Err(_) => break,
            }
        }
        assert_eq!(seen, ["{\"a\":1}", "{\"c\":3}", "{\"e\":5}"]);
    }
}
