//! Reboot slots between the executor, which may not reboot without one, and the link, which asks the server. The server
//! gives a slot to a task as often as it asks, so a lost answer or a restart costs one question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drydock_domain::ids::TaskId;
use tokio::sync::Notify;

use super::report::cut;
use crate::link::session::lock;

/// A slot that was refused is asked for again after this at the earliest, seconds.
const RETRY_MIN_SECS: u32 = 5;
/// And at the latest, seconds.
const RETRY_MAX_SECS: u32 = 300;
/// A slot that was given and not used for this long may have ended: it is asked for again.
const FRESH: Duration = Duration::from_secs(60);

/// Shared questions and answers.
#[derive(Debug, Clone, Default)]
pub struct Slots(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: Mutex<HashMap<TaskId, Question>>,
    wake: Notify,
}

#[derive(Debug)]
struct Question {
    /// When to ask (again).
    due: Instant,
    answer: Option<Answer>,
}

/// What the server said.
#[derive(Debug, Clone)]
struct Answer {
    granted: bool,
    message: String,
    at: Instant,
}

/// How a task's question stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The host may go down.
    Granted,
    /// Not yet; for people.
    Waits(String),
}

impl Slots {
    /// The executor wants to reboot for `task`. The first look asks.
    pub fn look(&self, task: TaskId, now: Instant) -> Slot {
        let mut asked = lock(&self.0.asked);
        let mut new = false;
        let question = asked.entry(task).or_insert_with(|| {
            new = true;
            Question { due: now, answer: None }
        });
        if question.answer.as_ref().is_some_and(|a| a.granted && now.saturating_duration_since(a.at) > FRESH) {
            (*question, new) = (Question { due: now, answer: None }, true);
        }
        let slot = match &question.answer {
            Some(answer) if answer.granted => Slot::Granted,
            Some(answer) => Slot::Waits(answer.message.clone()),
            None => Slot::Waits("waits for a reboot slot; the server has not answered yet".to_owned()),
        };
        drop(asked);
        if new {
            self.0.wake.notify_one();
        }
        slot
    }

    /// The task reboots, or is over.
    pub fn forget(&self, task: TaskId) {
        lock(&self.0.asked).remove(&task);
    }

    /// Tasks to ask for now.
    pub fn due(&self, now: Instant) -> Vec<TaskId> {
        let asked = lock(&self.0.asked);
        asked.iter().filter(|(_, q)| q.due <= now && !granted(q)).map(|(task, _)| *task).collect()
    }

    /// When the next question is due; `None` = nobody waits.
    pub fn next_due(&self) -> Option<Instant> {
        lock(&self.0.asked).values().filter(|q| !granted(q)).map(|q| q.due).min()
    }

    /// A hint came: what was refused may be free now.
    pub fn hurry(&self, now: Instant) {
        lock(&self.0.asked).values_mut().for_each(|q| q.due = q.due.min(now));
    }

    /// The server's answer for a task.
    pub fn answered(&self, task: TaskId, granted: bool, message: &str, retry_after_secs: u32, now: Instant) {
        let retry = Duration::from_secs(u64::from(retry_after_secs.clamp(RETRY_MIN_SECS, RETRY_MAX_SECS)));
        let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let message = if message.trim().is_empty() { "waits for a reboot slot".to_owned() } else { cut(message) };
        if let Some(question) = lock(&self.0.asked).get_mut(&task) {
            *question = Question { due: now + retry, answer: Some(Answer { granted, message, at: now }) };
        }
    }

    /// Returns when a new question was asked.
    pub async fn changed(&self) {
        self.0.wake.notified().await;
    }
}

fn granted(question: &Question) -> bool {
    question.answer.as_ref().is_some_and(|a| a.granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_refused_slot_is_asked_for_again_in_time_and_at_a_hint() {
        let (slots, task, begin) = (Slots::default(), TaskId(Uuid::from_u128(1)), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        assert!(slots.due(at(0)).is_empty() && slots.next_due().is_none(), "nobody waits");
        assert!(matches!(slots.look(task, at(0)), Slot::Waits(why) if why.contains("not answered")));
        assert_eq!(slots.due(at(0)), [task]);
        slots.answered(task, false, "held by\ndb1", 20, at(0));
        assert_eq!(slots.look(task, at(1)), Slot::Waits("held by db1".into()));
        assert!(slots.due(at(19)).is_empty());
        assert_eq!((slots.due(at(20)), slots.next_due()), (vec![task], Some(at(20))));
        slots.answered(task, false, "", 0, at(20));
        assert_eq!(slots.next_due(), Some(at(25)), "not faster than every five seconds");
        slots.answered(task, false, "x", u32::MAX, at(20));
        assert_eq!(slots.next_due(), Some(at(320)), "at least every five minutes");
        slots.hurry(at(21));
        assert_eq!(slots.due(at(21)), [task]);
        slots.answered(task, true, "", 0, at(22));
        assert_eq!((slots.look(task, at(82)), slots.next_due()), (Slot::Granted, None));
        assert!(matches!(slots.look(task, at(83)), Slot::Waits(_)), "it may have been given to somebody else");
        assert_eq!(slots.due(at(83)), [task]);
        slots.forget(task);
        slots.answered(task, true, "", 0, at(84));
        assert!(matches!(slots.look(task, at(84)), Slot::Waits(_)), "an answer that nobody waits for is no slot");
    }
}
