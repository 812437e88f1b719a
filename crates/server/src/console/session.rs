//! Sessions of the console that an access token began. Kept in memory only, so a restart signs those out (sessions of users
//! are in the store); bounded in count and in time. A session names its access token and never widens it: each request asks
//! `control` whether the token is still good. Absent on purpose: cookies and HTTP (see `auth`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// A session ends when nothing was asked with it for this long, seconds (8 hours: a shift).
pub const SESSION_IDLE_SECS: i64 = drydock_control::SESSION_IDLE_SECS;
/// A session ends this long after sign-in in any case, seconds (24 hours).
pub const SESSION_ABSOLUTE_SECS: i64 = drydock_control::SESSION_ABSOLUTE_SECS;
/// Sessions at once, count; the one idle for longest goes when there are more. About 300 bytes each.
pub const SESSIONS_MAX: usize = 1000;
/// Sessions of one access token at once, count: one person cannot push everybody else out.
pub const SESSIONS_PER_TOKEN_MAX: usize = 20;
/// Random bytes of a session id and of a CSRF token (256 bit).
const SECRET_BYTES: usize = 32;
/// A notice waits for the next page, bytes; longer ones are cut.
const NOTICE_MAX_BYTES: usize = 512;

/// The random generator of the system did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed; sign-in is not possible until it works")]
pub struct NoRandomness;

/// A fresh secret: 43 characters of base64url.
pub fn secret() -> Result<String, NoRandomness> {
    let mut bytes = [0u8; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Are two secrets equal? Compares digests, so the time taken tells nothing about where they differ.
pub fn same(a: &str, b: &str) -> bool {
    digest(&SHA256, a.as_bytes()).as_ref() == digest(&SHA256, b.as_bytes()).as_ref()
}

/// What a signed-in browser stands for. `T` is what `control` gave for the access token.
#[derive(Debug, Clone)]
pub struct Session<T> {
    /// The access token behind it.
    pub token: T,
    /// Every form of this session carries it.
    pub csrf: String,
}

/// One line for the next page: what became of what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// It was refused or failed.
    pub bad: bool,
    /// For people.
    pub text: String,
}

struct Entry<T> {
    session: Session<T>,
    created_at: Timestamp,
    used_at: Timestamp,
}

/// All sessions, by the SHA-256 of their id: a copy of this memory's keys signs nobody in.
pub struct Sessions<T> {
    entries: Mutex<HashMap<Key, Entry<T>>>,
}

type Key = [u8; 32];

fn key(id: &str) -> Key {
    let mut out = [0u8; 32];
    out.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
    out
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Sessions { entries: Mutex::new(HashMap::new()) }
    }
}

impl<T: Clone + PartialEq> Sessions<T> {
    /// Starts a session and returns its id, which only the browser keeps.
    pub fn start(&self, token: T, now: Timestamp) -> Result<String, NoRandomness> {
        let id = secret()?;
        let session = Session { token, csrf: secret()? };
        let mut entries = self.lock();
        entries.retain(|_, e| alive(e, now));
        make_room(&mut entries, SESSIONS_PER_TOKEN_MAX, |e| e.session.token == session.token);
        make_room(&mut entries, SESSIONS_MAX, |_| true);
        entries.insert(key(&id), Entry { session, created_at: now, used_at: now });
        Ok(id)
    }

    /// The session of `id` if it is alive at `now`; being asked keeps it from idling out.
    pub fn get(&self, id: &str, now: Timestamp) -> Option<Session<T>> {
        let mut entries = self.lock();
        let key = key(id);
        let entry = entries.get_mut(&key)?;
        if !alive(entry, now) {
            entries.remove(&key);
            return None;
        }
        entry.used_at = now;
        Some(entry.session.clone())
    }

    /// As [`Self::get`]; being asked so does not keep it alive: an open live page is not a person.
    pub fn peek(&self, id: &str, now: Timestamp) -> Option<Session<T>> {
        self.lock().get(&key(id)).filter(|e| alive(e, now)).map(|e| e.session.clone())
    }

