//! Running an external command to its end, with a time limit and captured output.
//!
//! Absent: streaming and shells. Callers build the [`Command`] themselves.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Characters of each output stream kept in an error message; the end says why a command failed.
const OUTPUT_IN_ERROR_CHARS: usize = 4_000;
/// Pause between two looks at a running command.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit status as the kernel gave it.
    pub status: ExitStatus,
    /// Standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Standard error, invalid UTF-8 replaced.
    pub stderr: String,
    described: String,
}

impl Finished {
    /// Whether the command exited with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status.success()
    }

    /// The exit code; `None` when a signal ended the command.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output of a command that succeeded.
    ///
    /// # Errors
    /// When it did not; the message carries the command and the end of what it printed.
    pub fn success(self) -> Result<String> {
        if self.ok() {
            return Ok(self.stdout);
        }
        let mut message = format!("{} ended with {}", self.described, self.status);
        for (name, text) in [("output", &self.stdout), ("errors", &self.stderr)] {
            let text = text.trim();
            if !text.is_empty() {
                let _ = write!(message, "\n{name}: {}", tail(text));
            }
        }
        bail!(message)
    }
}

fn tail(text: &str) -> &str {
    let skipped = text.chars().count().saturating_sub(OUTPUT_IN_ERROR_CHARS);
    text.char_indices().nth(skipped).map_or(text, |(at, _)| &text[at..])
}

/// Runs `command` without input until it ends. See [`run_with_input`].
///
/// # Errors
/// When it cannot be started or does not end within `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    run_with_input(command, &[], limit)
}

/// Runs `command` in its own process group, feeds it `input` and captures both output streams.
///
/// # Errors
/// When it cannot be started, or does not end within `limit`; the whole group is killed then.
pub fn run_with_input(command: &mut Command, input: &[u8], limit: Duration) -> Result<Finished> {
    let described = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {described}"))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input closes the pipe: not an error of ours.
            if let Some(mut pipe) = stdin {
                let _ = pipe.write_all(input);
            }
        });
        let stdout = scope.spawn(move || read_all(stdout));
        let stderr = scope.spawn(move || read_all(stderr));
        let status = wait_for(&mut child, limit)?;
        if status.is_none() {
            let _ = killpg(group, Signal::SIGKILL);
            child.wait().with_context(|| format!("cannot collect {described}"))?;
        }
        let stdout = stdout.join().unwrap_or_default();
        let stderr = stderr.join().unwrap_or_default();
        let Some(status) = status else {
            bail!("{described} did not end within {} s\n{}\n{}", limit.as_secs(), tail(&stdout), tail(&stderr));
        };
        Ok(Finished { status, stdout, stderr, described })
    })
}

fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(EXIT_POLL_INTERVAL);
    }
    Ok(None)
}

fn read_all(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn describe(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A failing command's message names the command and what it printed.
    #[test]
    fn failure_says_what_was_printed() {
        let finished = run(Command::new("sh").args(["-c", "echo seen; echo why >&2; exit 3"]), LIMIT).unwrap();
        assert_eq!(finished.code(), Some(3));
        let message = finished.success().unwrap_err().to_string();
        assert!(message.contains("seen") && message.contains("why"), "{message}");
    }

    /// A command past its limit is killed with its children, so the pipes close and we return.
    #[test]
    fn limit_kills_the_whole_group() {
        let begun = Instant::now();
        let error = run(Command::new("sh").args(["-c", "sleep 60 & sleep 60"]), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        assert!(begun.elapsed() < LIMIT);
    }

    /// Input larger than a pipe's buffer arrives whole.
    #[test]
    fn input_arrives() {
        let input = vec![b'x'; 300_000];
        let counted = run_with_input(Command::new("wc").arg("-c"), &input, LIMIT).unwrap().success().unwrap();
        assert_eq!(counted.trim(), "300000");
    }
}
