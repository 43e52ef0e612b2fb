//! Markdown and MDX as sections: CommonMark with tables, footnotes, alerts and heading attributes.

mod flavour;
mod front_matter;
mod writer;

use super::{Document, ParseLimits, Section, outline::Outline};
use pulldown_cmark::{Options, Parser};
use writer::Writer;

/// Reads a Markdown page.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Document {
    page(path, text, limits, false)
}

/// Reads an MDX page: Markdown with imports, exports and components.
pub fn parse_mdx(path: &str, text: &str, limits: &ParseLimits) -> Document {
    page(path, text, limits, true)
}

/// Reads Markdown inside another source, such as a doc comment.
///
/// Text before the first heading becomes a section of level `base` without heading or anchors; a
/// heading of level 1 has level `base + 1`, and so on.
pub fn sections(markdown: &str, base: u8, limits: &ParseLimits) -> Vec<Section> {
    let mut sections = read(markdown, None, limits).into_sections();
    for section in &mut sections {
        section.level = section.level.saturating_add(base);
    }
    sections
}

fn page(path: &str, text: &str, limits: &ParseLimits, mdx: bool) -> Document {
    let (front, body) = front_matter::split(text);
    let outline = read(&flavour::plain(body, mdx), front.description, limits);
    outline.finish(path, front.title)
}

fn read(markdown: &str, lead: Option<String>, limits: &ParseLimits) -> Outline {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_GFM;
    let mut outline = Outline::new(limits);
    if let Some(lead) = lead {
        outline.prose(lead, 0);
    }
    let mut writer = Writer::new(&mut outline, limits);
    for event in Parser::new_ext(markdown, options) {
        writer.event(event);
    }
    writer.finish();
    outline
}

#[cfg(test)]
mod tests;
