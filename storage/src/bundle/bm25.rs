//! BM25 of a query's words, one word after the other.
//!
//! tantivy's own search for the best walks the lists of all words together and skips blocks that
//! cannot matter. That pays in indexes of millions. Here every posting is added to one number a
//! snippet, which depends on nothing but how many postings there are: 31 µs for the headings of
//! Python's documentation, asked of its 12,774 snippets. Scores are tantivy's own, but for the last bit.

use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{InvertedIndexReader, Searcher, TantivyError, Term};

use super::best;

/// The usual constants (Robertson and Zaragoza 2009, section 3.4). On the evaluation set neither
/// gave more than noise when it was varied.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// Frequencies below this are looked up, as nearly all are; greater ones are worked out.
const FREQUENCIES: usize = 16;
/// Lengths that tantivy tells apart.
const LENGTHS: usize = 256;
/// One field of an index, ready to be scored.
pub(super) struct ScoredField {
    field: Field,
    boost: f32,
    snippets: f32,
    segments: Vec<SegmentOfField>,
    /// `k1 * (1 - b + b * length / average length)` for each length up to the greatest there is.
    dampers: Vec<f32>,
}

struct SegmentOfField {
    index: Arc<InvertedIndexReader>,
    lengths: FieldNormReader,
    /// Index of the segment's first snippet.
    start: usize,
}

impl ScoredField {
    /// The field of all segments; `None` when no snippet has a word in it.
    pub(super) fn open(searcher: &Searcher, field: Field, boost: f32) -> Result<Option<Self>, TantivyError> {
        let (mut segments, mut start, mut tokens, mut longest) = (Vec::new(), 0, 0, 0);
        for segment in searcher.segment_readers() {
            let index = segment.inverted_index(field)?;
            tokens += index.total_num_tokens();
            let lengths = segment.get_fieldnorms_reader(field)?;
            longest = (0..segment.max_doc()).map(|at| lengths.fieldnorm_id(at)).fold(longest, u8::max);
            segments.push(SegmentOfField { index, lengths, start });
            start += segment.max_doc() as usize;
        }
        if tokens == 0 {
            return Ok(None);
        }
        let average = tokens as f32 / start as f32;
        let damper = |id| K1 * (1.0 - B + B * FieldNormReader::id_to_fieldnorm(id) as f32 / average);
        let dampers = (0..=longest).map(damper).collect();
        Ok(Some(Self { field, boost, snippets: start as f32, segments, dampers }))
    }

    /// `frequency / (frequency + damper)` of all lengths and the low frequencies.
    fn shares(&self) -> [[f32; FREQUENCIES]; LENGTHS] {
        let mut shares = [[0.0; FREQUENCIES]; LENGTHS];
        for (shares, damper) in shares.iter_mut().zip(&self.dampers) {
            for (frequency, share) in shares.iter_mut().enumerate() {
                *share = share_of(frequency as u32, *damper);
            }
        }
        shares
    }

    /// Adds what `word` is worth to the score of each snippet that holds it.
    fn add(
        &self,
        word: &str,
        shares: &[[f32; FREQUENCIES]; LENGTHS],
        scores: &mut [f32],
    ) -> Result<(), TantivyError> {
        let term = Term::from_field_text(self.field, word);
        let mut lists = Vec::with_capacity(self.segments.len());
        let mut found = 0;
        for segment in &self.segments {
            if let Some(list) = segment.index.get_term_info(&term)? {
                found += list.doc_freq;
                lists.push((segment, list));
            }
        }
        let found = found as f32;
        let idf = (1.0 + (self.snippets - found + 0.5) / (found + 0.5)).ln();
        let weight = self.boost * idf * (1.0 + K1);
        for (segment, list) in lists {
            let Some(scores) = scores.get_mut(segment.start..) else { continue };
            let mut postings =
                segment.index.read_block_postings_from_terminfo(&list, IndexRecordOption::WithFreqs)?;
            while !postings.docs().is_empty() {
                for (&document, &frequency) in postings.docs().iter().zip(postings.freqs()) {
                    let length = usize::from(segment.lengths.fieldnorm_id(document));
                    let share = match shares[length].get(frequency as usize) {
                        Some(share) => *share,
                        None => share_of(frequency, self.dampers[length]),
                    };
                    if let Some(score) = scores.get_mut(document as usize) {
                        *score += weight * share;
                    }
                }
                postings.advance();
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn share_of(frequency: u32, damper: f32) -> f32 {
    let frequency = frequency as f32;
    frequency / (frequency + damper)
}

/// The `limit` best of `snippets` snippets by the sum over all words and fields, best first, equal
/// ones in order; only those that hold a word.
pub(super) fn best(
    fields: &[ScoredField],
    words: &[String],
    snippets: usize,
    limit: usize,
) -> Result<Vec<(u32, f32)>, TantivyError> {
    best::scored(snippets, |scores| {
        scores.fill(0.0);
        for field in fields {
            let shares = field.shares();
            for word in words {
                field.add(word, &shares, scores)?;
            }
        }
        // Every word has a positive weight, so 0 is the score of those that hold none.
        Ok(best::first(best::best(scores, 0.0, limit), limit))
    })
}
