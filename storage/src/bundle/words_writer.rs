//! Writing the word index: segments one after the other, without threads.
//!
//! Segments get fixed names and never merge, so that equal snippets give equal bytes.

use std::path::Path;

use serde_json::{Value, json};
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::store::Compressor;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{Directory, Index, IndexSettings, SingleSegmentIndexWriter, TantivyDocument, TantivyError};

use super::error::BundleError;
use super::tokens::Tokens;
use super::words::{Fields, HEADINGS_REPEATED, TOKENIZER, schema};
use super::words_directory::WordFile;

/// Memory of one segment's words beyond which the next one is started.
pub(super) const SEGMENT_BYTES_MAX: usize = 40 << 20;
/// Sizes the table of words at the start; a larger one is only faster to fill.
const WRITER_BUDGET_BYTES: usize = 15 << 20;
/// Asking a writer for its size is not free, so it is asked this seldom.
const SNIPPETS_BETWEEN_CHECKS: u32 = 128;

const META: &str = "meta.json";

/// Collects the words of snippets, in the order of the snippets.
pub(super) struct WordsWriter {
    pub(super) segment_bytes_max: usize,
    open: Option<OpenSegment>,
    done: Vec<FinishedSegment>,
}

struct OpenSegment {
    writer: SingleSegmentIndexWriter,
    directory: RamDirectory,
    fields: Fields,
    snippets: u32,
}

struct FinishedSegment {
    files: Vec<WordFile>,
    meta: Value,
}

impl WordsWriter {
    pub(super) fn new() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX, open: None, done: Vec::new() }
    }

    /// The words of the next snippet.
    pub(super) fn add(&mut self, heading: &str, text: &str) -> Result<(), BundleError> {
        let build = BundleError::words("build");
        let segment = match &mut self.open {
            Some(segment) => segment,
            None => self.open.insert(OpenSegment::start().map_err(&build)?),
        };
        let mut document = TantivyDocument::default();
        for _ in 0..HEADINGS_REPEATED {
            document.add_text(segment.fields.text, heading);
        }
        document.add_text(segment.fields.text, text);
        segment.writer.add_document(document).map_err(&build)?;
        segment.snippets += 1;
        if segment.snippets % SNIPPETS_BETWEEN_CHECKS == 0
            && segment.writer.mem_usage() > self.segment_bytes_max
        {
            self.finish_segment()?;
        }
        Ok(())
    }

    /// The files of the index; none when there was no snippet.
    pub(super) fn finish(mut self) -> Result<Vec<WordFile>, BundleError> {
        self.finish_segment()?;
        let Some(first) = self.done.first() else {
            return Ok(Vec::new());
        };
        let mut meta = first.meta.clone();
        let segments = self.done.iter().filter_map(|segment| segment.meta.pointer("/segments/0").cloned());
        meta["segments"] = segments.collect();
        let mut files: Vec<_> = self.done.into_iter().flat_map(|segment| segment.files).collect();
        let meta = OwnedBytes::new(meta.to_string().into_bytes());
        files.push(WordFile { name: META.to_owned(), bytes: meta });
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    fn finish_segment(&mut self) -> Result<(), BundleError> {
        if let Some(segment) = self.open.take() {
            let number = self.done.len() + 1;
            self.done.push(segment.finish(number).map_err(BundleError::words("build"))?);
        }
        Ok(())
    }
}

impl OpenSegment {
    fn start() -> Result<Self, TantivyError> {
        let (schema, fields) = schema();
        let tokenizers = TokenizerManager::new();
        tokenizers.register(TOKENIZER, CodeTokenizer::default());
        let directory = RamDirectory::create();
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let writer = Index::builder()
            .schema(schema)
            .settings(settings)
            .tokenizers(tokenizers)
            .single_segment_index_writer(directory.clone(), WRITER_BUDGET_BYTES)?;
        Ok(Self { writer, directory, fields, snippets: 0 })
    }

    /// The segment's files, named by `number` instead of tantivy's random id.
    fn finish(self, number: usize) -> Result<FinishedSegment, TantivyError> {
        let index = self.writer.finalize()?;
        let named = format!("{number:032x}");
        let mut meta = Value::Null;
        let mut files = Vec::new();
        for path in index.directory().list_managed_files() {
            let bytes = self.directory.open_read(&path)?.read_bytes()?;
            if path == Path::new(META) {
                meta = serde_json::from_slice(&bytes)
                    .map_err(|error| TantivyError::InternalError(error.to_string()))?;
            } else if let Some((_, ending)) = path.to_string_lossy().split_once('.') {
                files.push(WordFile { name: format!("{named}.{ending}"), bytes });
            }
        }
        if let Some(id) = meta.pointer_mut("/segments/0/segment_id") {
            *id = json!(named);
        }
        Ok(FinishedSegment { files, meta })
    }
}

/// [`Tokens`] as tantivy wants them.
struct CodeTokenizer {
    tokens: Tokens,
}

impl Default for CodeTokenizer {
    fn default() -> Self {
        Self { tokens: Tokens::remembering() }
    }
}

/// A clone starts with nothing remembered, since tantivy clones tokenizers to make more of them.
impl Clone for CodeTokenizer {
    fn clone(&self) -> Self {
        Self::default()
    }
}

struct CodeTokenStream<'a> {
    tokens: &'a Tokens,
    next: usize,
    token: Token,
}

impl Tokenizer for CodeTokenizer {
    type TokenStream<'a> = CodeTokenStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> CodeTokenStream<'a> {
        self.tokens.read(text);
        CodeTokenStream { tokens: &self.tokens, next: 0, token: Token::default() }
    }
}

/// Offsets stay 0: nothing here highlights or asks for positions.
impl TokenStream for CodeTokenStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(token) = self.tokens.get(self.next) else {
            return false;
        };
        self.token.text.clear();
        self.token.text.push_str(token);
        self.token.position = self.next;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
