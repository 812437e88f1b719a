//! How a suite runs: every case on SQLite, and on PostgreSQL where there is one. Each case gets two stores on one fresh
//! database: two servers, as far as the database can tell.

use std::future::Future;
use std::pin::Pin;

use drydock_store::{Location, Store};

use super::Cluster;

pub type Run = fn(Store, Store) -> Pin<Box<dyn Future<Output = ()> + Send>>;
pub type Case = (&'static str, Run);

#[macro_export]
macro_rules! cases {
    ($($name:ident),+ $(,)?) => { [$((stringify!($name), |a, b| Box::pin($name(a, b)))),+] };
}

pub async fn on_sqlite(cases: &[Case]) {
    for (name, case) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        // A name with everything that means something in a URL.
        let location = Location::Sqlite(dir.path().join("a b%20?#.sqlite"));
        run(name, *case, &location).await;
    }
}

pub async fn on_postgres(cases: &[Case]) {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no PostgreSQL: {why}"),
        Err(why) => return eprintln!("skipped: {why}"),
    };
    for (name, case) in cases {
        let location = Location::Postgres(cluster.database(name));
        run(name, *case, &location).await;
    }
}

async fn run(name: &str, case: Run, location: &Location) {
    println!("{name}");
    let a = Store::open(location).await.expect("the first server");
    let b = Store::open(location).await.expect("the second server; migrations run once");
    a.ping().await.expect("answers");
    case(a.clone(), b.clone()).await;
    a.close().await;
    b.close().await;
}
