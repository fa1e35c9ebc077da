//! What happens in the demo, and when.

use std::time::Duration;

use http::Method;

use super::service::Service;
use crate::admin::Deploy;
use crate::admin::client::ask;
use crate::net::address::Address;

/// Traffic as it should be, before anything happens.
const CALM: Duration = Duration::from_secs(15);
/// From the bad deploy to its rollback.
const BROKEN: Duration = Duration::from_secs(100);
/// From the rollback to the next bad deploy.
const RECOVERED: Duration = Duration::from_secs(600);

/// Deploys a bad version and rolls it back, again and again.
pub(super) async fn play(checkout: Service, admin: Address) {
    announce(&admin, "3be01").await;
    tokio::time::sleep(CALM).await;
    loop {
        announce(&admin, "4f9c2").await;
        checkout.set_broken(true);
        tokio::time::sleep(BROKEN).await;
        announce(&admin, "3be01").await;
        checkout.set_broken(false);
        tokio::time::sleep(RECOVERED).await;
    }
}

/// What a pipeline does by `vestibule deploy`.
async fn announce(admin: &Address, version: &str) {
    let deploy = Deploy {
        upstream: "checkout".to_owned(),
        version: version.to_owned(),
        by: Some("ci".to_owned()),
        window_s: None,
    };
    let body = serde_json::to_vec(&deploy).unwrap_or_default();
    if let Err(error) = ask(admin, Method::POST, "/v1/deploys", body).await {
        tracing::error!(%error, "the deploy could not be announced");
    }
}
