//! From what speaks for a candidate to the reasons people read.

use super::ask::{Ask, Cover};
use super::by_name::{Fit, NameFit};
use super::gather::Candidate;
use super::keys::Kind;
use super::reason::Reason;
use super::segment::Segment;

/// Cosine from which meaning is worth a mention.
const MEANING_MIN: f32 = 0.55;
/// Popularity from which it is.
const POPULARITY_MIN: u8 = 75;
/// Trust from which it is.
const TRUST_MIN: u8 = 80;

/// The reasons for one match, the most telling first; never empty.
pub(super) fn reasons(ask: &Ask, segment: &Segment, candidate: &Candidate) -> Vec<Reason> {
    let standing = segment.standing(candidate.entry);
    let mut reasons = Vec::new();
    let explained = candidate.name.map_or(0, |name| {
        reasons.push(of_name(ask, segment, candidate.entry, &name));
        name.cover
    });
    let named = candidate.words.named & !explained;
    reasons.extend(words(ask, named).map(Reason::NamedWords));
    let described = candidate.words.described & !candidate.words.named & !explained;
    reasons.extend(words(ask, described).map(Reason::Description));
    // A candidate without name or words of the name is there for its meaning or the query's words.
    if candidate.meaning >= MEANING_MIN || reasons.is_empty() {
        reasons.push(Reason::Meaning);
    }
    let asked = ask.languages.with(ask.query_languages);
    reasons.extend(standing.languages.common(asked).name().map(Reason::Language));
    if standing.popularity >= POPULARITY_MIN {
        reasons.push(Reason::Popular);
    }
    if standing.trust.is_some_and(|trust| trust >= TRUST_MIN) {
        reasons.push(Reason::Trusted);
    }
    if standing.snippets > 0 {
        reasons.push(Reason::Indexed { snippets: standing.snippets });
    }
    if standing.is_retired {
        reasons.push(Reason::Retired);
    }
    reasons
}

fn of_name(ask: &Ask, segment: &Segment, entry: u32, name: &NameFit) -> Reason {
    let Some(reading) = ask.readings.get(name.reading).filter(|_| name.fit != Fit::Id) else {
        return Reason::Id;
    };
    let typed = || reading.alias_of.as_ref().unwrap_or(&reading.key).clone();
    match name.fit {
        _ if reading.alias_of.is_some() => Reason::Alias(typed()),
        Fit::Id => Reason::Id,
        Fit::Key(Kind::Name) => Reason::Name,
        Fit::Key(Kind::Title) => Reason::Title,
        Fit::Key(Kind::Initials) => Reason::Initials(typed()),
        Fit::Key(_) | Fit::Numeronym => Reason::Alias(typed()),
        Fit::Near(edits) => Reason::Edits { edits, name: segment.id(entry).name().to_owned() },
        Fit::Start => Reason::Start(typed()),
    }
}

/// The words of the ask's name that count, as they were typed.
fn words(ask: &Ask, cover: Cover) -> Option<String> {
    let counts = ask.words.iter().enumerate().filter(|(at, word)| cover >> at & 1 == 1 && word.weight > 0.0);
    let words: Vec<&str> = counts.map(|(_, word)| word.text.as_str()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}
