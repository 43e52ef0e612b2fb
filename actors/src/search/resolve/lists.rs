//! Words that have a part to play in names, asks and descriptions.
//!
//! General knowledge of how people write, in a form that is easy to add to.

use std::collections::HashSet;
use std::sync::OnceLock;

/// Some words, written with spaces between them.
pub(super) struct WordList {
    text: &'static str,
    words: OnceLock<HashSet<&'static str>>,
}

impl WordList {
    const fn new(text: &'static str) -> Self {
        Self { text, words: OnceLock::new() }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.get_or_init(|| self.text.split_whitespace().collect()).contains(word)
    }
}

/// Words around a name that say nothing about it.
pub(super) static FILLER: WordList = WordList::new(
    "a an the of for in on with by to from at as and or is are be it its this that my me i we you your \
     how what which where do does can could should would want need use using used get find look up show \
     tell give help about please some any latest newest current official best good version docs doc \
     documentation wie was ich man benutze benutzt verwende verwendet mit für der die das den ein eine \
     dokumentation comment utiliser pour avec le la les como usar para con el",
);

/// Words that say what kind of thing is meant.
pub(super) static GENERIC: WordList = WordList::new(
    "library lib package module framework sdk api client tool toolkit plugin driver bindings binding \
     wrapper server app cli util utils reference manual guide handbook tutorial book website project \
     extension component components core programming",
);

/// Words in titles that say what the pages are, not what they are about.
pub(super) static PAPER: WordList = WordList::new(
    "the documentation docs doc handbook guide reference manual book website official tutorial",
);

/// Makers that people leave out when they name the thing.
pub(super) static VENDORS: WordList = WordList::new(
    "apache gnu amazon aws google microsoft azure hashicorp oracle meta facebook nvidia jetbrains mozilla \
     eclipse hugging",
);

/// Packages that stand for their whole scope: `@angular/core`.
pub(super) static MAIN_PACKAGES: WordList = WordList::new("core main sdk client js server toolkit");

/// Words of which one is in every description of a package nobody should use.
pub(super) static RETIRED: WordList = WordList::new(
    "deprecated renamed instead dummy placeholder obsolete superseded discontinued reserved became legacy \
     transition",
);

/// Words behind which the successor's name stands.
pub(super) static LEADS: WordList = WordList::new("use using to of for by install became alias with");
