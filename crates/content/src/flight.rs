//! One fetch for many waiters: whoever asks first starts it, everybody who asks until it ends gets its answer. An error
//! goes to all of them and is forgotten: the next one to ask tries again.
//!
//! The work runs in a task of its own, so it goes on when those who wait give up; a client that comes back finds the
//! file, and no transfer is thrown away because of one impatient client.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Flights at once; the next one is refused rather than queued without bound.
pub(crate) const FLIGHTS_MAX: usize = 256;

type Answer<T> = Option<Result<T, Arc<str>>>;
type Map<T> = Arc<Mutex<HashMap<String, watch::Receiver<Answer<T>>>>>;

/// Work in progress by key.
pub(crate) struct Flights<T> {
    open: Map<T>,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub fn new() -> Flights<T> {
        Flights { open: Arc::default() }
    }

    /// The answer of the work under way for `key`, or of `work`, started now.
    ///
    /// # Errors
    /// The work's own message; others when too much is under way or the work ended without an answer.
    pub async fn run<F>(&self, key: &str, work: impl FnOnce() -> F) -> Result<T, Arc<str>>
    where
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let mut answer = self.join(key, work)?;
        let ended = || Arc::from("the fetch ended without an answer; try again");
        let answer = answer.wait_for(Option::is_some).await.map_err(|_| ended())?;
        answer.clone().unwrap_or_else(|| Err(ended()))
    }

    fn join<F>(&self, key: &str, work: impl FnOnce() -> F) -> Result<watch::Receiver<Answer<T>>, Arc<str>>
    where
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = open.get(key) {
            return Ok(answer.clone());
        }
        if open.len() >= FLIGHTS_MAX {
            return Err(Arc::from("too many files are being fetched from upstreams right now; try again later"));
        }
        let (tell, answer) = watch::channel(None);
        open.insert(key.to_owned(), answer.clone());
        let landing = Landing { open: Arc::clone(&self.open), key: key.to_owned() };
        let work = work();
        tokio::spawn(async move {
            // Dropped also when the work panics: waiters see a closed channel, the next one starts anew.
            let landing = landing;
            let result = work.await.map_err(Arc::from);
            // Off the list before it is told: who reads an error and asks again gets a new try.
            drop(landing);
            let _ = tell.send(Some(result));
        });
        Ok(answer)
    }

    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}

/// Takes a flight off the list.
struct Landing<T> {
    open: Map<T>,
    key: String,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_waiters_share_one_flight_and_its_error_is_not_kept() {
        let flights = Arc::new(Flights::<u32>::new());
        let runs = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicUsize::new(0));
        let (go, gate) = watch::channel(false);
        let ask = |answer: Result<u32, String>| {
            let (flights, runs, mut gate) = (Arc::clone(&flights), Arc::clone(&runs), gate.clone());
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                asked.fetch_add(1, Ordering::SeqCst);
                flights
                    .run("k", || async move {
                        runs.fetch_add(1, Ordering::SeqCst);
                        let _ = gate.wait_for(|go| *go).await;
                        answer
                    })
                    .await
            })
        };
        let waiting: Vec<_> = (0..50).map(|_| ask(Err("refused".to_owned()))).collect();
        // On one thread a task that has counted itself has also joined.
        while asked.load(Ordering::SeqCst) < 50 {
            tokio::task::yield_now().await;
        }
        go.send_replace(true);
        for one in waiting {
            assert_eq!(one.await.unwrap().unwrap_err().as_ref(), "refused");
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(flights.under_way(), 0);
        assert_eq!(ask(Ok(7)).await.unwrap().unwrap(), 7);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_work_goes_on_without_waiters_and_a_panic_is_an_error() {
        let flights = Arc::new(Flights::<u32>::new());
        let (done, mut seen) = watch::channel(false);
        let (go, mut gate) = watch::channel(false);
        {
            let impatient = flights.run("k", || async move {
                let _ = gate.wait_for(|go| *go).await;
                done.send_replace(true);
                Ok(1)
            });
            tokio::pin!(impatient);
            assert!(futures::poll!(impatient.as_mut()).is_pending());
        }
        go.send_replace(true);
        seen.wait_for(|done| *done).await.unwrap();
        let result = flights.run("p", || async { panic!("worker") }).await;
        assert!(result.unwrap_err().contains("without an answer"));
        assert_eq!(flights.under_way(), 0);
    }
}
