//! Jupyter notebooks (nbformat 3 and 4): Markdown cells as Markdown, code cells as code of the kernel's language.
//!
//! Of what a cell printed only short text is kept; pictures, tables for the browser and errors are
//! left out. Anchors are those of Jupyter: the heading with hyphens for its blanks.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::outline::{Outline, language};
use super::{Document, ParseError, ParseLimits, markdown};

/// Printed text up to here is kept, in bytes.
const OUTPUT_BYTES_MAX: usize = 500;

/// Reads a notebook.
///
/// # Errors
/// [`ParseError::Syntax`] when the text is no JSON of a notebook.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Result<Document, ParseError> {
    let notebook: Notebook = serde_json::from_str(text)
        .map_err(|error| ParseError::Syntax { reason: format!("no notebook in JSON: {error}") })?;
    let mut outline = Outline::new(limits);
    let written_in = language(notebook.metadata.language());
    let pages = notebook.worksheets.into_iter().flat_map(|sheet| sheet.cells);
    for cell in notebook.cells.into_iter().chain(pages) {
        let source = cell.text();
        match cell.kind.as_str() {
            "markdown" => prose(&mut outline, &source, limits),
            "heading" => {
                let level = cell.level.clamp(1, 6);
                outline.open(level, &source, vec![anchor(&source)]);
            }
            "code" => {
                let own = cell.language.as_deref().map(language).filter(|own| !own.is_empty());
                outline.code(own.unwrap_or_else(|| written_in.clone()), source.trim_end().to_owned());
                for output in cell.outputs.iter().filter_map(Output::shown) {
                    outline.code(String::new(), output);
                }
            }
            _ => {}
        }
    }
    Ok(outline.finish(path, notebook.metadata.title))
}

/// Whether a text is a notebook under another name.
pub(super) fn is_notebook(text: &str) -> bool {
    text.starts_with('{') && text.contains("\"nbformat\"") && text.contains("\"cells\"")
}

fn prose(outline: &mut Outline, source: &str, limits: &ParseLimits) {
    let mut sections = markdown::sections(source, 0, limits);
    for section in &mut sections {
        if !section.heading.is_empty() {
            section.anchors = vec![anchor(&section.heading)];
        }
    }
    outline.append(sections);
}

fn anchor(heading: &str) -> String {
    heading.trim().replace(' ', "-")
}

#[derive(Deserialize)]
struct Notebook {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    cells: Vec<Cell>,
    /// Where nbformat 3 has its cells.
    #[serde(default)]
    worksheets: Vec<Worksheet>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    title: Option<String>,
    language_info: Option<Language>,
    kernelspec: Option<Language>,
}

#[derive(Deserialize)]
struct Language {
    #[serde(default)]
    name: String,
    #[serde(default)]
    language: String,
}

impl Metadata {
    fn language(&self) -> &str {
        let named = self.language_info.as_ref().map(|info| info.name.as_str());
        let kernel = self.kernelspec.as_ref().map(|kernel| kernel.language.as_str());
        named.filter(|name| !name.is_empty()).or(kernel).unwrap_or("python")
    }
}

#[derive(Deserialize)]
struct Worksheet {
    #[serde(default)]
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(rename = "cell_type", default)]
    kind: String,
    #[serde(default)]
    source: Text,
    /// The source of code in nbformat 3.
    #[serde(default)]
    input: Text,
    language: Option<String>,
    #[serde(default)]
    level: u8,
    #[serde(default)]
    outputs: Vec<Output>,
}

impl Cell {
    fn text(&self) -> String {
        let source = self.source.joined();
        if source.is_empty() { self.input.joined() } else { source }
    }
}

#[derive(Deserialize)]
struct Output {
    #[serde(rename = "output_type", default)]
    kind: String,
    #[serde(default)]
    text: Text,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    #[serde(rename = "text/plain", default)]
    plain: Text,
}

