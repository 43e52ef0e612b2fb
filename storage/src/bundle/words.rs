//! The word index: BM25 over headings and text, by `tantivy`, read straight from the map.
//!
//! Headings stand twice before the text, in the same field: a word counts wherever it is, more in a
//! heading, and BM25 sees how often in all. Measured on 107 questions against a field of their own, as
//! earlier bundles have it: nDCG@10 +0.013, recall@10 +0.019, and half as many lists to read.
//!
//! Text is not stored, and neither are positions: closeness of a question's words was measured and
//! gave nothing. A document's number is its snippet's index.

use std::path::Path;

use tantivy::directory::OwnedBytes;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, ReloadPolicy, Searcher, TantivyError, Term};

use super::bm25::{self, ScoredField};
use super::error::BundleError;
use super::facts::SnippetIndex;
use super::layout::Section;
use super::tokens::Tokens;
use super::words_directory::MappedDirectory;

/// How often headings stand before the text: once or three times is within noise of this.
pub(super) const HEADINGS_REPEATED: usize = 2;
/// Weight of the headings' own field in bundles that have one. BM25 is summed per field, and a short
/// field swamps a long one: on 209 questions nDCG@10 was 0.424 with 2.0, 0.512 with 1.0, 0.556 with
/// 0.6, 0.572 with 0.3, and 0.541 without the field.
const HEADING_BOOST: f32 = 0.3;

/// Bytes of a query beyond which the rest is ignored: a question, or an error message with its trace.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Different words of a query beyond which the rest is ignored.
const QUERY_WORDS_MAX: usize = 64;
/// Words that are scored: of more the rarest, as each costs a posting list, and common ones cost most
/// and say least.
const SCORED_WORDS_MAX: usize = 24;
/// Results beyond which a caller gets no more.
const RESULTS_MAX: usize = 1_000;

pub(super) const TOKENIZER: &str = "code";

pub(super) fn schema() -> (Schema, Fields) {
    let indexing =
        TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let options = TextOptions::default().set_indexing_options(indexing);
    let mut schema = Schema::builder();
    let heading = schema.add_text_field("heading", options.clone());
    let text = schema.add_text_field("text", options);
    (schema.build(), Fields { heading, text })
}

#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// Empty in bundles built today; kept, so that earlier builds can read these and we can read theirs.
    pub(super) heading: Field,
    /// Headings and text.
    pub(super) text: Field,
}

/// The word index of an open bundle.
pub(super) struct Words {
    searcher: Searcher,
    text: Field,
    scored: Vec<ScoredField>,
    snippets: u32,
}

impl Words {
    pub(super) fn open(section: &OwnedBytes, path: &Path, snippets: u32) -> Result<Self, BundleError> {
        let damaged = || BundleError::damaged(path, Section::Words);
        let directory = MappedDirectory::open(section).ok_or_else(damaged)?;
        let searcher = open_searcher(directory).map_err(BundleError::words("open"))?;
        let (schema, fields) = schema();
        if searcher.schema() != &schema {
            return Err(damaged());
        }
        let mut end = 0_u32;
        for (at, segment) in searcher.segment_readers().iter().enumerate() {
            // Documents are numbered through the segments, so these must come in the order written.
            if segment.segment_id().uuid_string() != format!("{:032x}", at + 1) {
                return Err(damaged());
            }
            end = end.checked_add(segment.max_doc()).ok_or_else(damaged)?;
        }
        if end != snippets {
            return Err(damaged());
        }
        let mut scored = Vec::new();
        for (field, boost) in [(fields.text, 1.0), (fields.heading, HEADING_BOOST)] {
            scored.extend(ScoredField::open(&searcher, field, boost).map_err(BundleError::words("open"))?);
        }
        Ok(Self { searcher, text: fields.text, scored, snippets })
    }

