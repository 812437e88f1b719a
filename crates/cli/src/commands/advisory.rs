//! `drydock advisory` and `drydock vulnerability`.

use std::io::Write;
use std::path::Path;

use drydock_api::rest::Page;
use drydock_domain::advisory::open::{
    AffectedInstance, FleetSecurity, InstanceVulnerability, VulnerabilityDetail, VulnerabilitySummary,
};
use drydock_domain::advisory::report::{
    AdvisedInstance, AdvisoryDetail, AdvisorySummary, Feed, FeedDetail, ImportReport, InstanceAdvisory,
};

use super::{document, list, print_table};
use crate::args::Format;
use crate::args::advisory::{
    AdvisoryCommand, AdvisoryListArgs, AdvisoryShowArgs, FeedCommand, HostListArgs, HostVulnerabilitiesArgs, ImportArgs,
    VulnerabilityCommand, VulnerabilityListArgs, VulnerabilityShowArgs,
};
use crate::client::{Client, Query, Rows};
use crate::failure::Failure;
use crate::text::clean;
use crate::view::advisory as view;
use crate::world::World;

/// Runs `drydock advisory`.
pub async fn run(command: AdvisoryCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        AdvisoryCommand::List(args) => advisories(args, client, world).await,
        AdvisoryCommand::Show(args) => show(args, client, world).await,
        AdvisoryCommand::Import(args) => import(args, client, world).await,
        AdvisoryCommand::Feed(command) => feed(command, client, world).await,
    }
}

async fn feed(command: FeedCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    match command {
        FeedCommand::List(args) => {
            let all: Page<Feed> = client.get(&["advisory-feeds"], &Query::new()).await?;
            let limit = if args.limit == 0 { usize::MAX } else { args.limit };
            let more = all.items.len() > limit;
            let rows = Rows { items: all.items.into_iter().take(limit).collect(), more };
            list(&rows, "advisory feeds", args.output, world, |items| view::feeds(items, now))
        }
        FeedCommand::Show(args) => {
            let found: FeedDetail = client.get(&["advisory-feeds", &args.feed], &Query::new()).await?;
            if document(&found, args.output, world)? {
                return Ok(());
            }
            world.out.write_all(view::feed(&found.feed, now).as_bytes())?;
            if !found.findings.is_empty() {
                writeln!(world.out)?;
                print_table(view::findings(&found.findings), world)?;
            }
            Ok(())
        }
        FeedCommand::Delete(args) => {
            client.delete(&["advisory-feeds", &args.feed], &[]).await?;
            Ok(writeln!(world.out, "Feed {} is deleted with everything it said.", clean(&args.feed))?)
        }
    }
}

async fn import(args: ImportArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    if args.feed.is_some() && args.files.len() > 1 && !args.partial {
        return Err(Failure::Usage(
            "several files into one feed would each replace what the one before said; add --partial when they are parts of it"
                .to_owned(),
        ));
    }
    let mut reports: Vec<ImportReport> = Vec::new();
    for file in &args.files {
        let name = args.feed.clone().map_or_else(|| feed_name(file), Ok)?;
        let mut query = Query::new();
        query.extend(args.kind.clone().map(|kind| ("kind", kind)));
        if args.partial {
            query.push(("partial", "true".to_owned()));
        }
        query.extend(args.product.clone().map(|product| ("product", product)));
        let path = format!("{name}:import");
        let report: ImportReport = client.upload(&["advisory-feeds", &path], &query, file).await?;
        if args.output.output == Format::Table {
            world.out.write_all(view::imported(&report).as_bytes())?;
            if !report.findings.is_empty() && !report.unchanged {
                print_table(view::findings(&report.findings), world)?;
            }
            world.out.flush()?;
        }
        reports.push(report);
    }
    document(&reports, args.output, world).map(drop)
}

/// `/x/almalinux8-osv.jsonl.xz` → `almalinux8-osv`.
fn feed_name(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() {
        return Err(Failure::Usage(format!("no feed can be named after {}; name it with --feed", file.display())));
    }
    Ok(plain.to_owned())
}

async fn advisories(args: AdvisoryListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut query = Query::new();
    query.extend(args.kinds.iter().map(|k| ("kind", k.as_str().to_owned())));
    query.extend(args.severity.map(|s| ("severity", s.as_str().to_owned())));
    query.extend(args.text.map(|v| ("q", v)));
    query.extend(args.cve.map(|v| ("cve", v)));
    query.extend(args.package.map(|v| ("package", v)));
    query.extend(args.since.map(|v| ("since", v)));
    if args.applicable {
        query.push(("applicable", "true".to_owned()));
    }
    if args.list.output.output == Format::Csv {
        return csv(&["advisories"], query, client, world).await;
    }
    let now = (world.now)();
    let rows = client.list::<AdvisorySummary>(&["advisories"], &query, args.list.limit).await?;
    list(&rows, "advisories", args.list.output, world, |items| view::advisories(items, now))
}

/// All rows, as the server writes them: `--limit` does not count.
pub(super) async fn csv(path: &[&str], mut query: Query<'_>, client: &Client, world: &mut World) -> Result<(), Failure> {
    query.push(("format", "csv".to_owned()));
    let text = client.text(path, &query).await?;
    Ok(world.out.write_all(text.as_bytes())?)
}

