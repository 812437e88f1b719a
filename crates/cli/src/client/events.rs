//! Server-sent events (the `text/event-stream` format of the HTML standard), as far as `/api/v1` uses them: `event`
//! and `data` lines. Absent on purpose: `id` and `retry`; whoever reads starts again from a whole picture.

use reqwest::Response;

/// Longest event, bytes: one JSON document of a job with the longest lists.
const EVENT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` when it has none.
    pub name: String,
    /// Its data lines.
    pub data: String,
}

/// An event that is too long to be one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    name: String,
    data: Vec<String>,
    data_bytes: usize,
    after_cr: bool,
}

impl Parser {
    /// Takes the next bytes, wherever they were cut, and returns the events that are now complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.buffer);
                    events.extend(self.line(&String::from_utf8_lossy(&line)));
                }
                _ => self.buffer.push(byte),
            }
            if self.buffer.len() + self.data_bytes > EVENT_MAX_BYTES {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let name = std::mem::take(&mut self.name);
            self.data_bytes = 0;
            return (!data.is_empty())
                .then(|| Event { name: if name.is_empty() { "message".to_owned() } else { name }, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data_bytes += value.len() + 1;
                self.data.push(value.to_owned());
            }
            // A comment (empty field) is the server's sign of life.
            _ => {}
        }
        None
    }
}

/// The events of one connection.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
}

impl EventStream {
    /// Reads events from a response's body.
    pub fn new(response: Response) -> Self {
        EventStream { response, parser: Parser::default(), ready: std::collections::VecDeque::new() }
    }

    /// The next event; `None` when the connection ended, for whatever reason. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let chunk = self.response.chunk().await.ok()??;
            self.ready.extend(self.parser.feed(&chunk).ok()?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text = ": hello\n\nevent: job\ndata: {\"a\":\ndata:1}\n\nevent: empty\n\r\ndata: ü\r\n\r\nevent:task\rdata: x\r\r";
        let want = [event("job", "{\"a\":\n1}"), event("message", "ü"), event("task", "x")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let got: Vec<Event> = text.as_bytes().chunks(size).flat_map(|c| parser.feed(c).expect("short enough")).collect();
            assert_eq!(got, want, "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1024 * 1024];
        assert!((0..9).any(|_| parser.feed(&chunk) == Err(TooLong)));
        let mut parser = Parser::default();
        let line = [b"data:".as_slice(), &chunk, b"\n"].concat();
        assert!((0..9).any(|_| parser.feed(&line) == Err(TooLong)));
    }
}
