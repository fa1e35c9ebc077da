//! What a running daemon says of itself.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{Exit, complain, runtime};
use crate::admin::client::{AskError, ask};
use crate::net::address::Address;

/// Asks the daemon at `address` for `path`; gives the answer, as it came and read. Why there is none is said, and how to
/// exit is given.
pub(super) fn fetch<T: DeserializeOwned>(
    address: &Address,
    path: &str,
) -> Result<(Bytes, T), Exit> {
    let runtime = runtime().map_err(|error| {
        complain(&error.to_string());
        Exit::Io
    })?;
    let answer = runtime.block_on(ask(address, Method::GET, path, Vec::new()));
    let answer = answer.map_err(|error| match error {
        AskError::Status(_, StatusCode::NOT_FOUND, detail) => {
            complain(&detail);
            Exit::Usage
        }
        error => {
            complain(&error.to_string());
            Exit::Unavailable
        }
    })?;
    let read = serde_json::from_slice(&answer).map_err(|error| {
        complain(&format!(
            "the answer of {address} cannot be read, is it of another version? {error}"
        ));
        Exit::Unavailable
    })?;
    Ok((answer, read))
}