async fn show(args: AdvisoryShowArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let found: AdvisoryDetail = client.get(&["advisories", &args.advisory], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    world.out.write_all(view::advisory(&found, (world.now)()).as_bytes())?;
    let path = ["advisories", args.advisory.as_str(), "instances"];
    let hosts = client.list::<AdvisedInstance>(&path, &Query::new(), args.limit).await?;
    if !hosts.items.is_empty() {
        writeln!(world.out)?;
        print_table(view::advised(&hosts.items), world)?;
    }
    more(hosts.more, world)
}

fn more(more: bool, world: &mut World) -> Result<(), Failure> {
    if more {
        world.out.flush()?;
        writeln!(world.err, "more hosts exist; --limit 0 shows all")?;
    }
    Ok(())
}

/// Runs `drydock instance advisories`.
pub async fn of_instance(args: HostListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let path = ["instances", args.host.as_str(), "advisories"];
    if args.output.output == Format::Csv {
        return csv(&path, Query::new(), client, world).await;
    }
    let all: Page<InstanceAdvisory> = client.get(&path, &Query::new()).await?;
    list(&Rows { items: all.items, more: false }, "advisories", args.output, world, view::instance_advisories)
}

/// Runs `drydock instance vulnerabilities`.
pub async fn vulnerabilities_of_instance(
    args: HostVulnerabilitiesArgs,
    client: &Client,
    world: &mut World,
) -> Result<(), Failure> {
    let path = ["instances", args.host.as_str(), "vulnerabilities"];
    let query = excepted(args.excepted);
    if args.output.output == Format::Csv {
        return csv(&path, query, client, world).await;
    }
    let now = (world.now)();
    let all: Page<InstanceVulnerability> = client.get(&path, &query).await?;
    let rows = Rows { items: all.items, more: false };
    list(&rows, "open vulnerabilities", args.output, world, |items| view::instance_vulnerabilities(items, now))
}

fn excepted(wanted: bool) -> Query<'static> {
    let mut query = Query::new();
    if wanted {
        query.push(("excepted", "true".to_owned()));
    }
    query
}

/// Runs `drydock vulnerability`.
pub async fn vulnerability(command: VulnerabilityCommand, client: &Client, world: &mut World) -> Result<(), Failure> {
    match command {
        VulnerabilityCommand::List(args) => vulnerabilities(args, client, world).await,
        VulnerabilityCommand::Show(args) => show_vulnerability(args, client, world).await,
        VulnerabilityCommand::Summary(output) => {
            let numbers: FleetSecurity = client.get(&["vulnerabilities:summary"], &Query::new()).await?;
            if !document(&numbers, output, world)? {
                world.out.write_all(view::fleet(&numbers).as_bytes())?;
            }
            Ok(())
        }
        VulnerabilityCommand::Except(args) => super::exception::except(args, client, world).await,
        VulnerabilityCommand::Exceptions(args) => super::exception::list_all(args, client, world).await,
        VulnerabilityCommand::EditException(args) => super::exception::edit(args, client, world).await,
        VulnerabilityCommand::Unexcept(args) => super::exception::unexcept(args, client, world).await,
        VulnerabilityCommand::Sla(command) => super::exception::sla(command, client, world).await,
    }
}

async fn vulnerabilities(args: VulnerabilityListArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let mut query = Query::new();
    query.extend(args.severity.map(|s| ("severity", s.as_str().to_owned())));
    query.extend(args.text.map(|v| ("q", v)));
    for (name, wanted) in
        [("exploited", args.exploited), ("installable", args.installable), ("overdue", args.overdue), ("excepted", args.excepted)]
    {
        if wanted {
            query.push((name, "true".to_owned()));
        }
    }
    if args.list.output.output == Format::Csv {
        return csv(&["vulnerabilities"], query, client, world).await;
    }
    let now = (world.now)();
    let rows = client.list::<VulnerabilitySummary>(&["vulnerabilities"], &query, args.list.limit).await?;
    list(&rows, "open vulnerabilities", args.list.output, world, |items| view::vulnerabilities(items, now))
}

async fn show_vulnerability(args: VulnerabilityShowArgs, client: &Client, world: &mut World) -> Result<(), Failure> {
    let now = (world.now)();
    let found: VulnerabilityDetail = client.get(&["vulnerabilities", &args.cve], &Query::new()).await?;
    if document(&found, args.output, world)? {
        return Ok(());
    }
    world.out.write_all(view::vulnerability(&found, now).as_bytes())?;
    let path = ["vulnerabilities", args.cve.as_str(), "instances"];
    let query = excepted(args.excepted);
    let hosts = client.list::<AffectedInstance>(&path, &query, args.limit).await?;
    if !hosts.items.is_empty() {
        writeln!(world.out)?;
        print_table(view::affected(&hosts.items, now), world)?;
    }
    more(hosts.more, world)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_named_after_its_file() {
        for (file, name) in [
            ("/x/almalinux8-osv.jsonl.xz", "almalinux8-osv"),
            ("known_exploited_vulnerabilities.json", "known-exploited-vulnerabilities"),
            ("epss_scores-2026-11-22.csv.gz", "epss-scores-2026-11-22"),
        ] {
            assert_eq!(feed_name(Path::new(file)).ok().as_deref(), Some(name));
        }
        assert!(feed_name(Path::new("..")).is_err());
    }
}
