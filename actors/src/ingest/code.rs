//! The code of a source while it is read: only all files of a package together tell what is public.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::parse::python::PythonPackage;
use super::parse::rust::RustCrate;
use super::parse::typescript::TypeScriptPackage;
use super::parse::{Document, ParseError, ParseLimits};
use super::source::package::{CodeRoot, Package};
use super::source::{Kind, SourceFile};

/// One collector for each language that the source is a package of.
#[derive(Default)]
pub(super) struct Code {
    rust: Option<RustCrate>,
    typescript: Option<TypeScriptPackage>,
    python: Option<PythonPackage>,
}

/// What a language's files gave together.
pub(super) struct Pages {
    pub(super) kind: Kind,
    /// `None` when its reader gave up.
    pub(super) documents: Option<Vec<Document>>,
}

impl Code {
    pub(super) fn of(packages: &[Package], limits: &ParseLimits) -> Self {
        let mut code = Self::default();
        for package in packages {
            match &package.code {
                CodeRoot::Rust { crate_name, library_path } => {
                    code.rust = Some(RustCrate::new(crate_name, library_path, limits.clone()));
                }
                CodeRoot::TypeScript { entries } => {
                    code.typescript = Some(TypeScriptPackage::new(&package.name, entries, limits.clone()));
                }
                CodeRoot::Python => code.python = Some(PythonPackage::new(limits.clone())),
            }
        }
        code
    }

    /// Adds a file; `false` when its language is not one of the package.
    pub(super) fn add(&mut self, file: &SourceFile) -> Result<bool, ParseError> {
        let source = String::from_utf8_lossy(&file.bytes);
        match (file.kind, &mut self.rust, &mut self.typescript, &mut self.python) {
            (Kind::RustSource, Some(rust), _, _) => rust.add(&file.path, &source)?,
            (Kind::TypeScript, _, Some(typescript), _) => typescript.add(&file.path, &source)?,
            (Kind::Python, _, _, Some(python)) => python.add(&file.path, &source)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Names under which the code is imported, where these are not the package's own.
    pub(super) fn import_names(&self) -> Vec<String> {
        self.python.as_ref().map(PythonPackage::import_names).unwrap_or_default()
    }

    /// The pages of everything public, a language after the other.
    pub(super) fn finish(self) -> impl Iterator<Item = Pages> {
        // The readers do not panic as far as tests and fuzzing can tell; if one does, the others go on.
        fn guarded(kind: Kind, finish: impl FnOnce() -> Vec<Document>) -> Pages {
            Pages { kind, documents: catch_unwind(AssertUnwindSafe(finish)).ok() }
        }
        let Self { rust, typescript, python } = self;
        let rust = rust.map(|rust| guarded(Kind::RustSource, || rust.finish()));
        let typescript = typescript.map(|typescript| guarded(Kind::TypeScript, || typescript.finish()));
        let python = python.map(|python| guarded(Kind::Python, || python.finish()));
        [rust, typescript, python].into_iter().flatten()
    }
}
