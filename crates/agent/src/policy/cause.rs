//! Who or what changed packages, where the package manager wrote it down: the command line of its newest transaction. Read only
//! when the package database has just changed. Absent: who changed a file or a unit (nobody writes that down).

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A history older than this is about something else.
const AGE_MAX: Duration = Duration::from_secs(120);
/// Looked at from the end of a history, bytes: a transaction names every package.
const TAIL_MAX_BYTES: u64 = 256 * 1024;
/// Of a command line, bytes.
const COMMAND_MAX_BYTES: usize = 512;

/// A history file, and how the newest command is read out of its end.
type History = (&'static str, fn(&str) -> Option<String>);

const HISTORIES: [History; 3] = [("var/log/apt/history.log", apt), ("var/log/dnf.log", dnf), ("var/log/zypp/history", zypper)];

/// The newest command that changed packages just now; empty = nobody knows.
pub fn of_packages(root: &Path, now: SystemTime) -> String {
    let newest = HISTORIES.iter().filter_map(|(path, read)| {
        let path = root.join(path);
        let written = std::fs::metadata(&path).and_then(|m| m.modified()).ok()?;
        let is_old = now.duration_since(written).is_ok_and(|age| age > AGE_MAX);
        (!is_old).then_some((written, path, read))
    });
    let Some((_, path, read)) = newest.max_by_key(|(written, ..)| *written) else { return String::new() };
    let command = tail(&path).ok().and_then(|text| read(&text)).unwrap_or_default();
    command[..command.floor_char_boundary(COMMAND_MAX_BYTES)].to_owned()
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_MAX_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| line.strip_prefix(start)).map(str::trim)
}

/// `Commandline: apt-get remove hello`, and `Requested-By: admin (1000)` behind it where sudo was used.
fn apt(text: &str) -> Option<String> {
    let last = &text[text.rfind("Start-Date:")?..];
    let command = after(last, "Commandline:")?;
    Some(match after(last, "Requested-By:") {
        Some(who) => format!("{command}, by {who}"),
        None => command.to_owned(),
    })
}

/// `2026-11-23T06:00:00+0000 DDEBUG Command: dnf remove httpd`
fn dnf(text: &str) -> Option<String> {
    text.lines().rev().find_map(|line| line.split_once(" Command: ")).map(|(_, command)| command.trim().to_owned())
}

/// `2026-11-23 06:00:00|command|root@host|'zypper' 'rm' 'hello'|`
fn zypper(text: &str) -> Option<String> {
    let line = text.lines().rev().find(|line| line.split('|').nth(1) == Some("command"))?;
    let mut fields = line.split('|').skip(2);
    let (who, command) = (fields.next()?, fields.next()?);
    Some(format!("{}, by {who}", command.replace('\'', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_command_is_named_and_an_old_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(of_packages(dir.path(), SystemTime::now()), "");
        let apt_text = "Start-Date: 2026-11-23  05:00:00\nCommandline: apt-get install hello\nRequested-By: eve (1001)\n\
                        End-Date: 2026-11-23  05:00:01\n\nStart-Date: 2026-11-23  06:00:00\n\
                        Commandline: apt-get remove hello\nRemove: hello:amd64 (2.10-3)\n";
        let table = [
            ("var/log/apt/history.log", apt_text.to_owned(), "apt-get remove hello"),
            (
                "var/log/apt/history.log",
                format!("{apt_text}Requested-By: admin (1000)\n"),
                "apt-get remove hello, by admin (1000)",
            ),
            (
                "var/log/dnf.log",
                "2026-11-23T06:00:00+0000 DDEBUG Command: dnf remove httpd \n2026-11-23T06:00:00+0000 DDEBUG x\n".to_owned(),
                "dnf remove httpd",
            ),
            (
                "var/log/zypp/history",
                "2026-11-23 06:00:00|command|root@h|'zypper' 'rm' 'hello'|\n2026-11-23 06:00:01|remove |hello|2|x86_64|\n"
                    .to_owned(),
                "zypper rm hello, by root@h",
            ),
        ];
        for (path, text, expected) in table {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(&path, text).expect("written");
            assert_eq!(of_packages(dir.path(), SystemTime::now()), expected);
            assert_eq!(of_packages(dir.path(), SystemTime::now() + AGE_MAX * 2), "", "{expected}");
        }
    }
}
