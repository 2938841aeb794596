//! The report: one HTML file with everything in it. It holds no script and refers to nothing
//! outside of itself; its content security policy forbids both.

mod analysis;
mod plot;
mod run;
mod text;

use std::fmt::Write as _;

use self::text::{count, esc, shorten};
use super::rows::ShownRow;
use crate::record::Settings;
use crate::report::table::thousands;

pub use analysis::analysis_page;
pub use run::run_page;

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded, sent or run; styles and pictures that are part of the page may be used.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// How many characters of a caption are shown.
const CAPTION: usize = 280;

/// How many characters of a line that is no row are shown.
const RAW: usize = 160;

/// A part of the page, with its entry in the table of contents.
struct Section {
    id: &'static str,
    title: &'static str,
    body: String,
}

/// What stands at the head of the page.
struct Head<'a> {
    kicker: &'a str,
    title: &'a str,
    /// Numbers in large type: class, number, what it is.
    figures: Vec<(&'static str, String, String)>,
    /// What stands below them.
    below: String,
    notes: &'a [String],
}

fn page(head: &Head<'_>, sections: &[Section]) -> String {
    let mut out = String::with_capacity(1 << 20);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"generator\" content=\"djr {}\">\n<title>{} · djr report</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the content</a>\n<div class=\"wrap\">\n\
         <header class=\"top\">\n<div class=\"bar-top\"><div><p class=\"kicker\">{}</p><h1>{}</h1></div>\n\
         {THEME}</div>\n",
        env!("CARGO_PKG_VERSION"),
        esc(head.title),
        esc(head.kicker),
        esc(head.title),
    );
    out.push_str("<div class=\"figures\">");
    for (class, number, what) in &head.figures {
        let _ = write!(
            out,
            "<div class=\"{class}\"><b>{}</b><span>{}</span></div>",
            esc(number),
            esc(what)
        );
    }
    out.push_str("</div>\n");
    out.push_str(&head.below);
    notes(head.notes, &mut out);
    out.push_str("<nav class=\"toc\" aria-label=\"Contents\">");
    for section in sections {
        let _ = write!(out, "<a href=\"#{}\">{}</a>", section.id, section.title);
    }
    out.push_str("</nav>\n</header>\n<main id=\"main\">\n");
    for section in sections {
        let _ = write!(
            out,
            "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n<h2 id=\"{0}-title\">{1}</h2>\n{2}\n</section>\n",
            section.id, section.title, section.body
        );
    }
    let _ = write!(
        out,
        "</main>\n<footer>Made by djr {}. This page holds everything it shows: no script, nothing \
         loaded from elsewhere.</footer>\n</div>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    out
}

const THEME: &str = "<fieldset class=\"theme\"><legend>Colours</legend>\
    <input type=\"radio\" name=\"theme\" id=\"theme-auto\" checked><label for=\"theme-auto\">Auto</label>\
    <input type=\"radio\" name=\"theme\" id=\"theme-light\"><label for=\"theme-light\">Light</label>\
    <input type=\"radio\" name=\"theme\" id=\"theme-dark\"><label for=\"theme-dark\">Dark</label>\
    </fieldset>";

fn notes(notes: &[String], out: &mut String) {
    if notes.is_empty() {
        return;
    }
    out.push_str("<div class=\"notes\" role=\"note\">");
    for note in notes {
        let _ = write!(out, "<p>{}</p>", esc(note));
    }
    out.push_str("</div>\n");
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

fn card(card: &Card<'_>) -> String {
    let mut out = format!("<li class=\"card {}\">", card.class);
    if let Some(row) = card.row {
        pictures(row, &mut out);
    }
    if !card.value.is_empty() {
        let _ = write!(out, "<div class=\"value\">{}</div>", esc(&card.value));
    }
    if let Some(reason) = card.reason {
        let _ = write!(
            out,
            "<div class=\"reason\">{}</div>",
            esc(&shorten(reason, CAPTION))
        );
    }
    match card.row.map(|row| row.text.as_deref()) {
        Some(Some("")) => out.push_str("<div class=\"caption empty\">an empty text</div>"),
        Some(Some(text)) => {
            let _ = write!(
                out,
                "<div class=\"caption\" dir=\"auto\">{}</div>",
                esc(&shorten(text, CAPTION))
            );
        }
        Some(None) => {
            if let Some(raw) = card.raw {
                let _ = write!(
                    out,
                    "<div class=\"caption code\">{}</div>",
                    esc(&shorten(raw, RAW))
                );
            }
        }
        None => out.push_str("<div class=\"caption empty\">the row could not be read back</div>"),
    }
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
    let _ = write!(
        out,
        "<div class=\"where\">{}</div></li>",
        esc(&place.join(" · "))
    );
    out
}

fn pictures(row: &ShownRow, out: &mut String) {
    if row.pictures.is_empty() {
        return;
    }
    let several = if row.pictures.len() > 1 {
        " several"
    } else {
        ""
    };
    let _ = write!(out, "<div class=\"pictures{several}\">");
    let alt = row.text.as_deref().unwrap_or("");
    for picture in &row.pictures {
        match picture {
            Ok(thumb) => {
                let _ = write!(
                    out,
                    "<img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\" loading=\"lazy\">",
                    thumb.address,
                    thumb.width,
                    thumb.height,
                    esc(&shorten(alt, 80))
                );
            }
            Err(why) => {
                let _ = write!(out, "<span class=\"none\">no picture: {}</span>", esc(why));
            }
        }
    }
    out.push_str("</div>");
}

fn cards(cards: &[Card<'_>]) -> String {
    let list: String = cards.iter().map(card).collect();
    format!("<ul class=\"cards\">{list}</ul>")
}

/// `<dt>` and `<dd>` of facts.
fn pairs(facts: &[(&str, String)]) -> String {
    let mut out = String::from("<dl class=\"pairs\">");
    for (name, value) in facts {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", esc(name), esc(value));
    }
    out.push_str("</dl>");
    out
}

/// The steps of a resolved recipe, each on a line with the parameters that are set.
fn recipe_steps(recipe: &Settings) -> String {
    let mut out = String::from("<ol class=\"steps\">");
    for step in &recipe.process {
        let plain = |key: &str, value: &serde_json::Value| match key {
            "text_key" | "image_key" => true,
            "min_closed_interval" | "max_closed_interval" => *value == true,
            "reversed_range" => *value == false,
            _ => value.is_null(),
        };
        let set: Vec<String> = step
            .params
            .iter()
            .filter(|(key, value)| !plain(key, value))
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        let _ = write!(
            out,
            "<li><code>{}</code> <span class=\"code\">{}</span></li>",
            esc(&step.op),
            esc(&shorten(&set.join(", "), 1000))
        );
    }
    out.push_str("</ol>");
    out
}
