//! `drydock advisory` and `drydock vulnerability`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ListArgs, Output, RecentArgs};

/// `drydock advisory`.
#[derive(Debug, Subcommand)]
pub enum AdvisoryCommand {
    /// List advisories, newest first, with the hosts that need them
    ///
    /// They come from imported feeds and from the snapshots that hosts see.
    List(AdvisoryListArgs),
    /// Show one advisory: what it mends, which hosts need it, where its packages are to be had
    Show(AdvisoryShowArgs),
    /// Import files of advisories or vulnerabilities
    ///
    /// OSV files, the Debian security tracker's JSON, DSA and DLA lists, Ubuntu's USN database, CSAF and VEX documents, the
    /// catalogue of known exploited vulnerabilities (KEV), EPSS scores, updateinfo.xml; also compressed. Each file is a feed
    /// named after it, unless --feed says otherwise. The same file again does nothing.
    ///
    /// For example:
    ///   drydock advisory import almalinux8-osv.jsonl.xz
    ///   drydock advisory import --feed redhat-vex --partial cve-*.json
    #[command(verbatim_doc_comment)]
    Import(ImportArgs),
    /// Imported feeds
    #[command(subcommand)]
    Feed(FeedCommand),
}

/// `drydock advisory feed`.
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// List feeds
    List(ListArgs),
    /// Show one feed and what was wrong with its last import
    Show(FeedShowArgs),
    /// Remove a feed with everything it said
    Delete(FeedArgs),
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeverityArg {
    /// The worst
    Critical,
    /// Also called high
    Important,
    /// Also called medium
    Moderate,
    /// Little harm
    Low,
    /// Next to none
    Negligible,
}

impl SeverityArg {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            SeverityArg::Critical => "CRITICAL",
            SeverityArg::Important => "IMPORTANT",
            SeverityArg::Moderate => "MODERATE",
            SeverityArg::Low => "LOW",
            SeverityArg::Negligible => "NEGLIGIBLE",
        }
    }
}

/// What an advisory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Closes vulnerabilities
    Security,
    /// Mends faults
    Bugfix,
    /// Brings something new
    Enhancement,
    /// Anything else
    Other,
}

impl KindArg {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            KindArg::Security => "SECURITY",
            KindArg::Bugfix => "BUGFIX",
            KindArg::Enhancement => "ENHANCEMENT",
            KindArg::Other => "OTHER",
        }
    }
}

