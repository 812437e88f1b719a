//! Bounds that several rooms share. A limit has a name and a unit; the arithmetic stands beside it.

/// Inline pre- or post-step script, bytes. Google's inline resources stop at 32 KiB; 64 KiB holds any script that
/// should not be a file.
pub const SCRIPT_MAX_BYTES: usize = 64 * 1024;
/// Arguments of a step, count.
pub const STEP_ARGS_MAX: usize = 64;
/// One argument or environment value of a step, bytes.
pub const STEP_ARG_MAX_BYTES: usize = 4096;
/// Environment variables of a step, count.
pub const STEP_ENV_MAX: usize = 64;
/// Longest time limit of a step, seconds (6 hours).
pub const STEP_TIME_LIMIT_MAX_SECS: u32 = 6 * 3600;
/// Time limit of a step that names none, seconds (10 minutes).
pub const STEP_TIME_LIMIT_DEFAULT_SECS: u32 = 600;
/// Output kept of one command: first and last part each, bytes. 2 × 32 KiB × at most 16 steps = 1 MiB a task.
pub const OUTPUT_PART_MAX_BYTES: usize = 32 * 1024;
/// Exclude and exclusive lists of one manager, entries.
pub const PATTERNS_MAX: usize = 500;
/// Packages that the server names in one order, count: with their versions some 60 bytes each, so 300 KB of the 2 MiB that
/// Linux gives a command line, and 1.3 MB at worst.
pub const ORDER_PACKAGES_MAX: usize = 5000;
/// One exclude pattern, bytes.
pub const PATTERN_MAX_BYTES: usize = 256;
/// Compiled size of one `/regex/`, bytes: bounds the memory a hostile pattern may take.
pub const REGEX_SIZE_MAX_BYTES: usize = 256 * 1024;
/// Entries in one list of an instance filter (zones, names, prefixes, label groups).
pub const FILTER_ENTRIES_MAX: usize = 1000;
/// Labels on one instance or profile, count (Google: 64).
pub const LABELS_MAX: usize = 64;
/// Label key or value, bytes (Google: 63 characters).
pub const LABEL_MAX_BYTES: usize = 63;
/// Display name, bytes.
pub const DISPLAY_NAME_MAX_BYTES: usize = 128;
/// Description, bytes (Google: 1,024 characters).
pub const DESCRIPTION_MAX_BYTES: usize = 1024;
/// Longest duration of a patch job, seconds (7 days).
pub const JOB_DURATION_MAX_SECS: u64 = 7 * 24 * 3600;
/// Shortest duration of a patch job, seconds: shorter than one package-manager refresh makes no sense.
pub const JOB_DURATION_MIN_SECS: u64 = 60;
/// Reboots one patch task may ask for, count (Google's agent: 5).
pub const REBOOTS_MAX: u32 = 5;
/// Targets of one patch job, hosts: the fleet size this design is for.
pub const JOB_TARGETS_MAX: usize = 50_000;
/// One inventory section as sent, bytes: 20,000 packages × ~200 bytes = 4 MB, doubled.
pub const SECTION_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Packages of one host, count.
pub const PACKAGES_MAX: usize = 50_000;
/// One package's name, version, architecture or repository, bytes: longer is hostile input.
pub const PACKAGE_FIELD_MAX_BYTES: usize = 255;
/// One list of a host's rules (holds, locks, excludes, pins …), entries: somebody who holds every package has some thousands.
pub const RULES_MAX: usize = 20_000;
/// One pattern, pin or name in a host's rules, bytes.
pub const RULE_TEXT_MAX_BYTES: usize = 1024;
/// One task report, bytes.
pub const TASK_REPORT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Page size of a list: default and maximum, rows.
pub const PAGE_DEFAULT: u32 = 100;
/// Largest page of a list, rows.
pub const PAGE_MAX: u32 = 1000;
/// An instance counts as unreachable when its agent has been silent this long, seconds (3 missed heartbeats of 30 s).
pub const UNREACHABLE_AFTER_SECS: i64 = 90;
