//! Version comparison against the real tools, on pairs generated from a fixed seed: rpm's `rpm.vercmp` and dpkg's perl library on
//! 120,000 pairs each in one process each, the dpkg binary itself on a sample (one process a pair). Our sort keys are held against
//! our comparison on the same pairs. A machine without a tool skips its part outside CI and says so.

use std::cmp::Ordering;
use std::io::Write as _;
use std::process::{Command, Stdio};

use drydock_domain::version::{Scheme, compare, sort_key};

/// Pairs compared with rpm and with dpkg's library, count each.
const PAIRS: usize = 120_000;
/// Pairs compared with the dpkg binary, count: it answers one pair a process.
const BINARY_PAIRS: usize = 1_500;
/// Seed of the generator: a failure is found again.
const SEED: u64 = 0x0d0c_57a1;

/// xorshift64*: enough for test data, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const PIECES: &[&str] = &[
    "0",
    "1",
    "2",
    "9",
    "10",
    "00",
    "01",
    "010",
    "123456789012345678901234567890",
    "a",
    "b",
    "z",
    "A",
    "Z",
    "ab",
    "alpha",
    "rc",
    "git",
    "el8",
    "fc",
    "20260101",
    "p",
];

fn part(random: &mut Random, separators: &[&str], first: &[&str]) -> String {
    let mut out = random.of(first).to_owned();
    for _ in 0..random.below(5) {
        out.push_str(random.of(separators));
        out.push_str(random.of(PIECES));
    }
    out
}

fn version(random: &mut Random, scheme: Scheme) -> String {
    let (separators, first): (&[&str], &[&str]) = match scheme {
        Scheme::Rpm => (&[".", "", "~", "^", "_", "+", "..", "~~", "^~", "~^", ".~"], PIECES),
        Scheme::Deb => (&[".", "", "~", "+", "~~", "..", "+~", ".~"], &["0", "1", "2", "10", "007", "20260101"]),
    };
    let mut out = random.of(&["", "", "", "0:", "1:", "2:", "10:"]).to_owned();
    out.push_str(&part(random, separators, first));
    if scheme == Scheme::Deb && random.below(6) == 0 {
        out.push_str("-1.");
        out.push_str(random.of(PIECES));
    }
    if random.below(5) > 0 {
        out.push('-');
        out.push_str(&part(random, separators, PIECES));
    }
    if random.below(4) == 0 {
        out.push_str(random.of(if scheme == Scheme::Rpm { &["~", "^", ".", "_", "+"] } else { &["~", ".", "+"] }));
    }
    out
}

/// A version that differs in one byte, often not at all in meaning.
fn neighbour(random: &mut Random, of: &str) -> String {
    let mut bytes = of.as_bytes().to_vec();
    let at = of.find(':').map_or(0, |colon| colon + 1) + 1;
    if at < bytes.len() {
        let at = at + random.below(bytes.len() - at);
        match random.below(4) {
            0 => bytes.insert(at, b'0'),
            1 => bytes.insert(at, b'~'),
            2 if bytes[at] != b'-' => {
                bytes.remove(at);
            }
            _ => bytes.insert(at, b'.'),
        }
    }
    String::from_utf8(bytes).expect("ASCII")
}

/// Pairs that we can read: what we refuse is not compared by us at all.
fn pairs(scheme: Scheme, count: usize) -> Vec<(String, String)> {
    let mut random = Random(SEED);
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let a = version(&mut random, scheme);
        let b = if random.below(2) == 0 { neighbour(&mut random, &a) } else { version(&mut random, scheme) };
        if sort_key(scheme, &a).is_ok() && sort_key(scheme, &b).is_ok() {
            out.push((a, b));
        }
    }
    out
}

fn present(tool: &str) -> bool {
    let there =
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing; CI needs it");
        println!("skipped: {tool} is not installed");
    }
    there
}

/// What the tool prints for a file of `A⇥B` lines: -1, 0 or 1 a line.
fn asked(pairs: &[(String, String)], command: impl FnOnce(&str) -> Command) -> Vec<Ordering> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    for (a, b) in pairs {
        writeln!(file, "{a}\t{b}").expect("written");
    }
    let path = file.path().to_str().expect("UTF-8").to_owned();
    let out = command(&path).output().expect("the tool runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let answers: Vec<Ordering> =
        text.split_whitespace().map(|line| line.parse::<i32>().unwrap_or_else(|_| panic!("{line:?}")).cmp(&0)).collect();
    assert_eq!(answers.len(), pairs.len(), "one answer a pair");
    answers
}

fn agree(scheme: Scheme, pairs: &[(String, String)], answers: &[Ordering]) {
    let mut seen = [0_usize; 3];
    let differences: Vec<String> = pairs
        .iter()
        .zip(answers)
        .filter_map(|((a, b), want)| {
            let got = compare(scheme, a, b).expect("generated versions can be read");
            let keys = sort_key(scheme, a).expect("a key").cmp(&sort_key(scheme, b).expect("a key"));
            seen[(got as i8 + 1) as usize] += 1;
            (got != *want || keys != got).then(|| format!("{a} {b}: the tool {want:?}, we {got:?}, keys {keys:?}"))
        })
        .collect();
    assert!(differences.is_empty(), "{} differences, first {:#?}", differences.len(), &differences[..differences.len().min(20)]);
    assert!(seen.iter().all(|n| *n * 50 > pairs.len()), "the generator is one-sided: {seen:?}");
}

#[test]
fn rpm_itself_agrees() {
    if !present("rpm") {
        return;
    }
    let pairs = pairs(Scheme::Rpm, PAIRS);
    let answers = asked(&pairs, |path| {
        // Not print: what it collects for the macro's value overruns a buffer of rpm 4.18 at this size.
        let script = format!(
            r#"%{{lua: for line in io.lines("{path}") do local a, b = line:match("([^\t]*)\t([^\t]*)") io.stdout:write(rpm.vercmp(a, b), "\n") end}}"#
        );
        let mut command = Command::new("rpm");
        command.args(["--eval", &script]);
        command
    });
    agree(Scheme::Rpm, &pairs, &answers);
}

#[test]
fn dpkgs_library_agrees() {
    let loads = Command::new("perl").args(["-MDpkg::Version", "-e", "1"]).stderr(Stdio::null()).status();
    if !loads.is_ok_and(|s| s.success()) {
        assert!(std::env::var_os("CI").is_none(), "libdpkg-perl is missing; CI needs it");
        println!("skipped: libdpkg-perl is not installed");
        return;
    }
    let pairs = pairs(Scheme::Deb, PAIRS);
    let answers = asked(&pairs, |path| {
        let mut command = Command::new("perl");
        command.args(["-MDpkg::Version", "-ne", r"chomp; my ($a, $b) = split /\t/; print version_compare($a, $b), qq(\n)", path]);
        command
    });
    agree(Scheme::Deb, &pairs, &answers);
}

#[test]
fn dpkg_itself_agrees() {
    if !present("dpkg") {
        return;
    }
    let pairs = pairs(Scheme::Deb, BINARY_PAIRS);
    let holds = |a: &str, relation: &str, b: &str| {
        Command::new("dpkg").args(["--compare-versions", a, relation, b]).status().expect("dpkg runs").success()
    };
    let answers: Vec<Ordering> = pairs
        .iter()
        .map(|(a, b)| match (holds(a, "lt", b), holds(a, "eq", b)) {
            (true, _) => Ordering::Less,
            (false, true) => Ordering::Equal,
            (false, false) => Ordering::Greater,
        })
        .collect();
    agree(Scheme::Deb, &pairs, &answers);
}