/// Arguments of `advisory list`.
#[derive(Debug, Args)]
pub struct AdvisoryListArgs {
    /// Only this kind; repeat for more
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    pub kinds: Vec<KindArg>,
    /// Only those at least so bad
    #[arg(long, value_enum)]
    pub severity: Option<SeverityArg>,
    /// Only those whose id, title or CVEs contain this
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Only those that close this CVE
    #[arg(long, value_name = "CVE")]
    pub cve: Option<String>,
    /// Only those that mend this package
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Only those issued or changed since this time, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those that some host needs
    #[arg(long)]
    pub applicable: bool,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `advisory show`.
#[derive(Debug, Args)]
pub struct AdvisoryShowArgs {
    /// Id of the advisory, such as ALSA-2026:1234
    #[arg(value_name = "ADVISORY")]
    pub advisory: String,
    /// At most this many hosts; 0 = all
    #[arg(long, default_value_t = super::RECENT_ROWS, value_name = "N")]
    pub limit: usize,
    /// Format; json and yaml show the advisory alone.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `advisory import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name of the feed; needed with --partial, and made from the file's name otherwise
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// Form of the files: osv, debian-tracker, debian-list, usn, csaf, kev, epss or updateinfo; seen by the content otherwise
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// The files are parts of one feed: what is not in them stays
    #[arg(long, requires = "feed")]
    pub partial: bool,
    /// updateinfo: for which system, such as almalinux:8
    #[arg(long, value_name = "SYSTEM")]
    pub product: Option<String>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// One feed.
#[derive(Debug, Args)]
pub struct FeedArgs {
    /// Name of the feed
    #[arg(value_name = "FEED")]
    pub feed: String,
}

/// One feed, and a format.
#[derive(Debug, Args)]
pub struct FeedShowArgs {
    /// Name of the feed
    #[arg(value_name = "FEED")]
    pub feed: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// `drydock vulnerability`.
#[derive(Debug, Subcommand)]
pub enum VulnerabilityCommand {
    /// List open vulnerabilities: known exploited ones first, then overdue ones, then the worst
    List(VulnerabilityListArgs),
    /// Show one vulnerability: what closes it, where it is open and since when
    Show(VulnerabilityShowArgs),
    /// Show the fleet in numbers
    Summary(Output),
    /// Accept a vulnerability on some hosts until a day
    ///
    /// It is no longer listed as open there, nor overdue; when the day comes it counts again by itself.
    ///
    /// For example:
    ///   drydock vulnerability except CVE-2026-1234 --label env=lab --until 2027-03-01 --reason 'no route to it'
    #[command(verbatim_doc_comment)]
    Except(ExceptArgs),
    /// List exceptions, newest first; ended ones too
    Exceptions(ListArgs),
    /// Change who answers for an exception, why, or until when; what is not named stays
    ///
    /// For example:
    ///   drydock vulnerability edit-exception 0198c0de-0000-7000-8000-000000000000 --until 2027-06-01
    #[command(verbatim_doc_comment)]
    EditException(ExceptionEditArgs),
    /// Take an exception back: what it covered counts again at once
    Unexcept(UnexceptArgs),
    /// Show or set how many days vulnerabilities may stay open, by severity
    #[command(subcommand)]
    Sla(SlaCommand),
}

/// Arguments of `vulnerability except`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("scope").required(true)))]
pub struct ExceptArgs {
    /// Id of the vulnerability, such as CVE-2026-1234
    #[arg(value_name = "CVE")]
    pub cve: String,
    /// On this instance, by name or id
    #[arg(long, value_name = "HOST", group = "scope")]
    pub instance: Option<String>,
    /// On the members of this group, whoever they are at the time
    #[arg(long, value_name = "GROUP", group = "scope")]
    pub group: Option<String>,
    /// On hosts with this label, whoever they are at the time
    #[arg(long, value_name = "KEY=VALUE", group = "scope", value_parser = crate::text::parse_pair)]
    pub label: Option<(String, String)>,
    /// On every host
    #[arg(long, group = "scope")]
    pub all: bool,
    /// When it ends: a day such as 2027-03-01 (its beginning, UTC) or a time; at most a year ahead
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub until: jiff::Timestamp,
    /// Compartment it counts in, with those below; without it, the one in which you may accept vulnerabilities
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
    /// Why it is accepted
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who answers for it; you, unless said otherwise
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// `2027-03-01` or a time.
fn day(text: &str) -> Result<jiff::Timestamp, String> {
    let midnight = || format!("{text}T00:00:00Z").parse().ok();
    let at = text.parse().ok().or_else(midnight);
    at.ok_or_else(|| format!("{text:?} is no day; write 2027-03-01 or 2027-03-01T12:00:00Z"))
}

/// Arguments of `vulnerability edit-exception`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub struct ExceptionEditArgs {
    /// Id of the exception
    #[arg(value_name = "ID")]
    pub id: String,
    /// When it ends: a day such as 2027-03-01 (its beginning, UTC) or a time; at most a year ahead
    #[arg(long, value_name = "DATE", value_parser = day, group = "change")]
    pub until: Option<jiff::Timestamp>,
    /// Why it is accepted
    #[arg(long, value_name = "TEXT", group = "change")]
    pub reason: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "NAME", group = "change")]
    pub owner: Option<String>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `vulnerability unexcept`.
#[derive(Debug, Args)]
pub struct UnexceptArgs {
    /// Id of the exception
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `drydock vulnerability sla`.
#[derive(Debug, Subcommand)]
pub enum SlaCommand {
    /// Show the days
    Show(Output),
    /// Set days; what is not named stays
    Set(SlaSetArgs),
}

/// Arguments of `vulnerability sla set`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("days").required(true).multiple(true)))]
pub struct SlaSetArgs {
    /// Days for critical ones, or none
    #[arg(long, value_name = "DAYS", group = "days")]
    pub critical: Option<Days>,
    /// Days for important (high) ones, or none
    #[arg(long, value_name = "DAYS", group = "days")]
    pub important: Option<Days>,
    /// Days for moderate (medium) ones, or none
    #[arg(long, value_name = "DAYS", group = "days")]
    pub moderate: Option<Days>,
    /// Days for low ones, or none
    #[arg(long, value_name = "DAYS", group = "days")]
    pub low: Option<Days>,
    /// Are known exploited ones due by the date of their catalogue where that is sooner?
    #[arg(long, value_name = "BOOL", group = "days")]
    pub kev_dates: Option<bool>,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// A number of days, or none: no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(pub Option<u32>);

impl std::str::FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Days(None)),
            number => number.parse().map(|n| Days(Some(n))).map_err(|_| format!("{text:?} is no number of days, nor none")),
        }
    }
}

/// Arguments of `vulnerability list`.
#[derive(Debug, Args)]
pub struct VulnerabilityListArgs {
    /// Only those at least so bad
    #[arg(long, value_enum)]
    pub severity: Option<SeverityArg>,
    /// Only those whose id contains this
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Only those known to be exploited
    #[arg(long)]
    pub exploited: bool,
    /// Only those that some host can close now
    #[arg(long)]
    pub installable: bool,
    /// Only those that are open on some host for longer than they may be
    #[arg(long)]
    pub overdue: bool,
    /// Also those that are accepted wherever they are open
    #[arg(long)]
    pub excepted: bool,
    /// Rows and format.
    #[command(flatten)]
    pub list: RecentArgs,
}

/// Arguments of `vulnerability show`.
#[derive(Debug, Args)]
pub struct VulnerabilityShowArgs {
    /// Id of the vulnerability, such as CVE-2026-1234
    #[arg(value_name = "CVE")]
    pub cve: String,
    /// Also hosts on which it is accepted
    #[arg(long)]
    pub excepted: bool,
    /// At most this many hosts; 0 = all
    #[arg(long, default_value_t = super::RECENT_ROWS, value_name = "N")]
    pub limit: usize,
    /// Format; json and yaml show the vulnerability alone.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `instance advisories`.
#[derive(Debug, Args)]
pub struct HostListArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `instance vulnerabilities`.
#[derive(Debug, Args)]
pub struct HostVulnerabilitiesArgs {
    /// Name or id of the instance
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Also those that are accepted on it
    #[arg(long)]
    pub excepted: bool,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}