    /// Snippets that hold words of `query`, best first; equal scores in the order of the bundle.
    pub(super) fn search(&self, query: &str, limit: usize) -> Result<Vec<(SnippetIndex, f32)>, BundleError> {
        let words = self.rarest(query_words(query))?;
        if limit == 0 || words.is_empty() {
            return Ok(Vec::new());
        }
        let found = bm25::best(&self.scored, &words, self.snippets as usize, limit.min(RESULTS_MAX))
            .map_err(BundleError::words("search"))?;
        Ok(found.into_iter().map(|(index, score)| (SnippetIndex(index), score)).collect())
    }

    fn rarest(&self, mut words: Vec<String>) -> Result<Vec<String>, BundleError> {
        if words.len() > SCORED_WORDS_MAX {
            let mut counted = Vec::with_capacity(words.len());
            for word in words {
                let term = Term::from_field_text(self.text, &word);
                counted.push((self.searcher.doc_freq(&term).map_err(BundleError::words("search"))?, word));
            }
            // In a bundle with a field of headings a word of no text may be one of these, so it counts as
            // rare, not as absent.
            counted.sort_by_key(|(snippets, _)| *snippets);
            words = counted.into_iter().take(SCORED_WORDS_MAX).map(|(_, word)| word).collect();
        }
        Ok(words)
    }
}

fn open_searcher(directory: MappedDirectory) -> Result<Searcher, TantivyError> {
    let reader = Index::open(directory)?
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .doc_store_cache_num_blocks(1)
        .try_into()?;
    Ok(reader.searcher())
}

/// The different words of a query, in order. Nothing in it is syntax.
fn query_words(query: &str) -> Vec<String> {
    let mut tokens = Tokens::default();
    tokens.read(cut(query));
    let mut words: Vec<String> = Vec::new();
    for token in tokens.iter() {
        if words.len() == QUERY_WORDS_MAX {
            break;
        }
        if !words.iter().any(|word| word == token) {
            words.push(token.to_owned());
        }
    }
    words
}

