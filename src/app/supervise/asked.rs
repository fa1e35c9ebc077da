//! What people ask of a running daemon: deploys and silences.

use std::time::Duration;

use super::Daemon;
use crate::admin::{Deploy, DeployRefused, SilenceCommand};
use crate::clock::Clock;
use crate::model::{About, Event, EventKind, Scope, Slo, Timestamp};
use crate::slo::booking::{Booked, Booking};
use crate::slo::silence::{Silence, SilenceRefused};

impl Daemon {
    pub(super) fn deploy(&mut self, deploy: Deploy) -> Result<Event, DeployRefused> {
        let upstreams = &self.around.resolved.proxy.upstreams;
        let Deploy {
            upstream,
            version,
            by,
            window_s,
        } = deploy;
        if !upstreams.iter().any(|known| known.name == upstream) {
            let known: Vec<&str> = upstreams
                .iter()
                .map(|upstream| upstream.name.as_str())
                .take(20)
                .collect();
            return Err(DeployRefused::UnknownUpstream {
                name: upstream,
                known: known.join(", "),
            });
        }
        let now = self.clock.now();
        let mut text = format!("{upstream} {version}");
        if let Some(by) = &by {
            text = format!("{text} by {by}");
        }
        if let Some(seconds) = window_s {
            let lasts = Duration::from_secs(seconds);
            let said = (by.as_deref().unwrap_or("deploy"), text.as_str());
            self.open_window(&upstream, &version, said, lasts, now)?;
            text = format!(
                "{text}, tickets muted for {}",
                humantime::format_duration(lasts)
            );
        }
        let event = Event {
            at: now,
            kind: EventKind::Deploy,
            text,
            scope: Scope {
                upstream: Some(upstream),
                version: Some(version),
                ..Scope::default()
            },
        };
        self.pipeline.note(event.clone());
        Ok(event)
    }

    /// Mutes tickets about the upstream's routes, and counts what their SLOs spend meanwhile.
    fn open_window(
        &mut self,
        upstream: &str,
        version: &str,
        said: (&str, &str),
        lasts: Duration,
        now: Timestamp,
    ) -> Result<(), DeployRefused> {
        let resolved = &self.around.resolved;
        let routes = resolved.proxy.routes.iter();
        let routes: Vec<&str> = routes
            .filter(|route| route.upstream == upstream)
            .map(|route| route.id.as_str())
            .collect();
        if routes.is_empty() {
            return Err(DeployRefused::NoRoutes(upstream.to_owned()));
        }
        let concerned = resolved.slos.iter();
        let slos = concerned
            .filter(|slo| match &slo.about {
                About::Route(route) => routes.contains(&route.as_str()),
                About::Upstream(name) => name == upstream,
                // What others of the owner or the ingress spend meanwhile is no doing of this deploy.
                About::Owner(_) | About::Limit(_) | About::Ingress | About::Parts => false,
            })
            .map(|slo| Booked {
                slo: slo.id.clone(),
                before: self.pipeline.counted(&slo.id).unwrap_or_default(),
                spent: None,
            })
            .collect();
        let scope = About::Upstream(upstream.to_owned()).scope();
        let is_promised = |slo: &Slo| slo.about.upstream() == Some(upstream);
        let scope = resolved.slos.iter().any(is_promised).then_some(&*scope);
        let opened = self.pipeline.quiet.change(|silences, bookings| {
            let silence = silences.open_window(
                upstream,
                (routes.iter().copied(), scope),
                said,
                lasts,
                now,
            )?;
            bookings.open(Booking {
                id: silence.id.clone(),
                upstream: upstream.to_owned(),
                version: version.to_owned(),
                from: now,
                until: None,
                slos,
            });
            Ok(())
        });
        opened.map_err(DeployRefused::Window)
    }

    pub(super) fn silence(&mut self, command: SilenceCommand) -> Result<Silence, SilenceRefused> {
        let now = self.clock.now();
        let (silence, text) = match command {
            SilenceCommand::Add(wish) => {
                let added = self
                    .pipeline
                    .quiet
                    .change(|silences, _| silences.add(wish, now).cloned())?;
                let text = format!("silence {} begins: {}", added.id, described(&added));
                (added, text)
            }
            SilenceCommand::Expire(id) => {
                let ended = self
                    .pipeline
                    .quiet
                    .change(|silences, _| silences.expire(&id))?;
                let text = format!("silence {} ended early: {}", ended.id, described(&ended));
                (ended, text)
            }
        };
        self.pipeline.note(operator(now, text));
        Ok(silence)
    }
}

/// `slo=a route!=b until 14:00:00Z by ada: a migration`
fn described(silence: &Silence) -> String {
    let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
    format!(
        "{} until {}Z by {}: {}",
        matchers.join(" "),
        silence.until.time_of_day(),
        silence.owner,
        silence.reason
    )
}

fn operator(at: Timestamp, text: String) -> Event {
    Event {
        at,
        kind: EventKind::Operator,
        scope: Scope::default(),
        text,
    }
}
