//! The metrics page for whoever asks the admin API for it.

use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{MetricsPage, ReadMetrics};
use crate::export::exposition::{Format, Negotiated, render};
use crate::export::otlp::{Ask, Measured};
use crate::snapshot::Snapshot;

/// Makes pages of what the control thread answers.
pub(super) fn read(
    refresh: mpsc::Sender<oneshot::Sender<Arc<Snapshot>>>,
    measure: mpsc::Sender<Ask>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) -> ReadMetrics {
    Arc::new(move |accept| {
        let (refresh, measure) = (refresh.clone(), measure.clone());
        let snapshots = snapshots.clone();
        Box::pin(async move {
            let negotiated = Negotiated::from_accept(&accept);
            let measured = match negotiated.format {
                // Only there can distributions be shown, which are worth the work of putting them together.
                Format::Protobuf => ask(&measure).await,
                Format::Text | Format::OpenMetrics => ask(&refresh).await.map(alone),
            };
            let last = || snapshots.borrow().clone().map(alone);
            let measured = measured.or_else(last)?;
            // A large page takes milliseconds, in which the second must not wait.
            let body =
                tokio::task::spawn_blocking(move || render(negotiated.format, &measured)).await;
            Some(MetricsPage {
                content_type: HeaderValue::try_from(negotiated.content_type()).ok()?,
                body: body.ok()?.into(),
            })
        })
    })
}

async fn ask<T>(questions: &mpsc::Sender<oneshot::Sender<T>>) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    questions.send(reply).await.ok()?;
    answer.await.ok()
}

/// A snapshot without distributions.
fn alone(snapshot: Arc<Snapshot>) -> Measured {
    Measured {
        snapshot,
        durations: Vec::new(),
    }
}
