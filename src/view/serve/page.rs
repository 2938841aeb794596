//! The page: a frame that a script of ours fills with what it asks for.

use maud::{DOCTYPE, PreEscaped, html};

use super::http::Response;
use super::random;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page. Only its own style and script are used, which a number that nobody knows before marks
/// as such; it may ask this server, and nobody else.
pub fn page(title: &str) -> Response {
    let Ok(nonce) = random() else {
        return Response::refusal(500);
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · djr view" }
                link rel="icon" href="data:,";
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    div {
                        p.kicker { "djr view: what other bounds would leave" }
                        h1 { (title) }
                    }
                    div.total aria-live="polite" {
                        b #left { "…" }
                        span #of { "" }
                        span.aside #caveat { "" }
                    }
                    div.actions {
                        button #reset type="button" { "Bounds as stored" }
                        button #download type="button" { "Download recipe" }
                        button.main #write type="button" { "Write this recipe" }
                    }
                    p #said role="status" { "" }
                    nav {
                        button type="button" data-tab="bounds" aria-selected="true" { "Bounds" }
                        button type="button" data-tab="rows" aria-selected="false" { "Rows" }
                        button type="button" data-tab="clusters" aria-selected="false" { "Duplicates" }
                    }
                }
                main {
                    section #bounds { p.empty { "Reading…" } }
                    section #rows hidden {
                        div.choose {
                            label { "Rows " select #which { } }
                            button #back type="button" { "Before" }
                            span #where { "" }
                            button #on type="button" { "Next" }
                        }
                        ul.cards #list { }
                    }
                    section #clusters hidden {
                        div.choose {
                            button #cback type="button" { "Before" }
                            span #cwhere { "" }
                            button #con type="button" { "Next" }
                        }
                        div #clist { }
                    }
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Response {
        status: 200,
        content_type: "text/html; charset=utf-8",
        policy: Some(policy),
        body: page.into_string().into_bytes(),
    }
}