impl Output {
    /// The text of an output that is worth keeping: short, and no address of an object in memory.
    fn shown(&self) -> Option<String> {
        let text = match self.kind.as_str() {
            "stream" | "pyout" => self.text.joined(),
            "execute_result" => self.data.plain.joined(),
            _ => return None,
        };
        let text = text.trim_end();
        let kept = text.len() <= OUTPUT_BYTES_MAX && !text.contains(" at 0x") && !text.contains('\u{1b}');
        (kept && !text.trim().is_empty()).then(|| text.to_owned())
    }
}

/// Text as one string or as its lines.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Text {
    One(String),
    Lines(Vec<String>),
    Other(IgnoredAny),
    #[default]
    None,
}

impl Text {
    fn joined(&self) -> String {
        match self {
            Self::One(text) => text.clone(),
            Self::Lines(lines) => lines.concat(),
            Self::Other(_) | Self::None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::ingest::parse::{ParseError, ParseLimits, Piece};

    const NOTEBOOK: &str = r###"{
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": { "kernelspec": { "name": "ir", "language": "R" }, "language_info": { "name": "python", "version": "3.11" } },
        "cells": [
            { "cell_type": "markdown", "metadata": {}, "source": ["# Fitting a *line*\n", "\n", "Text with `code`.\n"] },
            { "cell_type": "code", "execution_count": 1, "metadata": {}, "source": "x = fit([1, 2])\nx",
              "outputs": [
                { "output_type": "execute_result", "data": { "text/plain": ["[0.5, 1.0]"], "image/png": "iVBORw0KGgo=" }, "metadata": {} },
                { "output_type": "stream", "name": "stdout", "text": "<Line at 0x7f00>" },
                { "output_type": "error", "ename": "E", "evalue": "v", "traceback": ["secret"] },
                { "output_type": "display_data", "data": { "text/html": "<b>no</b>" } }
              ] },
            { "cell_type": "raw", "metadata": {}, "source": "raw" },
            { "cell_type": "markdown", "metadata": {}, "source": "## Next Step\nMore." }
        ]
    }"###;

    #[test]
    fn cells_become_sections_and_code() {
        let document = parse("a.ipynb", NOTEBOOK, &ParseLimits::default()).unwrap();
        assert_eq!(document.title, "Fitting a line");
        let sections: Vec<_> = document
            .sections
            .iter()
            .map(|section| (section.level, section.heading.as_str(), section.anchors[0].as_str()))
            .collect();
        assert_eq!(sections, [(1, "Fitting a line", "Fitting-a-line"), (2, "Next Step", "Next-Step")]);
        let pieces: Vec<_> = document.sections[0].pieces.iter().map(Piece::text).collect();
        assert_eq!(pieces, ["Text with `code`.", "x = fit([1, 2])\nx", "[0.5, 1.0]"]);
        let twinmcp_storage::bundle::Block::Code { language, .. } = &document.sections[0].pieces[1].block
        else {
            panic!("no code")
        };
        assert_eq!(language, "python");
    }

    #[test]
    fn notebooks_of_format_3_are_read_too() {
        let text = r#"{ "nbformat": 3, "metadata": { "name": "" }, "worksheets": [ { "cells": [
            { "cell_type": "heading", "level": 2, "source": ["Old Times"] },
            { "cell_type": "code", "language": "ruby", "input": ["puts 1\n", "puts 2"],
              "outputs": [ { "output_type": "pyout", "text": ["1"] } ] } ] } ] }"#;
        let document = parse("a.ipynb", text, &ParseLimits::default()).unwrap();
        assert_eq!((document.sections[0].level, document.sections[0].heading.as_str()), (2, "Old Times"));
        let pieces: Vec<_> = document.sections[0].pieces.iter().map(Piece::text).collect();
        assert_eq!(pieces, ["puts 1\nputs 2", "1"]);
    }

    #[test]
    fn what_is_no_notebook_is_refused_with_the_place() {
        for text in ["", "{", "[1]", "{\"cells\": 3}", &"[".repeat(100_000), "{\"cells\": [{\"level\": -1}]}"]
        {
            let error = parse("a.ipynb", text, &ParseLimits::default()).unwrap_err();
            assert!(matches!(&error, ParseError::Syntax { reason } if reason.contains("line")), "{error}");
        }
    }
}
