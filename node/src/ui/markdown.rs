//! Prose of documentation as HTML that cannot do anything but be read.
//!
//! Documentation is other people's text: HTML in it is shown as text, pictures as their descriptions, and a link
//! leads to the web or nowhere. What is left is made by the renderer itself, so nothing needs to be cleaned
//! afterwards.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use reqwest::Url;

/// Renders Markdown; relative links are taken from `base`, the page the text stands on.
pub(super) fn to_html(markdown: &str, base: &str) -> String {
    let base = Url::parse(base).ok();
    // Whether the links around the present text were kept, innermost last.
    let mut links = Vec::new();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let events = Parser::new_ext(markdown, options).filter_map(|event| {
        Some(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::Heading { .. }) => Event::Html("<p><strong>".into()),
            Event::End(TagEnd::Heading(_)) => Event::Html("</strong></p>\n".into()),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            // A wide table scrolls by itself, and by keyboard.
            // Its columns are left as they come: aligning them takes inline styles, which the policy forbids.
            Event::Start(Tag::Table(_)) => Event::Html(
                "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>".into(),
            ),
            Event::End(TagEnd::Table) => Event::Html("</tbody></table></div>\n".into()),
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Start(Tag::Link { dest_url, .. }) => {
                let target = web_address(&dest_url, base.as_ref());
                links.push(target.is_some());
                link(&target?)
            }
            Event::End(TagEnd::Link) => {
                if !links.pop().unwrap_or_default() {
                    return None;
                }
                Event::Html("</a>".into())
            }
            other => other,
        })
    });
    let mut html = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut html, events);
    html
}

/// Where a link leads, if that is the web.
fn web_address(target: &str, base: Option<&Url>) -> Option<Url> {
    let url = match Url::parse(target) {
        Ok(url) => url,
        Err(_) => base?.join(target).ok()?,
    };
    matches!(url.scheme(), "https" | "http").then_some(url)
}

/// The start of a link to another site, which learns nothing from it.
fn link(target: &Url) -> Event<'static> {
    // A parsed URL holds no quote, angle bracket or space; only `&` and `'` are left to escape.
    let escaped = target.as_str().replace('&', "&amp;").replace('\'', "&#39;").replace('"', "&quot;");
    Event::Html(CowStr::from(format!("<a href=\"{escaped}\" rel=\"nofollow noopener noreferrer\">")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://kiln.example/docs/guide/retries.md";

    #[test]
    fn documentation_cannot_do_anything() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<iframe src='https://a.example'></iframe>",
            "[click](javascript:alert(1))",
            "[click](JaVaScRiPt:alert(1))",
            "[click](data:text/html;base64,PHNjcmlwdD4=)",
            "![x](https://a.example/pixel.png)",
            "<style>body{display:none}</style>",
            "[a](https://a.example/\"onmouseover=\"alert(1))",
            "<a href='javascript:alert(1)'>x</a>",
            "<svg onload=alert(1)>",
            "| <b onclick=alert(1)>a |\n| --- |\n| <script>b |",
            "`<script>` and ```\n<script>\n```",
        ] {
            let html = to_html(hostile, BASE);
            let tags: Vec<&str> = html.split('<').skip(1).collect();
            let known = [
                "p>",
                "/p>",
                "a href=\"https://a.example",
                "/a>",
                "code>",
                "/code>",
                "div class=\"wide\"",
                "table>",
                "thead>",
                "/thead>",
                "tbody>",
                "tr>",
                "th>",
                "td>",
                "/th>",
                "/td>",
                "/tr>",
                "/tbody>",
                "/table>",
                "/div>",
                "pre>",
                "/pre>",
                "code class=\"language-",
            ];
            assert!(
                tags.iter().all(|tag| known.iter().any(|known| tag.starts_with(known))),
                "{hostile} -> {html}"
            );
            assert!(!html.contains("\"onmouseover"), "{html}");
        }
    }

    #[test]
    fn links_lead_where_they_did_in_the_original() {
        let html =
            to_html("[a](../api.html#x) [b](https://b.example/?q=1&r=2) [c](mailto:a@b.example)", BASE);
        assert!(html.contains("href=\"https://kiln.example/docs/api.html#x\""), "{html}");
        assert!(html.contains("href=\"https://b.example/?q=1&amp;r=2\""), "{html}");
        assert!(html.ends_with("c</p>\n"), "{html}");
        // Without a place on the web a relative link leads nowhere.
        assert_eq!(to_html("[a](b.md)", "guide/retries.md"), "<p>a</p>\n");
    }

    #[test]
    fn text_lists_and_tables_are_rendered() {
        assert_eq!(
            to_html("- *a*\n- `b`", BASE),
            "<ul>\n<li><em>a</em></li>\n<li><code>b</code></li>\n</ul>\n"
        );
        let table = to_html("| a | b |\n| --- | --- |\n| 1 | 2 |", BASE);
        assert!(table.contains("<th>a</th>") && table.contains("<td>2</td>"), "{table}");
        assert!(to_html("# Loud", BASE).contains("<strong>Loud</strong>"));
    }
}
