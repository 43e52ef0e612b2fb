//! Tables as Markdown rows, so that a model reads cells beside their headings.

use super::{inline, site, tag::Tag, tree::Tree};

/// Columns of one row that are kept.
const COLUMNS: usize = 64;

/// A table's rows as Markdown, and the bytes of link text in it. Only for tables without blocks in them.
pub(super) fn rows(tree: &Tree<'_>, index: usize) -> (String, u32) {
    let end = tree.nodes.get(index).map_or(index, |node| node.end);
    let (mut out, mut links) = (String::new(), 0_u32);
    let mut row: Vec<String> = Vec::new();
    let (mut headings, mut first) = (true, true);
    let mut at = index + 1;
    while let Some(node) = tree.nodes.get(at).filter(|_| at < end) {
        match node.tag {
            Some(_) if site::is_hidden(tree, at) => {
                at = node.end;
                continue;
            }
            Some(Tag::Caption) => {
                let caption = inline::line(tree, at, true);
                if !caption.text.is_empty() {
                    out.push_str(&caption.text);
                    out.push_str("\n\n");
                }
                at = node.end;
                continue;
            }
            Some(Tag::Tr) => {
                write_row(&mut out, &mut row, headings, &mut first);
                headings = true;
            }
            Some(tag @ (Tag::Td | Tag::Th)) => {
                headings &= tag == Tag::Th;
                if row.len() < COLUMNS {
                    let cell = inline::line(tree, at, true);
                    links = links.saturating_add(cell.link_bytes);
                    row.push(if cell.text.contains('|') { cell.text.replace('|', "\\|") } else { cell.text });
                }
                at = node.end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    write_row(&mut out, &mut row, headings, &mut first);
    out.truncate(out.trim_end().len());
    (out, links)
}

fn write_row(out: &mut String, row: &mut Vec<String>, headings: bool, first: &mut bool) {
    if row.iter().all(String::is_empty) {
        row.clear();
        return;
    }
    out.push_str("| ");
    out.push_str(&row.join(" | "));
    out.push_str(" |\n");
    if *first && headings {
        out.push('|');
        out.push_str(&" --- |".repeat(row.len()));
        out.push('\n');
    }
    *first = false;
    row.clear();
}
