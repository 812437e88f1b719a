//! Files too large for memory: streamed to disk, checked while they are written, gone on with after a cut.
//!
//! A partial file is named by the digest it is going to have, so it may be gone on with after a restart and from another
//! mirror; what it really holds is decided at its end, by the checksum. Two downloads of one file do not share it: the
//! second takes a name of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::error::local;
use super::request::{Body, send};
use super::{Expect, Failure, FetchError, Fetcher, Mismatch, Problem, Rounds, Sha256, Validators, Verifier, public};
use crate::path::safe_relative;

/// Bytes gathered before they go to the disk in one blocking call.
const BATCH_BYTES: usize = 512 * 1024;
/// Times one mirror may cut a download that moves forward.
const CUTS_MAX: u32 = 20;

/// A file that was downloaded and is what was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its SHA-256.
    pub sha256: Sha256,
    /// Its size, bytes.
    pub size: u64,
    /// The mirror it came from, without credentials; of a file that was cut, the last one.
    pub url: String,
}

impl Fetcher {
    /// Downloads a file to `to`, which must lie on the file system of the staging directory. It appears there only
    /// complete and checked. It is not flushed to the disk: who puts it in place does that.
    ///
    /// # Errors
    /// When no mirror gives the announced file, or it cannot be written.
    pub async fn download(&self, path: &str, expect: &Expect, to: &Path) -> Result<Downloaded, FetchError> {
        let path = safe_relative(path)?;
        let (staging, wanted) = (self.inner.staging.clone(), expect.clone());
        let mut partial = blocking(move || Partial::open(&staging, &wanted)).await?;
        let mut rounds = Rounds::new(self, &path).await?;
        while let Some((index, url)) = rounds.next().await {
            match self.download_from(&url, expect, &mut partial).await {
                Ok((sha256, size)) => {
                    partial.place(to)?;
                    return Ok(Downloaded { sha256, size, url: public(&url) });
                }
                Err(failure) => rounds.failed(index, &url, failure)?,
            }
        }
        Err(rounds.into_error())
    }

