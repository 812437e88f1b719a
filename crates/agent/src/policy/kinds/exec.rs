//! A script that checks (exit 100: as it should be, 101: not) and one that repairs (exit 100: done).
//!
//! Each runs in a directory of its own that is empty before, with a clean environment, in a process group that is ended with its
//! limit. What it prints is evidence, bounded; what `enforce` leaves in its outputFilePath is reported, at most 500 KB.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use drydock_domain::policy::spec::{Exec, ExecResource, Interpreter};
use drydock_pkgmgr::run::{CommandSpec, End, Finished};

use super::evidence::{self, has_secret};
use super::foreign::Foreign;
use super::place::{Place, What};
use super::source::Source;
use crate::platform;
use crate::policy::kind::{Cx, Done, Failure, Found, Kind, Watch};
use crate::policy::systemd::unit_name;

/// Exit code: as it should be, or done.
const IN_STATE: i32 = 100;
/// Exit code: not as it should be.
const NOT_IN_STATE: i32 = 101;
/// Of an output file, bytes: what Google's agent keeps.
const OUTPUT_MAX_BYTES: u64 = 500 * 1024;
/// What follows a cut output, in the words of Google's agent.
const OUTPUT_CUT: &str = "\ncontents of OutputFilePath greater than 500K";
/// Words of a script in a failure's message, bytes; the evidence has more.
const WORDS_MAX_BYTES: usize = 400;

/// The resource.
pub struct ExecKind {
    spec: ExecResource,
    validate: Script,
    enforce: Option<Script>,
}

/// One of both scripts.
struct Script {
    spec: Exec,
    source: Option<Source>,
    name: &'static str,
}

/// From the document; scripts for Windows are not for this host.
pub fn build(spec: &ExecResource, gcs_base_url: &str) -> Box<dyn Kind> {
    let script =
        |name, exec: &Exec| Script { source: exec.file.as_ref().map(|f| Source::new(f, gcs_base_url)), spec: exec.clone(), name };
    let all = std::iter::once(&spec.validate).chain(&spec.enforce);
    if all.into_iter().any(|e| e.interpreter == Interpreter::Powershell) {
        return Box::new(Foreign::new("POWERSHELL is for Windows hosts"));
    }
    Box::new(ExecKind {
        validate: script("validate", &spec.validate),
        enforce: spec.enforce.as_ref().map(|e| script("enforce", e)),
        spec: spec.clone(),
    })
}

impl Script {
    /// Is what it needs there? Downloads what it names.
    fn prepare(&self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.source.as_ref().map_or(Ok(()), |source| source.fetch(cx).map(drop))
    }

    fn run(&self, cx: &Cx<'_>) -> Result<Finished, Failure> {
        let failed = |what: &str, e: std::io::Error| Failure::of(format!("{} cannot be run: {what}: {e}", self.name));
        let dir = cx.scratch.join(self.name);
        let _ = fs::remove_dir_all(&dir);
        let work = dir.join("work");
        platform::private_dir(&work).map_err(|e| failed("its directory cannot be made", e))?;
        let file = match (&self.spec.script, &self.source) {
            (Some(script), _) => {
                let text = cx.secrets.reveal(script)?;
                let path = dir.join("script");
                platform::write_durably(&path, text.as_bytes(), 0o700).map_err(|e| failed("it cannot be written", e))?;
                path
            }
            (None, Some(source)) => {
                let found = source.fetch(cx)?;
                // A file of the host is run where it is: it may look for its neighbours.
                if self.spec.file.as_ref().is_some_and(|f| f.local_path.is_some()) {
                    found
                } else {
                    executable(&found, &dir).map_err(|e| failed("it cannot be copied", e))?
                }
            }
            (None, None) => return Err(Failure::of(format!("{} says neither file nor script", self.name))),
        };
        let (program, mut args) = match self.spec.interpreter {
            Interpreter::Shell => ("/bin/sh".to_owned(), vec![text(&file)]),
            _ => by_itself(&file).map_err(|e| failed("its first line cannot be read", e))?,
        };
        for arg in &self.spec.args {
            args.push(cx.secrets.reveal(arg)?);
        }
        let mut command = CommandSpec::new(program, self.name, cx.limit).args(args);
        command.work_dir = Some(work);
        let finished = cx.runner.run(&command);
        // Secrets do not stay on the disk.
        let _ = fs::remove_dir_all(&dir);
        finished.map_err(|e| Failure::of(format!("{} cannot be run: {e}", self.name)))
    }

    /// A script that ended otherwise than it may.
    fn failure(&self, cx: &Cx<'_>, finished: &Finished) -> Failure {
        let words = evidence::bounded(&cx.secrets.redact(&format!(
            "stdout: {}, stderr: {}",
            last(&finished.stdout.text()),
            last(&finished.stderr.text())
        )));
        let message = match finished.end {
            End::Exited(code) => format!("unexpected return code from {}: {code}, {words}", self.name),
            End::TimedOut => {
                format!("{} did not end within {} s and was killed with everything it started", self.name, cx.limit.as_secs())
            }
            End::Signaled(signal) => format!("{} was ended by signal {signal}, {words}", self.name),
            End::Killed => format!("{} was ended on request", self.name),
        };
        Failure { message, evidence: Some(evidence::output(cx, finished)), timed_out: finished.end == End::TimedOut }
    }

