//! Sources of programs, read for their documentation.

use twinmcp_actors::ingest::parse::{ParseLimits, python as py, rust as rs, typescript as ts};

use crate::documents::cut;

pub(crate) fn rust(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    let documents = rs::parse("src/lib.rs", &source, &ParseLimits::default());
    documents.unwrap_or_default().iter().for_each(cut);
    if let Ok(document) = rs::example("examples/a.rs", &source, &ParseLimits::default()) {
        cut(&document);
    }
}

pub(crate) fn typescript(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    for path in ["a.d.ts", "a.ts"] {
        ts::parse(path, &source, &ParseLimits::default()).unwrap_or_default().iter().for_each(cut);
    }
}

pub(crate) fn python(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    for path in ["kit/__init__.py", "kit.pyi"] {
        py::parse(path, &source, &ParseLimits::default()).unwrap_or_default().iter().for_each(cut);
    }
}
