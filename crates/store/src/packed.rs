//! Values kept as compressed JSON, for rows that are read whole and never searched.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::bytes;

/// zstd's own default: some 300 MB a second, a fifth of the size.
const LEVEL: i32 = 3;
/// Largest packed value once unpacked, bytes: an advisory that rebuilds a whole release has some megabytes.
const UNPACKED_MAX_BYTES: usize = 256 * 1024 * 1024;

/// A value as it is stored, and the SHA-256 of its JSON: equal values have equal digests, whatever the compressor does.
pub(crate) fn pack<T: Serialize + ?Sized>(what: &'static str, value: &T) -> StoreResult<(String, Vec<u8>)> {
    let json = serde_json::to_vec(value).map_err(|source| StoreError::Encode { what, source })?;
    let digest = drydock_domain::inventory::fingerprint(&json);
    let packed = zstd::bulk::compress(&json, LEVEL).map_err(|e| StoreError::Row { column: what, problem: e.to_string() })?;
    Ok((digest, packed))
}

/// The digest [`pack`] gives, without packing.
pub(crate) fn digest<T: Serialize + ?Sized>(what: &'static str, value: &T) -> StoreResult<String> {
    let json = serde_json::to_vec(value).map_err(|source| StoreError::Encode { what, source })?;
    Ok(drydock_domain::inventory::fingerprint(&json))
}

/// Reads a packed column.
pub(crate) fn unpacked<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> StoreResult<T> {
    let packed = bytes(row, column)?;
    let damaged = |problem: String| StoreError::Row { column, problem };
    let size = zstd::bulk::Decompressor::upper_bound(&packed).unwrap_or(UNPACKED_MAX_BYTES);
    let json = zstd::bulk::decompress(&packed, size.min(UNPACKED_MAX_BYTES)).map_err(|e| damaged(e.to_string()))?;
    serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))
}
