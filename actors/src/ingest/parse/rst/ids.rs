//! Ids as docutils makes them out of titles and names (`docutils.nodes.make_id`).

use std::collections::HashSet;

/// Hands out the ids of one page.
#[derive(Debug, Default)]
pub(super) struct Ids {
    taken: HashSet<String>,
    numbered: u32,
}

impl Ids {
    /// The anchors of a section, `targets` being what its author named: the id of its title first, unless
    /// that is taken or empty and docutils only numbers it (`id1`, `id2`).
    pub(super) fn section(&mut self, title: &str, mut targets: Vec<String>) -> Vec<String> {
        let id = make_id(title);
        if !id.is_empty() && self.taken.insert(id.clone()) {
            targets.insert(0, id);
            return targets;
        }
        loop {
            self.numbered += 1;
            let id = format!("id{}", self.numbered);
            if self.taken.insert(id.clone()) {
                targets.push(id);
                return targets;
            }
        }
    }

    /// The id of a target that the author named.
    pub(super) fn target(&mut self, name: &str) -> String {
        let id = make_id(name);
        self.taken.insert(id.clone());
        id
    }
}

/// Lower case, every run of other signs one hyphen, none at the ends, no digit at the start.
pub(super) fn make_id(text: &str) -> String {
    let mut id = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        let plain = folded(character);
        if plain.is_ascii_alphanumeric() {
            id.push(plain);
        } else if let Some(two) = digraph(character) {
            id.push_str(two);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    let start = id.find(|first: char| first.is_ascii_lowercase()).unwrap_or(id.len());
    id[start..].trim_end_matches('-').to_owned()
}

/// Letters that docutils spells with two.
fn digraph(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "sz",
        'æ' => "ae",
        'œ' => "oe",
        _ => return None,
    })
}

/// A letter without its accent, as far as Western languages go.
fn folded(letter: char) -> char {
    match letter {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' | 'ø' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        other => other,
    }
}
