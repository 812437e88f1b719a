//! `dpkg-query -W`: everything the dpkg database knows, with its state.
//!
//! Fields are separated by the byte 0x1f, which no field can hold. Printed by dpkg 1.21 (␟ stands for 0x1f):
//!
//! ```text
//! ii ␟adduser␟all␟3.134␟adduser␟3.134
//! hi ␟openssl␟amd64␟3.0.15-1~deb12u1␟openssl␟3.0.15-1~deb12u1
//! iF ␟dd-fails␟amd64␟2.0-1␟dd-fails␟2.0-1
//! rc ␟removed-but-config␟amd64␟1.0␟removed-but-config␟1.0
//! ```

use drydock_domain::inventory::Package;

use crate::exec::QUERY_TIME_LIMIT;
use crate::run::CommandSpec;

const LABEL: &str = "dpkg-query";
const SEPARATOR: char = '\u{1f}';

/// One package of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name, architecture, version, source.
    pub package: Package,
    /// Wanted state is hold.
    pub held: bool,
    /// Only configuration files are left (`rc`).
    pub left: bool,
    /// How far it is installed.
    pub state: State,
}

/// dpkg's package states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Properly installed; waiting for or owing a trigger counts, the package itself is in place.
    Installed,
    /// Something between; the word is dpkg's.
    Between(&'static str),
    /// Only a name or configuration files are left.
    Absent,
}

/// The command.
pub(crate) fn spec() -> CommandSpec {
    let fields = ["db:Status-Abbrev", "Package", "Architecture", "Version", "source:Package", "source:Version"]
        .map(|f| format!("${{{f}}}"));
    let format = format!("{}\\n", fields.join(&SEPARATOR.to_string()));
    CommandSpec::new("dpkg-query", LABEL, QUERY_TIME_LIMIT).args(["-W", "-f", &format])
}

/// Reads what it printed.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    text.lines().filter(|l| !l.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<Entry, String> {
    let fields: Vec<&str> = line.split(SEPARATOR).collect();
    let [status, name, arch, version, source, source_version] = fields[..] else {
        return Err(format!("{} fields instead of 6 in {line:?}", fields.len()));
    };
    let mut letters = status.chars();
    let (wanted, state, problem) = (letters.next(), letters.next(), letters.next());
    let left = state == Some('c');
    let state = match (state, problem) {
        (Some('n' | 'c'), _) => State::Absent,
        (_, Some('R' | 'r')) => State::Between("reinstallation required"),
        (Some('i' | 't' | 'W'), _) => State::Installed,
        (Some('H'), _) => State::Between("half-installed"),
        (Some('U'), _) => State::Between("unpacked, not configured"),
        (Some('F'), _) => State::Between("half-configured"),
        _ => return Err(format!("unknown status {status:?} of {name}")),
    };
    let source = if source.is_empty() { String::new() } else { format!("{source} {source_version}") };
    let package =
        Package { name: name.to_owned(), arch: arch.to_owned(), version: version.to_owned(), source, ..Package::default() };
    Ok(Entry { package, held: wanted == Some('h'), left, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_holds_and_sources_are_told_apart() {
        let text = "ii |adduser|all|3.134|adduser|3.134\nhi |a|amd64|1:1-1|src|1-1\niF |b|amd64|2|b|2\n\
                    rc |c|amd64|1|c|1\nun |d||||\nit |e|amd64|1|e|1\niHR|f|amd64|1|f|1\n";
        let got: Vec<_> = parse(&text.replace('|', "\u{1f}"))
            .expect("parses")
            .into_iter()
            .map(|e| (e.package.name, e.package.source, e.held, e.state))
            .collect();
        let row = |n: &str, s: &str, h, st| (n.to_owned(), s.to_owned(), h, st);
        assert_eq!(
            got,
            [
                row("adduser", "adduser 3.134", false, State::Installed),
                row("a", "src 1-1", true, State::Installed),
                row("b", "b 2", false, State::Between("half-configured")),
                row("c", "c 1", false, State::Absent),
                row("d", "", false, State::Absent),
                row("e", "e 1", false, State::Installed),
                row("f", "f 1", false, State::Between("reinstallation required")),
            ]
        );
    }

    #[test]
    fn a_short_line_is_an_error_not_a_guess() {
        assert!(parse("ii \u{1f}adduser\n").expect_err("refused").contains("2 fields"));
    }
}