    fn is_secret(&self) -> bool {
        self.spec.script.as_deref().is_some_and(has_secret) || self.spec.args.iter().any(|a| has_secret(a))
    }
}

/// The last words of an output.
fn last(text: &str) -> String {
    let text = text.trim();
    let mut from = text.len().saturating_sub(WORDS_MAX_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

/// A copy that only root can enter and that may be executed.
fn executable(file: &Path, dir: &Path) -> std::io::Result<PathBuf> {
    let path = dir.join("script");
    fs::copy(file, &path)?;
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(path)
}

/// A script is given to its interpreter, so that a state directory mounted noexec does no harm; a program runs itself.
fn by_itself(file: &Path) -> std::io::Result<(String, Vec<String>)> {
    let mut head = Vec::new();
    fs::File::open(file)?.take(256).read_to_end(&mut head)?;
    let line = head.strip_prefix(b"#!").and_then(|h| h.split(|b| *b == b'\n').next()).map(String::from_utf8_lossy);
    let Some(line) = line else { return Ok((text(file), Vec::new())) };
    let (program, rest) = line.trim().split_once([' ', '\t']).map_or((line.trim(), ""), |(p, r)| (p, r.trim()));
    if program.is_empty() {
        return Ok((text(file), Vec::new()));
    }
    let rest = (!rest.is_empty()).then(|| rest.to_owned());
    Ok((program.to_owned(), rest.into_iter().chain([text(file)]).collect()))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What `enforce` left for the report.
fn left(cx: &Cx<'_>, path: &str) -> Result<String, Failure> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let Some(place) = Place::follow(cx.root, path)? else { return Ok(String::new()) };
    if place.look()?.is_none_or(|l| l.what != What::File) {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let read = place.open()?.take(OUTPUT_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::of(format!("outputFilePath {path} cannot be read: {e}")))?;
    let cut = bytes.len() as u64 > OUTPUT_MAX_BYTES;
    let room = usize::try_from(OUTPUT_MAX_BYTES).unwrap_or(usize::MAX) - if cut { OUTPUT_CUT.len() } else { 0 };
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c })
        .collect();
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if cut || end < text.len() { OUTPUT_CUT } else { "" };
    Ok(cx.secrets.redact(&format!("{}{cut}", &text[..end])))
}

impl Kind for ExecKind {
    fn validate(&mut self, cx: &Cx<'_>) -> Result<(), Failure> {
        self.validate.prepare(cx)?;
        self.enforce.as_ref().map_or(Ok(()), |e| e.prepare(cx))
    }

    fn check(&mut self, cx: &Cx<'_>) -> Result<Found, Failure> {
        let finished = self.validate.run(cx)?;
        match finished.end {
            End::Exited(IN_STATE) => Ok(Found::Compliant),
            End::Exited(NOT_IN_STATE) => Ok(Found::NonCompliant {
                what: "validate says it is not as it should be".to_owned(),
                evidence: Some(evidence::output(cx, &finished)),
            }),
            _ => Err(self.validate.failure(cx, &finished)),
        }
    }

    fn enforce(&mut self, cx: &Cx<'_>) -> Result<Done, Failure> {
        let Some(enforce) = &self.enforce else {
            return Err(Failure::of("it has no enforce, so nothing can be done; write one, or use mode VALIDATION"));
        };
        let finished = enforce.run(cx)?;
        if finished.end != End::Exited(IN_STATE) {
            return Err(enforce.failure(cx, &finished));
        }
        let evidence = (!enforce.is_secret() || !finished.stdout.is_empty()).then(|| evidence::output(cx, &finished));
        Ok(Done { what: "enforce ran".to_owned(), evidence, output: left(cx, &enforce.spec.output_file_path)? })
    }

    fn remove(&mut self, _cx: &Cx<'_>) -> Result<Done, Failure> {
        Ok(Done { what: "left as it is: only the script's author knows what it brought".to_owned(), ..Done::default() })
    }

    fn watches(&self) -> Vec<Watch> {
        let scripts = std::iter::once(&self.spec.validate).chain(&self.spec.enforce);
        let local = scripts.filter_map(|e| e.file.as_ref()?.local_path.clone());
        let mut watches: Vec<Watch> = local.map(|p| Watch::Path(PathBuf::from(p))).collect();
        if let Some(own) = &self.spec.watch {
            watches.extend(own.paths.iter().map(|p| Watch::Path(PathBuf::from(p))));
            watches.extend(own.units.iter().map(|u| Watch::Unit(unit_name(u))));
            watches.extend(own.packages.then_some(Watch::Packages));
        }
        watches
    }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
