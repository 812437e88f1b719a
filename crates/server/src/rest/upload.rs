//! Packages uploaded into a local source: the body goes to a file of the content directory as it comes, within limits
//! of size, of time and of the disk; then the operation takes it. Absent on purpose: looking into the package.

use std::path::{Path as FilePath, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, ContentJob};
use futures::StreamExt;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::encode_content as encode;
use super::error::{Failure, Result};
use super::extract::{Caller, Params};
use crate::limits::{CONTENT_PIECE_BYTES, DISK_FREE_MIN_BYTES, UPLOAD_IDLE_MAX, UPLOAD_NAME_MAX_BYTES};
use crate::state::AppState;

/// Uploads one package file into a local source. The body is the file itself; the answer is the job that makes the new
/// snapshot.
#[utoipa::path(post, path = "/api/v1/sources/{name}/packages", tag = "sources", operation_id = "uploadPackage",
    params(("name" = String, Path),
        ("fileName" = String, Query, description = "The file's name, ending in .rpm or .deb as the source's format")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 202, body = ContentJob), (status = "default", body = ApiError)))]
pub async fn upload(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    // Before the body is read: who may not upload does not cost the disk anything.
    state.control.may_upload(&caller.ctx, &name).await?;
    let file_name = params.one("fileName")?.ok_or_else(|| Failure::field("fileName", "is missing; name the file"))?;
    params.finish()?;
    check_name(&file_name)?;
    let staging = match state.control.content() {
        Some(content) => content.staging().to_owned(),
        None => return Err(Failure::unavailable(StatusCode::SERVICE_UNAVAILABLE, "this server keeps no content")),
    };
    let staged = Staged::new(&staging);
    let max = u64::from(state.settings.upload_max_mib) * 1024 * 1024;
    announced(&headers, max, &staging)?;
    receive(request.into_body(), staged.path(), max).await?;
    let job = state.control.upload_unit(&caller.ctx, &name, staged.path(), &file_name).await?;
    Ok((StatusCode::ACCEPTED, Json(encode::content_job(job))).into_response())
}

fn check_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\') && !name.starts_with('.');
    if name.is_empty() || name.len() > UPLOAD_NAME_MAX_BYTES || !plain {
        let text = format!("is a plain file name of at most {UPLOAD_NAME_MAX_BYTES} visible ASCII characters, without `/`");
        return Err(Failure::field("fileName", text));
    }
    Ok(())
}

/// A file that is removed unless somebody moved it away.
pub(super) struct Staged(PathBuf);

impl Staged {
    pub(super) fn new(staging: &FilePath) -> Self {
        Staged(staging.join(format!("upload-{}", uuid::Uuid::now_v7())))
    }

    pub(super) fn path(&self) -> &FilePath {
        &self.0
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn too_large(max: u64) -> Failure {
    let text = format!("an uploaded file has at most {} MiB here (content.upload_mib)", max / (1024 * 1024));
    Failure::unavailable(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn disk_full(staging: &FilePath) -> Failure {
    let text = format!("the disk of {} has no room for this file: make room there, then upload again", staging.display());
    Failure::unavailable(StatusCode::INSUFFICIENT_STORAGE, text)
}

/// Refuses at once what cannot end well.
pub(super) fn announced(headers: &HeaderMap, max: u64, staging: &FilePath) -> Result<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let length = length.unwrap_or(0);
    if length > max {
        return Err(too_large(max));
    }
    match crate::web::free_bytes(staging) {
        Some(free) if free < length.saturating_add(DISK_FREE_MIN_BYTES) => Err(disk_full(staging)),
        _ => Ok(()),
    }
}

pub(super) async fn receive(body: Body, to: &FilePath, max: u64) -> Result<()> {
    let staging = to.parent().unwrap_or(to);
    let failed = |error: std::io::Error| {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return disk_full(staging);
        }
        tracing::error!(path = %to.display(), %error, "cannot store an upload");
        Failure::unavailable(StatusCode::SERVICE_UNAVAILABLE, "the server cannot store the file; its log has the reason")
    };
    let file = File::options().write(true).create_new(true).mode(crate::files::SECRET_MODE).open(to).await.map_err(failed)?;
    let mut file = BufWriter::with_capacity(CONTENT_PIECE_BYTES, file);
    let mut pieces = body.into_data_stream();
    let mut received: u64 = 0;
    loop {
        let next = tokio::time::timeout(UPLOAD_IDLE_MAX, pieces.next()).await;
        let broke = || Failure::invalid(format!("the upload broke off after {received} bytes; nothing was taken"));
        let Some(piece) = next.map_err(|_| broke())? else { break };
        let piece = piece.map_err(|_| broke())?;
        received = received.saturating_add(piece.len() as u64);
        if received > max {
            return Err(too_large(max));
        }
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    if received == 0 {
        return Err(Failure::field("body", "is empty; send the file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain() {
        for good in ["bash-5.1.8-9.el9.x86_64.rpm", "libc6_2.36-9+deb12u4_amd64.deb", "a~b.deb"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "../a.rpm", "a/b.rpm", ".hidden", "a b.rpm", "a\\b", "ä.rpm", &"x".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn an_upload_is_stored_within_its_limit_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let staged = Staged::new(dir.path());
        receive(Body::from(vec![7; 1000]), staged.path(), 1000).await.expect("stored");
        assert_eq!(std::fs::read(staged.path()).expect("there"), vec![7; 1000]);
        drop(staged);
        let staged = Staged::new(dir.path());
        let refused = receive(Body::from(vec![7; 1001]), staged.path(), 1000).await.expect_err("too large");
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        drop(staged);
        let staged = Staged::new(dir.path());
        let cut = futures::stream::iter([Ok(bytes::Bytes::from_static(b"half")), Err(std::io::Error::other("cut"))]);
        let refused = receive(Body::from_stream(cut), staged.path(), 1000).await.expect_err("cut");
        assert!(refused.message().contains("after 4 bytes"), "{}", refused.message());
        drop(staged);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0);
    }
}
