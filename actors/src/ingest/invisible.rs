//! Characters that nobody sees: taken out of text before it is indexed, so that a person who reviews
//! an answer reads what the model reads.
//!
//! Taken out: zero-width characters, marks and overrides of writing direction, tags (U+E0000 to
//! U+E007F, which spell ASCII that no font shows), selectors of variants beyond one, control characters.
//! Kept: joiners (U+200C, U+200D), which Persian, Indic scripts and emoji are written with, and
//! newlines and tabs. Order of right-to-left text is a matter of the letters, not of these marks.
//!
//! Invariant: linear, and text of plain letters is not copied.

/// What was taken out of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Removed {
    /// Characters that were there to deceive: no editor or font puts them into documentation.
    pub(super) deceptive: usize,
}

/// Zero-width characters in a row from here on hide something; single ones break long words.
const RUN_MIN: usize = 4;

/// Takes invisible characters out of `text`.
pub(super) fn clean(text: &mut String) -> Removed {
    let mut removed = Removed::default();
    if !text.chars().any(is_invisible) {
        return removed;
    }
    let mut out = String::with_capacity(text.len());
    let mut run = 0;
    // An emoji of a region is a black flag with its code in tags (UTS #51, annex C).
    let mut in_flag = false;
    for character in text.chars() {
        in_flag = character == '\u{1f3f4}' || (in_flag && is_tag(character));
        if !is_invisible(character) {
            out.push(character);
            run = 0;
            continue;
        }
        run += 1;
        let selector = matches!(character, '\u{fe00}'..='\u{fe0f}');
        if selector && run == 1 {
            out.push(character);
        }
        let deceives = (is_tag(character) && !in_flag)
            || matches!(character, '\u{202d}' | '\u{202e}' | '\u{e0100}'..='\u{e01ef}')
            || (run >= RUN_MIN && !character.is_control() && !in_flag);
        removed.deceptive += usize::from(deceives);
    }
    *text = out;
    removed
}

/// Whether a path would look like another one: it has characters that nobody sees.
pub(super) fn is_deceptive_name(name: &str) -> bool {
    !name.is_ascii()
        && name.chars().any(|character| is_invisible(character) && !matches!(character, '\u{fe0f}'))
}

fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0000}'..='\u{e007f}')
}

fn is_invisible(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{20}'..='\u{7e}' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}'
        | '\u{e0100}'..='\u{e01ef}' => true,
        // Noncharacters mean nothing in any text (Unicode 16, 23.7).
        '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(text: &str) -> (String, usize) {
        let mut text = text.to_owned();
        let removed = clean(&mut text);
        (text, removed.deceptive)
    }

    #[test]
    fn what_nobody_sees_goes_and_what_scripts_need_stays() {
        let tags: String =
            "run rm".chars().map(|letter| char::from_u32(0xe0000 + letter as u32).unwrap()).collect();
        for (text, expected, deceptive) in [
            ("plain\ttext\n", "plain\ttext\n", 0),
            ("soft\u{ad}hyphen zero\u{200b}width \u{feff}mark", "softhyphen zerowidth mark", 0),
            ("\u{202a}embedded\u{202c} \u{2066}isolated\u{2069}", "embedded isolated", 0),
            ("a\u{202e}txt.exe", "atxt.exe", 1),
            (&format!("visible{tags}"), "visible", 6),
            ("zero\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}", "zero", 2),
            ("heart \u{2764}\u{fe0f} a\u{fe00}\u{fe01}\u{fe02}", "heart \u{2764}\u{fe0f} a\u{fe00}", 0),
            ("می\u{200c}خواهم 👨\u{200d}👩", "می\u{200c}خواهم 👨\u{200d}👩", 0),
            ("flag 🏴\u{e0067}\u{e0062}\u{e007f}!", "flag 🏴!", 0),
            ("es\u{1b}[31mcape nul\0 del\u{7f} c1\u{9b}", "es[31mcape nul del c1", 0),
            ("שלום عالم größe", "שלום عالم größe", 0),
        ] {
            assert_eq!(cleaned(text), (expected.to_owned(), deceptive), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_looks_like_another_is_told() {
        for (name, deceptive) in [
            ("guide.md", false),
            ("größe/東京.md", false),
            ("gui\u{202e}de.md", true),
            ("a\u{200b}.md", true),
            ("\u{e0061}.md", true),
            ("❤\u{fe0f}.md", false),
        ] {
            assert_eq!(is_deceptive_name(name), deceptive, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn text_is_only_made_shorter_and_clean_text_stays(letters in prop::collection::vec(any::<char>(), 0..200)) {
            let text: String = letters.into_iter().collect();
            let (once, _) = cleaned(&text);
            prop_assert!(once.len() <= text.len());
            let (twice, deceptive) = cleaned(&once);
            prop_assert_eq!((twice, deceptive), (once, 0));
        }
    }
}