    /// From one mirror, going on after cuts as long as it moves forward.
    async fn download_from(&self, url: &Url, expect: &Expect, partial: &mut Partial) -> Result<(Sha256, u64), Failure> {
        let (mut cuts, mut restarted) = (0, false);
        loop {
            let began_at = partial.len()?;
            if expect.size != Some(began_at) || began_at == 0 {
                match self.download_once(url, expect, partial).await {
                    Ok(()) => {}
                    Err(Failure::Remote(problem)) if problem.is_passing() && partial.len()? > began_at && cuts < CUTS_MAX => {
                        cuts += 1;
                        continue;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            match partial.finish()? {
                Ok(done) => return Ok(done),
                Err(Mismatch::Size { want, got }) if got < want => {
                    if got > began_at && cuts < CUTS_MAX {
                        cuts += 1;
                        continue;
                    }
                    return Err(Problem::Connection(format!("cut off after {got} of {want} bytes")).into());
                }
                // The beginning may have been another mirror's: once more, all of it from this one.
                Err(_) if began_at > 0 && !restarted => {
                    partial.restart().await?;
                    restarted = true;
                }
                Err(mismatch) => {
                    partial.restart().await?;
                    return Err(Problem::Mismatch(mismatch).into());
                }
            }
        }
    }

    /// One request; what comes is appended to the partial file.
    async fn download_once(&self, url: &Url, expect: &Expect, partial: &mut Partial) -> Result<(), Failure> {
        let offset = partial.len()?;
        let limits = &self.inner.limits;
        let response = send(&self.inner.client, url, &partial.range(offset, url), limits).await?;
        let most = expect.size.unwrap_or(expect.max_size).min(expect.max_size);
        match response.status() {
            StatusCode::OK if offset > 0 => partial.restart().await?,
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT if offset > 0 => {
                if let Err(problem) = check_range(&response, offset, expect) {
                    partial.restart().await?;
                    return Err(problem.into());
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                partial.restart().await?;
                return Err(Problem::Protocol("the partial file is longer than the upstream's".to_owned()).into());
            }
            status => return Err(Problem::status(status).into()),
        }
        let offset = partial.len()?;
        if let Some(length) = response.content_length() {
            fits(offset + length, expect)?;
        }
        partial.validators = Some((url.clone(), Validators::of(&response)));
        let mut body = Body::new(response, *limits, limits.download_total);
        let mut batch = Vec::new();
        let mut total = offset;
        loop {
            let chunk = body.chunk().await;
            if let Ok(Some(chunk)) = &chunk {
                total += chunk.len() as u64;
                if total > most {
                    partial.restart().await?;
                    let too_long = expect.size.map(|want| Problem::Mismatch(Mismatch::Size { want, got: total }));
                    return Err(too_long.unwrap_or(Problem::TooLarge(expect.max_size)).into());
                }
                batch.extend_from_slice(chunk);
            }
            let more = matches!(chunk, Ok(Some(_)));
            if batch.len() >= BATCH_BYTES || !more {
                partial.append(std::mem::take(&mut batch)).await?;
            }
            if !more {
                return chunk.map(|_| ()).map_err(Failure::Remote);
            }
        }
    }
}

/// Is the announced length the wanted one?
fn fits(length: u64, expect: &Expect) -> Result<(), Problem> {
    match expect.size {
        Some(want) if want != length => Err(Problem::Mismatch(Mismatch::Size { want, got: length })),
        _ if length > expect.max_size => Err(Problem::TooLarge(expect.max_size)),
        _ => Ok(()),
    }
}

/// `Content-Range: bytes 100-199/200` must begin where the partial file ends.
fn check_range(response: &Response, offset: u64, expect: &Expect) -> Result<(), Problem> {
    let broken = || Problem::Protocol("a partial answer for another range than asked".to_owned());
    let header = response.headers().get(CONTENT_RANGE).and_then(|v| v.to_str().ok()).ok_or_else(broken)?;
    let (range, total) = header.strip_prefix("bytes ").and_then(|r| r.split_once('/')).ok_or_else(broken)?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse::<u64>().ok());
    if start != Some(offset) {
        return Err(broken());
    }
    total.trim().parse().map_or(Ok(()), |total| fits(total, expect))
}

/// The part of a file that is here.
struct Partial {
    path: PathBuf,
    /// Kept for the next try when this one fails: its name says what it is going to be.
    resumable: bool,
    /// Away while a blocking call works on it, and lost when that is abandoned.
    sink: Option<Sink>,
    /// What the mirror said of the version that the partial file is of.
    validators: Option<(Url, Validators)>,
}

struct Sink {
    file: File,
    verifier: Verifier,
    expect: Expect,
}

impl Partial {
    fn open(staging: &Path, expect: &Expect) -> Result<Partial, FetchError> {
        if let Some(digest) = expect.digests.first() {
            let path = staging.join(format!("partial-{digest}"));
            if let Some(file) = locked(&path)? {
                let mut partial = Partial { path, resumable: true, sink: None, validators: None };
                partial.sink = Some(Sink::resume(file, &partial.path, expect)?);
                return Ok(partial);
            }
        }
        let named = tempfile::Builder::new().prefix("download-").tempfile_in(staging);
        let (file, path) = named
            .map_err(local("make a file in", staging.to_owned()))?
            .keep()
            .map_err(|e| local("make a file in", staging.to_owned())(e.error))?;
        let sink = Sink::new(file, expect);
        Ok(Partial { path, resumable: false, sink: Some(sink), validators: None })
    }

    fn lost(&self) -> FetchError {
        local("write", self.path.clone())(std::io::Error::other("a worker thread ended early"))
    }

    fn len(&self) -> Result<u64, Failure> {
        self.sink.as_ref().map(|s| s.verifier.bytes()).ok_or_else(|| Failure::Local(self.lost()))
    }

    /// Headers that ask for the rest.
    fn range(&self, offset: u64, url: &Url) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if offset == 0 {
            return headers;
        }
        if let Ok(value) = HeaderValue::from_str(&format!("bytes={offset}-")) {
            headers.insert(RANGE, value);
        }
        // Weak validators do not promise equal bytes. Without any, the checksum at the end decides.
        if let Some((of, validators)) = &self.validators
            && of == url
        {
            let strong = validators.etag.as_ref().filter(|etag| !etag.starts_with("W/"));
            let value = strong.or(validators.last_modified.as_ref()).and_then(|v| HeaderValue::from_str(v).ok());
            if let Some(value) = value {
                headers.insert(IF_RANGE, value);
            }
        }
        headers
    }

    /// Runs blocking work on the file.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Sink, &Path) -> Result<T, FetchError> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut sink = self.sink.take().ok_or_else(|| Failure::Local(self.lost()))?;
        let path = self.path.clone();
        let (sink, result) = blocking(move || {
            let result = work(&mut sink, &path);
            Ok((sink, result))
        })
        .await
        .map_err(Failure::Local)?;
        self.sink = Some(sink);
        result.map_err(Failure::Local)
    }

    async fn append(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        if bytes.is_empty() { Ok(()) } else { self.work(move |sink, path| sink.append(&bytes, path)).await }
    }

    /// Begins anew, empty.
    async fn restart(&mut self) -> Result<(), Failure> {
        self.validators = None;
        self.work(|sink, path| sink.truncate(path)).await
    }

    /// Compares what came with what was announced.
    fn finish(&mut self) -> Result<Result<(Sha256, u64), Mismatch>, Failure> {
        let lost = self.lost();
        let sink = self.sink.as_mut().ok_or(Failure::Local(lost))?;
        let got = sink.verifier.bytes();
        match sink.expect.size {
            Some(want) if want != got => Ok(Err(Mismatch::Size { want, got })),
            _ => Ok(std::mem::replace(&mut sink.verifier, fresh(&sink.expect)).finish()),
        }
    }

    /// Gives the file its name. The lock is held until it has it.
    fn place(mut self, to: &Path) -> Result<(), FetchError> {
        std::fs::rename(&self.path, to).map_err(local("rename a file to", to.to_owned()))?;
        self.resumable = true;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let empty = self.sink.as_ref().is_some_and(|s| s.verifier.bytes() == 0);
        if !self.path.as_os_str().is_empty() && (!self.resumable || empty) {
            // Leftovers of staging are removed at the next start anyway.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens the file for one download alone; none when another one has it.
fn locked(path: &Path) -> Result<Option<File>, FetchError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(local("open", path.to_owned()))?;
    if file.try_lock().is_err() {
        return Ok(None);
    }
    // The one before may have renamed the file between the opening and the lock: it is the finished file then.
    let same = std::fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|here| here.ino() == there.ino()));
    Ok(same.then_some(file))
}

fn fresh(expect: &Expect) -> Verifier {
    Verifier::new(&expect.digests, expect.size)
}

impl Sink {
    fn new(file: File, expect: &Expect) -> Sink {
        Sink { file, verifier: fresh(expect), expect: expect.clone() }
    }

