//! Anchors as GitHub makes them out of headings.

use std::collections::HashMap;

/// Hands out the anchors of one page; a heading that comes again gets `-1`, `-2` and so on.
#[derive(Debug, Default)]
pub(super) struct Slugs {
    taken: HashMap<String, u32>,
}

impl Slugs {
    /// The anchor of a heading given as plain text; empty for a heading without letters or digits.
    pub(super) fn anchor(&mut self, heading: &str) -> String {
        let slug = slug(heading);
        if slug.is_empty() {
            return slug;
        }
        let Some(seen) = self.taken.get(&slug).copied() else {
            self.taken.insert(slug.clone(), 0);
            return slug;
        };
        // Counting on from the last number given keeps a page of equal headings linear.
        let mut number = seen + 1;
        let mut numbered = format!("{slug}-{number}");
        while self.taken.contains_key(&numbered) {
            number += 1;
            numbered = format!("{slug}-{number}");
        }
        self.taken.insert(slug, number);
        self.taken.insert(numbered.clone(), 0);
        numbered
    }

    /// Marks an anchor that the author chose.
    pub(super) fn take(&mut self, anchor: &str) {
        self.taken.entry(anchor.to_owned()).or_insert(0);
    }
}

/// Lower case, blanks to hyphens, punctuation gone: the rule of GitHub's renderer.
fn slug(heading: &str) -> String {
    let mut slug = String::with_capacity(heading.len());
    for character in heading.trim().chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() || character == '-' || character == '_' {
            slug.push(character);
        } else if character == ' ' {
            slug.push('-');
        }
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::Slugs;

    #[test]
    fn headings_become_the_anchors_that_github_gives_them() {
        let mut slugs = Slugs::default();
        for (heading, anchor) in [
            ("Getting Started", "getting-started"),
            ("What's new in v2.0?", "whats-new-in-v20"),
            ("`foo::bar()` and baz_qux", "foobar-and-baz_qux"),
            ("Getting Started", "getting-started-1"),
            ("Getting Started", "getting-started-2"),
            ("Größe & Maß", "größe--maß"),
            ("!!!", ""),
        ] {
            assert_eq!(slugs.anchor(heading), anchor, "{heading}");
        }
    }

    #[test]
    fn a_numbered_anchor_never_meets_one_that_an_author_chose() {
        let mut slugs = Slugs::default();
        slugs.take("usage-1");
        assert_eq!(slugs.anchor("Usage"), "usage");
        assert_eq!(slugs.anchor("Usage"), "usage-2");
    }
}
