//! Where inline markup ends, for markup whose two ends look alike (`*so*`).
//!
//! Invariant: a line is searched once for each sign and not once for each opener: where the next end
//! stands is remembered, and that there is none. So a page of openers without ends stays linear.

/// The next end of each of `N` signs in one text.
pub(super) struct Ends<const N: usize> {
    signs: [&'static str; N],
    next: [usize; N],
}

impl<const N: usize> Ends<N> {
    pub(super) fn new(signs: [&'static str; N]) -> Self {
        Self { signs, next: [0; N] }
    }

    /// Where the markup that the sign `kind` at `at` opens ends; `None` when it opens nothing: it has to
    /// stand after no letter and before no blank, its end after no blank and before no letter.
    pub(super) fn span(&mut self, text: &str, at: usize, kind: usize) -> Option<usize> {
        let sign = self.signs[kind];
        let before = text[..at].chars().next_back();
        let after = text.get(at + sign.len()..)?.chars().next();
        let opens = before.is_none_or(|before| !before.is_alphanumeric())
            && after.is_some_and(|after| !after.is_whitespace());
        if !opens {
            return None;
        }
        self.after(text, at, kind, |before, after| {
            !before.ends_with(|before: char| before.is_whitespace() || before == '\\')
                && !after.starts_with(char::is_alphanumeric)
        })
    }

    /// As [`span`](Self::span), for a sign that may stand inside a word.
    pub(super) fn anywhere(&mut self, text: &str, at: usize, kind: usize) -> Option<usize> {
        self.after(text, at, kind, |_, _| true)
    }

    fn after(&mut self, text: &str, at: usize, kind: usize, ends: fn(&str, &str) -> bool) -> Option<usize> {
        let sign = self.signs[kind];
        let least = at + sign.len() + 1;
        if self.next[kind] < least {
            self.next[kind] = find(text, sign, least, ends);
        }
        Some(self.next[kind]).filter(|&end| end != usize::MAX)
    }
}

/// The next `sign` from `from` on that ends something, told by the text on both its sides; `usize::MAX` for none.
fn find(text: &str, sign: &str, from: usize, ends: fn(&str, &str) -> bool) -> usize {
    let from = text.ceil_char_boundary(from);
    let mut signs = text.get(from..).unwrap_or_default().match_indices(sign).map(|(offset, _)| from + offset);
    signs.find(|&at| ends(&text[..at], &text[at + sign.len()..])).unwrap_or(usize::MAX)
}
