//! The report: one HTML file with everything in it. It holds no script and refers to nothing
//! outside of itself; its content security policy forbids both.

mod analysis;
mod cuts;
mod plot;
mod run;
mod text;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::plot::value_of;
use self::text::{count, plain, shorten};
use super::rows::ShownRow;
use crate::record::Settings;
use crate::report::table::thousands;
use crate::report::tokens::special_tokens;
use crate::view::gather::Bound;

pub use analysis::analysis_page;
pub(super) use run::reread;
pub use run::run_page;

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded, sent or run; styles and pictures that are part of the page may be used.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// How many characters of a caption are shown, once it is opened.
const CAPTION: usize = 4000;

/// How many characters of a caption are seen before it is opened.
const CLOSED: usize = 220;

/// How many characters of a line that is no row are shown.
const RAW: usize = 1000;

/// A part of the page, with its entry in the table of contents.
struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

impl Bound {
    /// As the recipe writes it; what was found in the data stands behind.
    fn shown(&self, unit: &str) -> String {
        let value = value_of(unit, self.value);
        match &self.written {
            Some(written) if self.from_data => format!("{written} ({value})"),
            Some(written) => written.clone(),
            None => value,
        }
    }
}

/// What stands at the head of the page.
struct Head<'a> {
    kicker: &'a str,
    title: &'a str,
    /// Numbers in large type: class, number, what it is.
    figures: Vec<(&'static str, String, String)>,
    /// What stands below them.
    below: Markup,
    notes: &'a [String],
}

fn page(head: &Head<'_>, sections: &[Section]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "djr " (version) };
                title { (head.title) " · djr report" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                div.wrap {
                    header.top #top {
                        div."bar-top" {
                            div {
                                p.kicker { (head.kicker) }
                                h1 { (head.title) }
                            }
                            (theme())
                        }
                        div.figures {
                            @for (class, number, what) in &head.figures {
                                div class=(if number == "0" { "" } else { class }) { b { (number) } span { (what) } }
                            }
                        }
                        (head.below)
                        @if !head.notes.is_empty() {
                            div.notes role="note" {
                                @for note in head.notes { p { (note) } }
                            }
                        }
                        nav.toc aria-label="Contents" {
                            @for section in sections {
                                a href={ "#" (section.id) } { (section.title) }
                            }
                        }
                    }
                    main #main {
                        @for section in sections {
                            section id=(section.id) aria-labelledby={ (section.id) "-title" } {
                                h2 id={ (section.id) "-title" } { (section.title) }
                                (section.body)
                            }
                        }
                    }
                    footer {
                        p {
                            "Made by djr " (version) ". This page holds everything it shows: no \
                             script, nothing loaded from elsewhere."
                        }
                        p { a href="#top" { "Back to the top" } }
                    }
                }
            }
        }
    };
    plain(&page.into_string())
}

fn theme() -> Markup {
    html! {
        fieldset.theme {
            legend { "Colours" }
            input type="radio" name="theme" id="theme-auto" checked;
            label for="theme-auto" { "Auto" }
            input type="radio" name="theme" id="theme-light";
            label for="theme-light" { "Light" }
            input type="radio" name="theme" id="theme-dark";
            label for="theme-dark" { "Dark" }
        }
    }
}

/// A row: its pictures, a value, its caption, where it stands.
struct Card<'a> {
    class: &'static str,
    value: String,
    reason: Option<&'a str>,
    row: Option<&'a ShownRow>,
    /// Shown where the row has no text: the line as it was read.
    raw: Option<&'a str>,
}

fn card(card: &Card<'_>) -> Markup {
    let mut place = Vec::new();
    if let Some(row) = card.row {
        if let Some(id) = &row.id {
            place.push(format!("id {}", shorten(id, 60)));
        }
        if row.origin.line > 0 {
            place.push(format!("line {}", thousands(row.origin.line)));
        }
        if row.more_pictures > 0 {
            place.push(format!("{} more", count(row.more_pictures as u64, "image")));
        }
    }
    html! {
        li class={ "card " (card.class) } {
            @if let Some(row) = card.row { (pictures(row)) }
            @if !card.value.is_empty() { div.value { (card.value) } }
            @if let Some(reason) = card.reason { (caption("reason", reason, CAPTION)) }
            @match card.row.map(|row| row.text.as_deref()) {
                Some(Some("")) => { div.caption.empty { "an empty text" } }
                Some(Some(text)) => { (caption("caption", text, CAPTION)) }
                Some(None) => {
                    @if let Some(raw) = card.raw { (caption("caption code", raw, RAW)) }
                }
                None => { div.caption.empty { "the row could not be read back" } }
            }
            div.where { (place.join(" · ")) }
        }
    }
}

/// A text that is cut after some lines, and opens by a click or a key.
fn caption(class: &str, text: &str, most: usize) -> Markup {
    let text = shorten(text, most);
    let is_long = text.chars().count() > CLOSED || text.lines().count() > LINES_CLOSED;
    html! {
        @if is_long {
            details class=(class) dir="auto" { summary { span { (text) } } }
        } @else {
            div class=(class) dir="auto" { (text) }
        }
    }
}

/// How many lines of a caption are seen before it is opened.
const LINES_CLOSED: usize = 6;

fn pictures(row: &ShownRow) -> Markup {
    let class = if row.pictures.len() > 1 {
        "pictures several"
    } else {
        "pictures"
    };
    let alt = shorten(row.text.as_deref().unwrap_or(""), 80);
    html! {
        @if !row.pictures.is_empty() {
            div class=(class) {
                @for picture in &row.pictures {
                    @match picture {
                        Ok(thumb) => {
                            img src=(thumb.address) width=(thumb.width) height=(thumb.height)
                                alt=(alt) loading="lazy";
                        }
                        Err(why) => { span.none { "no picture: " (why) } }
                    }
                }
            }
        }
    }
}

fn cards(cards: &[Card<'_>]) -> Markup {
    html! {
        ul.cards { @for one in cards { (card(one)) } }
    }
}

/// `<dt>` and `<dd>` of facts.
fn pairs(facts: &[(&str, String)]) -> Markup {
    html! {
        dl.pairs {
            @for (name, value) in facts { dt { (name) } dd { (value) } }
        }
    }
}

/// What special tokens count as in lengths of texts, as a sentence.
fn tokens_told(recipe: &Settings) -> String {
    let tokens = [&recipe.image_special_token, &recipe.eoc_special_token];
    let told = special_tokens(tokens.map(String::as_str));
    let mut letters = told.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => told,
    }
}

/// The steps of a resolved recipe, each on a line with the parameters that are set.
fn recipe_steps(recipe: &Settings) -> Markup {
    let plain = |key: &str, value: &serde_json::Value| match key {
        "text_key" | "image_key" => true,
        "min_closed_interval" | "max_closed_interval" => *value == true,
        "reversed_range" => *value == false,
        _ => value.is_null(),
    };
    let set = |params: &serde_json::Map<String, serde_json::Value>| {
        let set = params.iter().filter(|(key, value)| !plain(key, value));
        let set: Vec<String> = set.map(|(key, value)| format!("{key}: {value}")).collect();
        shorten(&set.join(", "), 1000)
    };
    html! {
        ol.steps {
            @for step in &recipe.process {
                li { code { (step.op) } " " span.code { (set(&step.params)) } }
            }
        }
    }
}
