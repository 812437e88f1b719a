//! The daemon: opens the ledger, starts the threads, keeps the session, answers the watchdog, ends on TERM.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::config::Config;
use crate::identity::Identity;
use crate::inventory::collect::Collector;
use crate::inventory::worker::{Ask, Intervals};
use crate::inventory::{Board, watch, worker};
use crate::ledger::Ledger;
use crate::link::address::{Proxy, ServerAddress};
use crate::link::session::{self, Shared, lock};
use crate::paths::Paths;
use crate::platform;
use crate::policy::ward;
use crate::socket::{self, Status};
use crate::sources;
use crate::task::control::Control;
use crate::task::slots::Slots;
use crate::task::worker::{TaskWorker, start as start_tasks};

/// How often systemd is told what we are doing when it does not want a watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// Runs until TERM or INT.
pub fn run(paths: Paths) -> anyhow::Result<()> {
    let config = Config::read(&paths.config)?;
    crate::logging::start(&config.log_level, &paths.log);
    let identity = Identity::load(&paths)?;
    platform::private_dir(&paths.state).with_context(|| format!("cannot create {}", paths.state.display()))?;
    let only = platform::try_lock(&paths.state.join("lock"))?;
    anyhow::ensure!(only.is_some(), "another drydock-agent already uses {}", paths.state.display());
    tracing::info!("drydock-agent {} starts as instance {}", env!("CARGO_PKG_VERSION"), identity.instance.instance_id);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    runtime.block_on(serve(paths, config, identity))
}

async fn serve(paths: Paths, config: Config, identity: Identity) -> anyhow::Result<()> {
    let server = ServerAddress::parse(&config.server).map_err(anyhow::Error::msg)?;
    let proxy = Proxy::choose(config.proxy.as_deref(), &server, |k| std::env::var(k).ok()).map_err(anyhow::Error::msg)?;
    let status = Arc::new(Mutex::new(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: platform::own_pid(),
        instance_id: identity.instance.instance_id.to_string(),
        server: config.server.clone(),
        certificate_expires: Some(identity.not_after),
        ..Status::default()
    }));
    let ledger = Arc::new(Mutex::new(Ledger::open(&paths.ledger())?));
    let board = Arc::new(Board::default());
    let patching = Arc::new(AtomicBool::new(false));
    let asks = start_inventory(&config, &board, &patching)?;
    let control = Control::default();
    let slots = Slots::default();
    let reports = Arc::new(Notify::new());
    let sources = start_sources(&paths, &config, &patching, &reports, &asks, &status)?;
    let tasks = TaskWorker {
        paths: paths.clone(),
        ledger: Arc::clone(&ledger),
        control: control.clone(),
        slots: slots.clone(),
        reports: Arc::clone(&reports),
        patching,
        inventory: asks,
        read_only: config.read_only,
    };
    let orders = start_tasks(tasks)?;
    let standing = Arc::new(Notify::new());
    let ward = ward::start(&paths, identity.instance.instance_id, Arc::clone(&standing), Arc::clone(&status))
        .context("the keeper of policies cannot be seen to")?;
    let shared = Shared {
        paths: paths.clone(),
        board: Arc::clone(&board),
        ledger: Arc::clone(&ledger),
        control,
        reports,
        sources,
        ward,
        standing,
        slots,
        orders,
        read_only: config.read_only,
        status: Arc::clone(&status),
    };

    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let serving = socket::serve(paths.socket.clone(), Arc::clone(&status), board, ledger);
    let socket_path = paths.socket.clone();
    tokio::spawn(async move {
        if let Err(e) = serving.await {
            tracing::error!("the status socket {} cannot be served: {e}", socket_path.display());
        }
    });
    tokio::spawn(watchdog(status));
    notify(&[NotifyState::Ready]);
    let why = tokio::select! {
        () = session::run(shared, server, proxy) => "the session ended",
        _ = term.recv() => "TERM",
        _ = int.recv() => "INT",
    };
    notify(&[NotifyState::Stopping]);
    // A transaction under way goes on by itself; the ledger knows it.
    tracing::info!("drydock-agent ends ({why})");
    let _ = std::fs::remove_file(&paths.socket);
    Ok(())
}

fn start_inventory(config: &Config, board: &Arc<Board>, patching: &Arc<AtomicBool>) -> anyhow::Result<Sender<Ask>> {
    let collector = Collector::new(Path::new("/"));
    if collector.backends().is_empty() {
        tracing::warn!("no package manager this agent knows was found; packages and patching are not available");
    }
    let watched = [(collector.watch_paths(), Ask::Packages), (collector.rule_paths(), Ask::Rules)];
    let intervals = Intervals { full: config.inventory_interval(), refresh: config.refresh_interval() };
    let asks = worker::start(collector, Arc::clone(board), intervals, Arc::clone(patching)).context("cannot start a thread")?;
    for (paths, ask) in watched {
        let to = asks.clone();
        tokio::spawn(async move {
            if let Err(e) = watch::run(paths, ask, to).await {
                tracing::warn!(
                    "the package manager's files cannot be watched ({e}); changes are found by the periodic inventory"
                );
            }
        });
    }
    Ok(asks)
}

fn start_sources(
    paths: &Paths,
    config: &Config,
    patching: &Arc<AtomicBool>,
    reports: &Arc<Notify>,
    inventory: &Sender<Ask>,
    status: &Arc<Mutex<Status>>,
) -> anyhow::Result<Sender<sources::worker::Ask>> {
    let files = sources::site::Files::of(paths);
    files.make().with_context(|| format!("cannot create {}", paths.sources().display()))?;
    let worker = sources::worker::Worker {
        paths: paths.clone(),
        read_only: config.read_only,
        patching: Arc::clone(patching),
        reports: Arc::clone(reports),
        status: Arc::clone(status),
        inventory: inventory.clone(),
    };
    let asks = sources::worker::start(worker).context("cannot start a thread")?;
    let root = paths.root.clone();
    let to = asks.clone();
    tokio::spawn(async move {
        let dirs = sources::takeover::Places::all_watched();
        if let Err(e) = sources::watch::run(&root, &dirs, to).await {
            tracing::warn!("repository directories cannot be watched ({e}); changes are found by the periodic look");
        }
    });
    Ok(asks)
}

/// Tells systemd that we live and what we do. It runs on the same thread as the link: when that hangs, so does this.
async fn watchdog(status: Arc<Mutex<Status>>) {
    let every = sd_notify::watchdog_enabled().map_or(STATUS_INTERVAL, |limit| limit / 3);
    loop {
        let text = {
            let status = lock(&status);
            match (&status.connected_since, &status.last_error) {
                (Some(_), _) => format!("connected to {}", status.server),
                (None, Some(error)) => format!("no connection: {error}"),
                (None, None) => "connecting".to_owned(),
            }
        };
        notify(&[NotifyState::Watchdog, NotifyState::Status(&text)]);
        tokio::time::sleep(every).await;
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::debug!("systemd cannot be told: {e}");
    }
}
