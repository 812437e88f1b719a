//! Units of systemd by its signals: changes of their active state, ended jobs, changed unit files, a reload. A signal is only a
//! reason to look: it may come with the old value first. When process 1 executes itself anew the connection ends; then a new one
//! is made and every unit is looked at.
//!
//! Absent: units that nobody asked for, and what is enabled by hand behind systemd's back (the tree of paths tells that).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zbus::Message;
use zbus::message::Type;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::policy::systemd::bus::{Bus, PROPERTIES, UNIT, unit_of};

/// Events kept until they are taken, count; a storm of more is told as "all".
const NEWS_MAX: usize = 1024;
/// First pause before another try to connect.
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest pause before another try.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What happened to units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// To this one.
    Unit(String),
    /// To some; nobody knows which.
    All,
}

/// Listens while units are asked for.
pub struct Signals {
    root: PathBuf,
    asked: watch::Sender<BTreeSet<String>>,
    listening: Option<Listening>,
}

struct Listening {
    task: JoinHandle<()>,
    news: mpsc::Receiver<News>,
}

impl Signals {
    /// Listens to nothing yet.
    pub fn new(root: &Path) -> Self {
        Signals { root: root.to_owned(), asked: watch::Sender::new(BTreeSet::new()), listening: None }
    }

    /// Tells of exactly these units from now on. A host without systemd tells of none.
    pub fn set(&mut self, units: BTreeSet<String>) {
        if units.is_empty() || !self.root.join("run/systemd/system").is_dir() {
            self.listening = None;
        } else if self.listening.is_none() {
            let (sender, news) = mpsc::channel(NEWS_MAX);
            let task = tokio::spawn(listen(self.root.clone(), self.asked.subscribe(), sender));
            self.listening = Some(Listening { task, news });
        }
        self.asked.send_replace(units);
    }

    /// The next event; waits for ever while there is none.
    pub async fn next(&mut self) -> News {
        if let Some(listening) = &mut self.listening
            && let Some(news) = listening.news.recv().await
        {
            return news;
        }
        std::future::pending().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects again and again; ends when nobody takes news any more.
async fn listen(root: PathBuf, asked: watch::Receiver<BTreeSet<String>>, news: mpsc::Sender<News>) {
    let mut pause = RETRY_MIN;
    let mut told = false;
    loop {
        match Bus::open(&root, true).await {
            Ok(mut bus) => {
                (pause, told) = (RETRY_MIN, false);
                // What happened before we listened.
                if news.send(News::All).await.is_err() {
                    return;
                }
                if let Some(stream) = &mut bus.stream {
                    while let Some(Ok(message)) = stream.next().await {
                        let Some(heard) = heard(&message, &asked.borrow()) else { continue };
                        if news.send(heard).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Err(e) if !std::mem::replace(&mut told, true) => {
                tracing::warn!("systemd cannot be listened to ({e}); units are checked periodically until it can");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// What a message says of the asked units.
fn heard(message: &Message, asked: &BTreeSet<String>) -> Option<News> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let known = |unit: String| asked.contains(&unit).then_some(News::Unit(unit));
    match header.member()?.as_str() {
        "PropertiesChanged" if header.interface()?.as_str() == PROPERTIES => {
            let unit = unit_of(header.path()?.as_str())?;
            let body = message.body();
            let (interface, changed, gone): (String, HashMap<String, OwnedVariant>, Vec<String>) = body.deserialize().ok()?;
            let active = changed.contains_key("ActiveState") || gone.iter().any(|p| p == "ActiveState");
            // Loading a unit to look at it changes other properties: that is no news, or we would look for ever.
            if interface == UNIT && active { known(unit) } else { None }
        }
        "JobRemoved" => {
            let body = message.body();
            let (_, _, unit, _): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
            known(unit)
        }
        "UnitFilesChanged" => Some(News::All),
        "Reloading" => {
            let began: bool = message.body().deserialize().ok()?;
            (!began).then_some(News::All)
        }
        _ => None,
    }
}