    /// Is the session of `id` alive? Does not keep it so.
    pub fn is_alive(&self, id: &str, now: Timestamp) -> bool {
        self.peek(id, now).is_some()
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.lock().remove(&key(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry<T>>> {
        // Each change is one insert, remove or assignment: a panic elsewhere cannot leave the map half-changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines for the next page of each session, in memory: losing them costs a word.
#[derive(Default)]
pub struct Notices(Mutex<HashMap<Key, Notice>>);

impl Notices {
    /// Leaves a line for the next page of this session.
    pub fn leave(&self, id: &str, bad: bool, mut text: String) {
        let mut end = text.len().min(NOTICE_MAX_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() >= SESSIONS_MAX {
            notices.clear();
        }
        notices.insert(key(id), Notice { bad, text });
    }

    /// Takes the line left for this page.
    pub fn take(&self, id: &str) -> Option<Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(id))
    }
}

fn alive<T>(entry: &Entry<T>, now: Timestamp) -> bool {
    let age = |since: Timestamp| now.as_second() - since.as_second();
    age(entry.used_at) < SESSION_IDLE_SECS && age(entry.created_at) < SESSION_ABSOLUTE_SECS
}

/// Removes the entries that idled longest until fewer than `max` of those that `counts` are left.
fn make_room<T>(entries: &mut HashMap<Key, Entry<T>>, max: usize, counts: impl Fn(&Entry<T>) -> bool) {
    while entries.values().filter(|e| counts(e)).count() >= max {
        let oldest = entries.iter().filter(|(_, e)| counts(e)).min_by_key(|(_, e)| e.used_at).map(|(k, _)| *k);
        let Some(oldest) = oldest else { return };
        entries.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).expect("in range")
    }

    #[test]
    fn a_session_idles_out_after_eight_hours_and_ends_after_a_day() {
        let sessions = Sessions::default();
        let id = sessions.start("t", at(0)).expect("started");
        assert!(sessions.get(&id, at(SESSION_IDLE_SECS - 1)).is_some());
        // Used once in between: lives on from there …
        assert!(sessions.get(&id, at(2 * SESSION_IDLE_SECS - 2)).is_some());
        assert!(sessions.get(&id, at(3 * SESSION_IDLE_SECS - 3)).is_some());
        // … until a day has passed.
        assert!(sessions.get(&id, at(SESSION_ABSOLUTE_SECS)).is_none());

        let idle = sessions.start("t", at(0)).expect("started");
        assert!(sessions.is_alive(&idle, at(SESSION_IDLE_SECS - 1)) && sessions.peek(&idle, at(SESSION_IDLE_SECS - 1)).is_some());
        assert!(sessions.get(&idle, at(SESSION_IDLE_SECS)).is_none());
        assert!(sessions.get(&idle, at(1)).is_none(), "an ended session does not come back when the clock does");
    }

    #[test]
    fn an_id_is_random_and_a_wrong_one_finds_nothing() {
        let sessions = Sessions::default();
        let a = sessions.start("t", at(0)).expect("started");
        let b = sessions.start("t", at(0)).expect("started");
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert!(sessions.get("", at(0)).is_none());
        let (one, two) = (sessions.get(&a, at(0)).expect("alive"), sessions.get(&b, at(0)).expect("alive"));
        assert_ne!(one.csrf, two.csrf);
        sessions.end(&a);
        assert!(sessions.get(&a, at(0)).is_none() && sessions.get(&b, at(0)).is_some());
    }

    #[test]
    fn one_token_pushes_out_its_own_oldest_session_only() {
        let sessions = Sessions::default();
        let other = sessions.start("other", at(0)).expect("started");
        let first = sessions.start("busy", at(1)).expect("started");
        for i in 0..SESSIONS_PER_TOKEN_MAX {
            sessions.start("busy", at(2 + i64::try_from(i).expect("small"))).expect("started");
        }
        assert!(sessions.get(&first, at(60)).is_none());
        assert!(sessions.get(&other, at(60)).is_some());
    }

    #[test]
    fn the_count_is_bounded() {
        let sessions = Sessions::default();
        for i in 0..SESSIONS_MAX + 5 {
            sessions.start(i, at(i64::try_from(i).expect("small"))).expect("started");
        }
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }

    #[test]
    fn a_notice_is_shown_once_and_cut() {
        let notices = Notices::default();
        notices.leave("id", true, "é".repeat(400));
        assert_eq!(notices.take("other"), None);
        let notice = notices.take("id").expect("left");
        assert_eq!((notice.bad, notice.text.len()), (true, NOTICE_MAX_BYTES));
        assert_eq!(notices.take("id"), None);
    }
}
