//! `vestibule deploy`.

use http::{Method, StatusCode};

use super::{Exit, complain, runtime, say};
use crate::admin::Deploy;
use crate::admin::client::{AskError, ask};
use crate::model::Event;
use crate::net::address::Address;

pub(super) fn deploy(address: &Address, deploy: &Deploy, json: bool) -> Exit {
    if let Err(refused) = deploy.check() {
        complain(&refused.to_string());
        return Exit::Usage;
    }
    let body = serde_json::to_vec(deploy).unwrap_or_default();
    let asked = match runtime() {
        Ok(runtime) => runtime.block_on(ask(address, Method::POST, "/v1/deploys", body)),
        Err(error) => {
            complain(&error.to_string());
            return Exit::Io;
        }
    };
    match asked {
        Ok(answer) if json => say(&String::from_utf8_lossy(&answer)),
        Ok(answer) => match serde_json::from_slice::<Event>(&answer) {
            Ok(event) => say(&format!(
                "recorded at {}: deploy {}\n",
                event.at, event.text
            )),
            Err(error) => {
                complain(&error.to_string());
                return Exit::Warn;
            }
        },
        Err(AskError::Status(_, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, detail)) => {
            complain(&detail);
            return Exit::Usage;
        }
        Err(error) => {
            complain(&error.to_string());
            return Exit::Unavailable;
        }
    }
    Exit::Ok
}
