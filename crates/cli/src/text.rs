//! Small pure pieces of text: safe text from hosts, relative times, durations, `key=value`, tables.

use comfy_table::{Cell, Color, ContentArrangement, Table};
use drydock_domain::instance::Labels;
use jiff::Timestamp;

/// Text from a host or the server without control characters: a script's output must not steer the operator's terminal.
pub fn clean(text: &str) -> String {
    // Marks that turn the direction of writing make a name look like another one.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{b7}' } else { c }).collect()
}

/// As [`clean`], but keeps the lines and tabs of a command's output and drops the carriage returns before them.
pub fn clean_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| clean(&line.trim_end_matches('\r').replace('\t', "    "))).collect()
}

/// `5m`, `3h`, `2d`: the largest unit only.
pub fn span(seconds: i64) -> String {
    match seconds.abs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// `1h 02m`, `3m 12s`, `45s`: how long something took.
pub fn took(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
    }
}

/// `5m ago`, `in 3h`, `just now`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.as_second() - at.as_second() {
        -1..=1 => "just now".to_owned(),
        s if s > 0 => format!("{} ago", span(s)),
        s => format!("in {}", span(s)),
    }
}

/// [`ago`] of a time that may be absent.
pub fn ago_or(at: Option<Timestamp>, now: Timestamp, absent: &str) -> String {
    at.map_or_else(|| absent.to_owned(), |t| ago(t, now))
}

/// Reads `90s`, `45m`, `2h`, `7d` and sums such as `1h30m` into seconds.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    drydock_domain::rollout::written::duration(text)
}

/// Reads `key=value`; the value may hold more `=` or be empty.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not key=value")),
    }
}

/// `env=prod,role=web`; `-` when there are none.
pub fn labels(labels: &Labels) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    labels.iter().map(|(k, v)| clean(&format!("{k}={v}"))).collect::<Vec<_>>().join(",")
}

/// A hyphen for nothing, so that columns stay countable.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { clean(text) }
}

/// `1 host`, `2 hosts`.
pub fn plural(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// Cuts to `width` columns, with `…` where something is missing. Counts characters: host names and messages are ASCII
/// almost always, and a wrapped line only costs one redraw.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// What a state means to a person's eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Well.
    Good,
    /// Needs a look.
    Bad,
    /// Waits or is unusual.
    Held,
    /// Neither.
    Plain,
}

/// The tone of any state name the API knows.
pub fn tone(state: &str) -> Tone {
    match state {
        "SUCCEEDED" | "ACTIVE" | "ONLINE" | "APPLIED" | "HEALTHY" | "COMPLIANT" | "REPAIRED" => Tone::Good,
        "FAILED"
        | "TIMED_OUT"
        | "COMPLETED_WITH_ERRORS"
        | "REJECTED"
        | "REFUSED"
        | "REVOKED"
        | "NOT_APPLIED"
        | "DIFFERENT"
        | "UNHEALTHY"
        | "NON_COMPLIANT"
        | "HALTED"
        | "FLAPPING"
        | "denied"
        | "failed" => Tone::Bad,
        "PENDING"
        | "NO_AGENT_DETECTED"
        | "INACTIVE"
        | "CANCELED"
        | "SUCCEEDED_REBOOT_REQUIRED"
        | "OFFLINE"
        | "NEVER_SEEN"
        | "UNPLANNED"
        | "COMPLETED_WITH_INACTIVE_VMS"
        | "INTERRUPTED"
        | "KILLED"
        | "UNKNOWN"
        | "REPORTED"
        | "CANCELLED" => Tone::Held,
        _ => Tone::Plain,
    }
}

/// Wraps text in the terminal's colour for a tone.
pub fn paint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Held => "33",
        Tone::Plain => return text.to_owned(),
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// An empty table in the house look: aligned columns, no lines.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header(header.iter().map(|h| Cell::new(*h)));
    table
}

/// A cell for a state, coloured by its tone.
pub fn state_cell(state: &str) -> Cell {
    let cell = Cell::new(state);
    match tone(state) {
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Held => cell.fg(Color::DarkYellow),
        Tone::Plain => cell,
    }
}

/// The table as text, each line indented, without trailing spaces.
pub fn render(mut table: Table, indent: usize, colour: bool) -> String {
    if colour {
        table.enforce_styling();
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    let lines = table.lines().map(|line| format!("{}{}\n", " ".repeat(indent), line.trim_end()));
    lines.collect()
}

/// A time as people write it: absolute, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// That time.
    At(Timestamp),
    /// So many seconds before now.
    Ago(i64),
}

impl Moment {
    /// The time itself.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Moment::At(at) => at,
            Moment::Ago(secs) => now.saturating_sub(jiff::SignedDuration::from_secs(secs)).unwrap_or(now),
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [('m', 60), ('h', 3600), ('d', 86_400), ('w', 7 * 86_400)];
        let unit = units.into_iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?.parse::<u32>().ok()?, secs)));
        if let Some((n, secs)) = unit {
            return Ok(Moment::Ago(i64::from(n) * secs));
        }
        let midnight = || format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
        let at = text.parse::<Timestamp>().ok().or_else(midnight);
        at.map(Moment::At).ok_or_else(|| format!("{text:?} is no time; write 2026-11-19T22:00:00Z, 2026-11-19, 36h or 7d"))
    }
}

/// Objects as CSV (RFC 4180): the fields of all of them by name, nested values as JSON.
pub fn csv(rows: &[serde_json::Value]) -> String {
    let fields = rows.iter().filter_map(|r| r.as_object()).flat_map(|o| o.keys());
    let fields: std::collections::BTreeSet<&String> = fields.collect();
    let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let cell = |value: Option<&serde_json::Value>| match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => quoted(text),
        Some(other) => quoted(&other.to_string()),
    };
    let mut lines = vec![fields.iter().map(|f| quoted(f)).collect::<Vec<_>>().join(",")];
    lines.extend(rows.iter().map(|row| fields.iter().map(|f| cell(row.get(f.as_str()))).collect::<Vec<_>>().join(",")));
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("2h"), Ok(7200));
        assert_eq!(parse_duration("1h30m"), Ok(5400));
        assert_eq!(parse_duration("7d"), Ok(604_800));
        for bad in ["", "90", "h", "2 h", "-2h", "2w", "99999999999999999999s", "9999999999999999999d", "2µ"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn relative_times_use_one_unit() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let at = |s: i64| ago(Timestamp::from_second(1_000_000 - s).expect("in range"), now);
        assert_eq!(
            [at(0), at(59), at(60), at(7199), at(172_800), at(-3600)],
            ["just now", "59s ago", "1m ago", "1h ago", "2d ago", "in 1h"]
        );
        assert_eq!([took(5), took(65), took(3720), took(-3)], ["5s", "1m 05s", "1h 02m", "0s"]);
    }

    #[test]
    fn a_hosts_escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{9b}d"), "a·[31mb·c·d");
        assert_eq!(clean("web\u{202e}1-bd"), "web·1-bd", "nor is a name written backwards");
        assert_eq!(clean_lines("one\r\ntwo\tx\u{7}"), ["one", "two    x·"]);
    }

    #[test]
    fn cutting_marks_the_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abc defg", 5), "abc…");
    }
}
