//! A database written by an older version is brought up to date with its rows, on SQLite always and on PostgreSQL
//! where there is one.
#![allow(missing_docs)]

mod common;

use std::borrow::Cow;
use std::path::Path;

use common::Cluster;
use common::rows::instance;
use drydock_domain::source::host::SourcesMode;
use drydock_store::{Location, Store, audit, instances};
use sqlx::any::AnyPoolOptions;

/// What the version before had: one host that enrolled then.
const ROWS: [&str; 3] = [
    "INSERT INTO profiles (id, token_sha256, spec, uses, revoked, created_by, created_at) \
     VALUES ('00000000-0000-0000-0000-000000000001', 't', '{\"displayName\":\"p\"}', 1, 0, 'me', 0)",
    "INSERT INTO instances (id, name, state, reject_reason, profile_id, machine_id, spki_sha256, created_at, labels, zone, \
     compartment, packages, updates, security_updates, held_updates, reboot_required, findings, order_number, version) \
     VALUES ('00000000-0000-0000-0000-000000000065', 'h1', 'ACTIVE', '', '00000000-0000-0000-0000-000000000001', 'm', 'k', \
     0, '{}', '', '/', 0, 0, 0, 0, 0, 0, 41, 3)",
    "INSERT INTO audit (id, at, who, operation, resource, outcome, request_id) VALUES \
     ('00000000-0000-0000-0000-000000000002', 7, 'instance 00000000-0000-0000-0000-000000000065', 'instance.enrol', 'h1', \
     'denied', 'r')",
];

async fn older_database(url: &str) {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect(url).await.expect("opened");
    let mut migrator = sqlx::migrate!();
    migrator.migrations = Cow::Owned(migrator.migrations[..1].to_vec());
    migrator.run(&pool).await.expect("the first tables");
    for row in ROWS {
        sqlx::query(row).execute(&pool).await.expect("stored");
    }
    pool.close().await;
}

async fn upgraded(location: &Location) {
    let store = Store::open(location).await.expect("brought up to date");
    let mut c = store.read().await.expect("reads");
    let host = instances::find(&mut c, instance(1).id).await.expect("read").expect("still there");
    assert_eq!((host.name.as_str(), host.version), ("h1", 3));
    assert_eq!((host.group, host.place()), (None, None));
    assert_eq!((host.sources_mode, host.environment, host.content_spki_sha256), (SourcesMode::Additive, None, None));
    // What was recorded before there was a chain waits to be chained first.
    let waiting = audit::inbox(&mut c, 9).await.expect("read");
    let [(_, record)] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!((&*record.who_kind, &*record.who_id), ("instance", "00000000-0000-0000-0000-000000000065"));
    assert_eq!((&*record.decision, &*record.parameters, record.at.as_microsecond()), ("deny", "{}", 7));
    drop(c);
    store.close().await;
    Store::open(location).await.expect("opens again").close().await;
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

#[tokio::test]
async fn on_sqlite() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("d.sqlite");
    older_database(&sqlite_url(&path)).await;
    upgraded(&Location::Sqlite(path)).await;
}

#[tokio::test]
async fn on_postgres() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no PostgreSQL: {why}"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let url = cluster.database("older");
    older_database(&url).await;
    upgraded(&Location::Postgres(url)).await;
}
