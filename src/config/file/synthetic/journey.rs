//! The requests of a journey.

use http::{HeaderName, HeaderValue};

use super::Expect;
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{
    CAPTURE, Count, FIELD_NAME, Flag, HEADER, JSON_PATH, METHOD, NAME, PATTERN, STEP_TARGET, TEXT,
};
use crate::config::outline::Rule;
use crate::probe::definition::{JsonPath, MOST_CAPTURES, Pattern};

/// `[[probe.step]]`
#[derive(Debug)]
pub(in crate::config) struct JourneyTable {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) target: Option<Located<String>>,
    pub(in crate::config) cleanup: Located<bool>,
    pub(in crate::config) method: Located<String>,
    pub(in crate::config) headers: Vec<Located<(HeaderName, HeaderValue)>>,
    pub(in crate::config) body: Option<Located<String>>,
    pub(in crate::config) redirects: Located<usize>,
    pub(in crate::config) captures: Vec<Item<CaptureTable>>,
    pub(in crate::config) expect: Expect,
}

impl Section for JourneyTable {
    const TITLE: &'static str = "`[[probe.step]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required("name", &NAME, "Its name, unique within the journey."),
            target: keys.required(
                "target",
                &STEP_TARGET,
                "A path at the probe's target, or a URL. `{{name}}` stands for what an earlier step captured: here \
                 percent-encoded, and as it is when the target begins with it. Headers, the body and the texts of \
                 `expect.headers`, `expect.body` and `expect.json` may hold it too; in a body whose `content-type` is JSON \
                 it is escaped as part of a string.",
            ),
            cleanup: keys.or(
                "cleanup",
                &Flag,
                false,
                "Done after all others, also when one of them failed, time ran out or the daemon stops, with a timeout of its \
                 own; left out only when what it needs was not captured. Its time is not the journey's. When it \
                 fails, so does a journey that was well.",
            ),
            method: keys.or("method", &METHOD, "GET".to_owned(), "The method."),
            headers: keys.list(
                "headers",
                &HEADER,
                50,
                "those of `http.headers`",
                "Headers to send beside those of the probe's `http.headers`, which they replace. Cookies that servers set are \
                 sent back within the journey.",
            ),
            body: keys.optional("body", &TEXT, "none is sent", "The body."),
            redirects: keys.or(
                "redirects",
                &Count(0..=20),
                0,
                "Redirects that are followed. With 0 a redirect's own status is judged.",
            ),
            captures: keys.tables(
                "capture",
                0,
                MOST_CAPTURES,
                "A value of the answer that later steps need. It is never shown.",
            ),
            expect: keys.table(
                "expect",
                "What must hold for the step to be well; `under` is for it alone. The keys are those of `probe.expect`.",
            ),
        }
    }
}

/// `[[probe.step.capture]]`
#[derive(Debug)]
pub(in crate::config) struct CaptureTable {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) json: Option<Located<JsonPath>>,
    pub(in crate::config) header: Option<Located<HeaderName>>,
    pub(in crate::config) matches: Option<Located<Pattern>>,
}

impl Section for CaptureTable {
    const TITLE: &'static str = "`[[probe.step.capture]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        keys.rule(Rule::AtMostOne("json", "header"));
        keys.rule(Rule::AtMostOne("json", "matches"));
        Self {
            name: keys.required("name", &CAPTURE, "What later steps call it: `{{name}}`."),
            json: keys.optional(
                "json",
                &JSON_PATH,
                "the body is not looked into",
                "The first thing that this finds in the body.",
            ),
            header: keys.optional(
                "header",
                &FIELD_NAME,
                "the body is looked at",
                "The header's first value; with `matches`, what that captures of it.",
            ),
            matches: keys.optional(
                "matches",
                &PATTERN,
                "all of the header",
                "What the first group of this regular expression captures of the body or the header, or all that matches \
                 when it has no group.",
            ),
        }
    }
}