/// The query up to its limit, without the word that the limit cuts.
fn cut(query: &str) -> &str {
    if query.len() <= QUERY_BYTES_MAX {
        return query;
    }
    let head = &query[..query.floor_char_boundary(QUERY_BYTES_MAX)];
    head.rsplit_once(char::is_whitespace).map_or(head, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::words_directory;
    use crate::bundle::words_writer::{SEGMENT_BYTES_MAX, WordsWriter};

    fn index(snippets: &[(&str, &str)], segment_bytes_max: usize) -> Words {
        let section = OwnedBytes::new(bytes(snippets, segment_bytes_max));
        Words::open(&section, Path::new("b"), snippets.len() as u32).unwrap()
    }

    fn bytes(snippets: &[(&str, &str)], segment_bytes_max: usize) -> Vec<u8> {
        let mut writer = WordsWriter::new();
        writer.segment_bytes_max = segment_bytes_max;
        for (heading, text) in snippets {
            writer.add(heading, text).unwrap();
        }
        let files = writer.finish().unwrap();
        let mut bytes = words_directory::table(&files).unwrap();
        files.iter().for_each(|file| bytes.extend_from_slice(&file.bytes));
        bytes
    }

    fn found(words: &Words, query: &str) -> Vec<u32> {
        words.search(query, 10).unwrap().into_iter().map(|(SnippetIndex(index), _)| index).collect()
    }

    #[test]
    fn the_snippet_with_the_rarer_words_comes_first() {
        let words = index(
            &[
                ("json", "read a file and write a file"),
                ("json", "serialize an object to a file"),
                ("csv", "read rows of a file"),
            ],
            SEGMENT_BYTES_MAX,
        );
        assert_eq!(found(&words, "how do I serialize objects"), [1]);
        assert_eq!(found(&words, "rows in files")[0], 2);
        assert_eq!(found(&words, "unheard"), [] as [u32; 0]);
    }

    #[test]
    fn a_score_is_bm25_over_the_text_after_its_headings_twice() {
        // Two snippets of equal length; the word is in one: idf = ln(1 + (2 - 1 + 0.5) / (1 + 0.5)).
        let idf = (1.0_f32 + 1.5 / 1.5).ln();
        let words = index(&[("apple", "pear plum"), ("lemon", "melon cherry")], SEGMENT_BYTES_MAX);
        let score = |words: &Words, query| words.search(query, 1).unwrap()[0].1;
        // k1 = 1.2 with an average length gives tf * (k1 + 1) / (tf + k1) = 1 for tf = 1.
        assert!((score(&words, "pear") - idf).abs() < 1e-5, "{}", score(&words, "pear"));
        assert!((score(&words, "apple") - idf * 2.0 * 2.2 / 3.2).abs() < 1e-5, "{}", score(&words, "apple"));
        // tf = 2 of length 3 against an average of 2: 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2)).
        let words = index(&[("", "pear pear fig"), ("", "plum")], SEGMENT_BYTES_MAX);
        let expected = idf * 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 1.5));
        assert!((score(&words, "pear") - expected).abs() < 1e-5, "{} {expected}", score(&words, "pear"));
    }

    #[test]
    fn many_segments_score_like_one() {
        let texts: Vec<String> =
            (0..1_000).map(|at| format!("common word{} other{}", at % 7, at % 50)).collect();
        let snippets: Vec<_> = texts.iter().map(|text| ("heading", text.as_str())).collect();
        let (one, many) = (index(&snippets, SEGMENT_BYTES_MAX), index(&snippets, 0));
        assert_eq!(one.searcher.segment_readers().len(), 1);
        assert_eq!(many.searcher.segment_readers().len(), 8);
        for query in ["word3 other17", "common", "other49 heading"] {
            assert_eq!(one.search(query, 100).unwrap(), many.search(query, 100).unwrap(), "{query}");
        }
    }

    #[test]
    fn equal_snippets_give_equal_bytes() {
        let snippets = [("heading", "some text"), ("other", "more text with getElementById")];
        for segment_bytes_max in [0, SEGMENT_BYTES_MAX] {
            assert_eq!(bytes(&snippets, segment_bytes_max), bytes(&snippets, segment_bytes_max));
        }
    }

    #[test]
    fn a_query_is_text_whatever_it_looks_like() {
        let words = index(&[("a", "alpha OR beta"), ("b", "gamma")], SEGMENT_BYTES_MAX);
        for query in ["heading:gamma", "+gamma -alpha", "\"gamma", "gamma^1000 AND (", "text:[* TO gamma]"] {
            assert!(found(&words, query).contains(&1), "{query}");
        }
        for query in ["", " ", "*", "()[]{}!?^~:\\", "🎉🎉", "\0"] {
            assert_eq!(found(&words, query), [] as [u32; 0], "{query}");
        }
        assert_eq!(words.search("gamma", 0).unwrap(), []);
        assert_eq!(words.search("gamma", usize::MAX).unwrap().len(), 1);
    }

    #[test]
    fn a_long_query_costs_no_more_words_than_the_limit() {
        let long: String = (0..10_000).map(|at| format!("w{at}x ")).collect();
        assert_eq!(query_words(&long).len(), QUERY_WORDS_MAX);
        assert_eq!(query_words(&"same ".repeat(10_000)), ["same"]);
        // Cut inside a character of three bytes.
        assert_eq!(query_words(&"漢".repeat(QUERY_BYTES_MAX)), ["漢漢"]);
    }

    #[test]
    fn of_a_long_query_the_rarest_words_count() {
        let common: String = (0..SCORED_WORDS_MAX).map(|at| format!("w{at}x ")).collect();
        let rare = format!("{common} needle");
        let words = index(&[("", &common), ("", &rare), ("", &common)], SEGMENT_BYTES_MAX);
        assert_eq!(found(&words, &format!("{common} needle")), [1, 0, 2]);
    }

    #[test]
    fn an_index_of_other_snippets_is_refused() {
        let section = OwnedBytes::new(bytes(&[("a", "alpha")], SEGMENT_BYTES_MAX));
        let refused = Words::open(&section, Path::new("b"), 2);
        assert!(matches!(refused, Err(BundleError::Damaged { section: Section::Words, .. })));
    }
}
