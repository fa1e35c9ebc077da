//! The lines of a file: requests, and what is said of their responses.

/// A request, and its response if anything is said of that.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The line of its method, from 1.
    pub(super) line: usize,
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) form: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) options: Vec<(String, String)>,
    pub(super) basic: Option<(String, String)>,
    pub(super) body: Option<String>,
    pub(super) body_is_json: bool,
    pub(super) response: Option<Response>,
    /// What cannot be read here.
    pub(super) left: Vec<String>,
}

/// What is said of a response.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// A number, or `*`.
    pub(super) status: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) captures: Vec<(String, String)>,
    pub(super) asserts: Vec<String>,
    /// All of the body: one line of text, or something else.
    pub(super) body: Option<Result<String, ()>>,
}

/// Which list a line belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Headers,
    Query,
    Form,
    Cookies,
    Options,
    Basic,
    Captures,
    Asserts,
    Unknown,
}

/// Every request of a file.
///
/// # Errors
/// The line that is none of Hurl's, from 1, and why.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = Section::Headers;
    let mut lines = (1..).zip(text.lines()).peekable();
    while let Some((number, raw)) = lines.next() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((method, url)) = request(line) {
            section = Section::Headers;
            entries.push(Entry {
                line: number,
                method: method.to_owned(),
                url: url.to_owned(),
                ..Entry::default()
            });
            continue;
        }
        let entry = entries.last_mut().ok_or_else(|| {
            (
                number,
                "a request like `GET https://shop.example/` comes first".to_owned(),
            )
        })?;
        if let Some(status) = response(line) {
            section = Section::Headers;
            entry.response = Some(Response {
                status: status.to_owned(),
                ..Response::default()
            });
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            && name.chars().all(|c| c.is_ascii_alphabetic())
            && !name.is_empty()
        {
            section = named(name);
            if section == Section::Unknown {
                entry
                    .left
                    .push(format!("[{name}]: there is nothing like it here"));
            }
            continue;
        }
        // A body comes last, after whatever sections there are.
        let asserts = section == Section::Asserts || section == Section::Captures;
        if !asserts && begins_body(line) {
            let (body, is_json) = body(line, number, &mut lines)?;
            match &mut entry.response {
                None => {
                    entry.body_is_json = is_json;
                    match body {
                        Ok(text) => entry.body = Some(text),
                        Err(kind) => entry.left.push(format!("a body of {kind}")),
                    }
                }
                Some(response) => {
                    let whole = body
                        .ok()
                        .filter(|_| !is_json && line.starts_with('`') && !line.starts_with("```"));
                    response.body = Some(whole.ok_or(()));
                }
            }
            continue;
        }
        put(entry, section, line).ok_or_else(|| {
            (
                number,
                format!("`{line}` is no line of Hurl's that is known here"),
            )
        })?;
    }
    Ok(entries)
}

fn request(line: &str) -> Option<(&str, &str)> {
    let (method, url) = line.split_once(char::is_whitespace)?;
    let is_method = !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase());
    let url = url.trim();
    let is_url = url.starts_with("http://") || url.starts_with("https://") || url.starts_with("{{");
    (is_method && is_url && method != "HTTP").then_some((method, url))
}

fn response(line: &str) -> Option<&str> {
    let (version, status) = line.split_once(char::is_whitespace)?;
    let status = status.trim();
    let is_version = version == "HTTP" || version.starts_with("HTTP/");
    let is_status =
        status == "*" || status.len() == 3 && status.chars().all(|c| c.is_ascii_digit());
    (is_version && is_status).then_some(status)
}

fn named(name: &str) -> Section {
    match name {
        "Query" | "QueryStringParams" => Section::Query,
        "Form" | "FormParams" => Section::Form,
        "Cookies" => Section::Cookies,
        "Options" => Section::Options,
        "BasicAuth" => Section::Basic,
        "Captures" => Section::Captures,
        "Asserts" => Section::Asserts,
        _ => Section::Unknown,
    }
}

fn put(entry: &mut Entry, section: Section, line: &str) -> Option<()> {
    if section == Section::Asserts {
        entry.response.as_mut()?.asserts.push(line.to_owned());
        return Some(());
    }
    if section == Section::Unknown {
        return Some(());
    }
    let (name, value) = line.split_once(':')?;
    let pair = (name.trim().to_owned(), value.trim().to_owned());
    match (section, &mut entry.response) {
        (Section::Captures, Some(response)) => response.captures.push(pair),
        (Section::Headers, Some(response)) => response.headers.push(pair),
        (Section::Headers, None) => entry.headers.push(pair),
        (Section::Query, None) => entry.query.push(pair),
        (Section::Form, None) => entry.form.push(pair),
        (Section::Cookies, None) => entry.cookies.push(pair),
        (Section::Options, None) => entry.options.push(pair),
        (Section::Basic, None) => entry.basic = Some(pair),
        _ => return None,
    }
    Some(())
}

fn begins_body(line: &str) -> bool {
    line.starts_with(['{', '[', '"', '`', '<'])
        || ["base64,", "hex,", "file,"]
            .iter()
            .any(|kind| line.starts_with(kind))
}

/// The body that begins with `first`: its text, or what it is instead; and whether it is JSON.
#[expect(clippy::type_complexity, reason = "read once, in one place")]
fn body<'a>(
    first: &str,
    number: usize,
    lines: &mut std::iter::Peekable<impl Iterator<Item = (usize, &'a str)>>,
) -> Result<(Result<String, &'static str>, bool), (usize, String)> {
    if first.starts_with("```") {
        let mut text = String::new();
        for (_, line) in lines.by_ref() {
            if line.trim() == "```" {
                return Ok((Ok(text), first.starts_with("```json")));
            }
            text.push_str(line);
            text.push('\n');
        }
        return Err((
            number,
            "this text has no end: ``` on a line of its own".to_owned(),
        ));
    }
    if let Some(text) = first.strip_prefix('`') {
        let text = text.strip_suffix('`').unwrap_or(text);
        return Ok((Ok(text.to_owned()), false));
    }
    if first.starts_with('<') {
        while lines.peek().is_some_and(|(_, line)| {
            response(line.trim()).is_none() && request(line.trim()).is_none()
        }) {
            lines.next();
        }
        return Ok((Err("XML"), false));
    }
    if !first.starts_with(['{', '[', '"']) {
        return Ok((Err("bytes or a file"), false));
    }
    let mut depth = Depth::default();
    let mut text = first.to_owned();
    depth.take(first);
    while depth.is_open() {
        let Some((_, line)) = lines.next() else {
            return Err((number, "this JSON has no end".to_owned()));
        };
        text.push('\n');
        text.push_str(line);
        depth.take(line);
    }
    Ok((Ok(text), true))
}

/// How many brackets are open, those in texts aside.
#[derive(Default)]
struct Depth {
    open: u64,
    in_text: bool,
    escaped: bool,
}

impl Depth {
    fn take(&mut self, line: &str) {
        for c in line.chars() {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' if self.in_text => self.escaped = true,
                '"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                '{' | '[' => self.open += 1,
                '}' | ']' => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
    }

    const fn is_open(&self) -> bool {
        self.open > 0 || self.in_text
    }
}
