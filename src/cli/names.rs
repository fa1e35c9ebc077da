//! `vestibule names`: the names that a daemon's traffic depends on, and who says what of them.

use std::fmt::Write as _;

use bytes::Bytes;
use clap::Args;

use super::daemon::fetch;
use super::outcome::json;
use super::{Connect, Exit, say};
use crate::snapshot::{NameView, SaidView, Snapshot};
use crate::tui::fmt;

#[derive(Debug, Args)]
pub(super) struct NamesArguments {
    #[command(flatten)]
    connect: Connect,
    /// Everything that is known of them, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn names(arguments: &NamesArguments) -> Exit {
    let address = &arguments.connect.connect;
    let (_, snapshot): (Bytes, Snapshot) = match fetch(address, "/v1/snapshot") {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    say(&if arguments.json {
        json(&snapshot.names)
    } else {
        text(&snapshot.names)
    });
    if snapshot.names.iter().any(is_stale) {
        Exit::Warn
    } else {
        Exit::Ok
    }
}

/// Whether somebody goes by what the authority dropped.
fn is_stale(name: &NameView) -> bool {
    let resolvers = name.resolvers.iter();
    let mut dropped = name.dropped.iter().filter(|it| it.past_s.is_some());
    resolvers
        .filter(|said| said.stale_s.is_some() || said.kept_too_long)
        .count()
        > 0
        || dropped.any(|it| it.kept > 0 || it.connections > 0)
}

fn text(names: &[NameView]) -> String {
    if names.is_empty() {
        return "no names are looked at: `enabled` in [dns] switches it on\n".to_owned();
    }
    let mut text = String::new();
    for name in names {
        put(
            &mut text,
            format_args!("{}  ({})\n", fmt::visible(&name.name), name.uses.join(", ")),
        );
        for (who, said) in [
            ("resolver", &name.resolvers),
            ("authority", &name.authorities),
        ] {
            for said in said {
                put(&mut text, format_args!("  {who:<9}  {}\n", line(said)));
            }
        }
        if name.ttl_forgotten
            && let (Some(lowest), Some(highest)) = (name.ttl_lowest_s, name.ttl_highest_s)
        {
            put(
                &mut text,
                format_args!(
                    "  its time to live was lowered from {highest} s to {lowest} s, and nothing has moved for a day: \
                     forgotten?\n"
                ),
            );
        }
        if let Some((newest, behind @ 1..)) = name.gauges().serial {
            put(
                &mut text,
                format_args!(
                    "  authorities differ: one is {behind} behind serial number {newest}\n"
                ),
            );
        }
        if name.looked_at.is_none() {
            text.push_str("  not looked at yet\n");
        } else if name.authorities.is_empty() {
            text.push_str("  no authority for its zone was found\n");
        }
        for dropped in &name.dropped {
            let past = match dropped.past_s {
                Some(past) => format!("nobody should go by it for {past} s"),
                None => format!("may be kept for {} s", dropped.ttl_s),
            };
            let mut who = String::new();
            if dropped.connections > 0 {
                put(
                    &mut who,
                    format_args!(", {} connections of clients since", dropped.connections),
                );
            }
            if dropped.kept > 0 {
                put(
                    &mut who,
                    format_args!(", {} of our own are kept to it", dropped.kept),
                );
            }
            put(
                &mut text,
                format_args!(
                    "  dropped    {}  at {}; {past}{who}\n",
                    dropped.address, dropped.at
                ),
            );
        }
    }
    text
}

/// What one server says.
fn line(said: &SaidView) -> String {
    let server = &said.server;
    if let Some(error) = &said.error {
        return format!("{server}  no answer: {}", fmt::visible(error));
    }
    let addresses = match said.addresses.as_slice() {
        [] => said.rcode.clone().unwrap_or_default(),
        all => all.join(" "),
    };
    let mut line = format!("{server}  {addresses}");
    if let Some(ttl) = said.ttl_s {
        put(&mut line, format_args!("  ttl {ttl} s"));
    }
    if said.authoritative {
        line.push_str("  aa");
    }
    if let Some(serial) = said.serial {
        put(&mut line, format_args!("  serial {serial}"));
    }
    for (code, text) in &said.extended_errors {
        put(
            &mut line,
            format_args!("  extended error {code} {}", fmt::visible(text)),
        );
    }
    if let Some(stale) = said.stale_s {
        put(
            &mut line,
            format_args!("  STALE, {stale} s past its time to live"),
        );
    }
    put(
        &mut line,
        format_args!("  {:.1} ms", said.rtt_us as f64 / 1_000.0),
    );
    line
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