    /// Takes up a partial file: what it holds is hashed again.
    fn resume(file: File, path: &Path, expect: &Expect) -> Result<Sink, FetchError> {
        let mut sink = Sink::new(file, expect);
        let most = expect.size.unwrap_or(expect.max_size).min(expect.max_size);
        let mut buffer = vec![0; BATCH_BYTES];
        loop {
            let read = sink.file.read(&mut buffer).map_err(local("read", path.to_owned()))?;
            sink.verifier.update(&buffer[..read]);
            if sink.verifier.bytes() > most {
                sink.truncate(path)?;
                return Ok(sink);
            }
            if read == 0 {
                return Ok(sink);
            }
        }
    }

    fn append(&mut self, bytes: &[u8], path: &Path) -> Result<(), FetchError> {
        let at = self.verifier.bytes();
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(bytes));
        written.map_err(local("write", path.to_owned()))?;
        self.verifier.update(bytes);
        Ok(())
    }

    fn truncate(&mut self, path: &Path) -> Result<(), FetchError> {
        self.file.set_len(0).map_err(local("empty", path.to_owned()))?;
        self.verifier = fresh(&self.expect);
        Ok(())
    }
}

/// Runs blocking work; a panic in it is an error like another.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, FetchError> + Send + 'static) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(local("write", PathBuf::from("staging"))(std::io::Error::other("a worker thread failed"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk is named, and what the sink thinks it has is what it has.
    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sink = Sink::new(file, &Expect { size: None, max_size: 10, digests: Vec::new() });
        let error = sink.append(b"bytes", Path::new("staging/x")).unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        assert_eq!(sink.verifier.bytes(), 0);
    }
}
