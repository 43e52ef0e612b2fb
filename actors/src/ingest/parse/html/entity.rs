//! Character references: the frequent ones by hand, all others by the table of CommonMark, which is
//! the table of HTML.

use std::borrow::Cow;

/// The longest name in the table is 31 characters.
const NAME_MAX: usize = 40;

/// Replaces the character references of a stretch of text or of an attribute.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    let Some(first) = raw.find('&') else {
        return Cow::Borrowed(raw);
    };
    let mut out = String::with_capacity(raw.len());
    let (head, mut rest) = raw.split_at(first);
    out.push_str(head);
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let used = reference(from, &mut out);
        if used == 0 {
            out.push('&');
        }
        rest = from.get(used.max(1)..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Writes what the reference at the start of `text` stands for; returns its length, 0 for none.
fn reference(text: &str, out: &mut String) -> usize {
    let body = text.get(1..).unwrap_or_default();
    if let Some(digits) = body.strip_prefix('#') {
        return numeric(digits, out);
    }
    let length = body.bytes().take(NAME_MAX).take_while(u8::is_ascii_alphanumeric).count();
    let name = body.get(..length).unwrap_or_default();
    let closed = body.as_bytes().get(length) == Some(&b';');
    let character = match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        "nbsp" => "\u{a0}",
        "copy" => "©",
        "reg" => "®",
        _ if !closed => return 0,
        "mdash" => "—",
        "ndash" => "–",
        "hellip" => "…",
        "lsquo" => "‘",
        "rsquo" => "’",
        "ldquo" => "“",
        "rdquo" => "”",
        "laquo" => "«",
        "raquo" => "»",
        "para" => "¶",
        "middot" => "·",
        _ => return named(name, out),
    };
    out.push_str(character);
    1 + length + usize::from(closed)
}

fn named(name: &str, out: &mut String) -> usize {
    let reference = format!("&{name};");
    let mut events = pulldown_cmark::Parser::new(&reference);
    let found = events.find_map(|event| match event {
        pulldown_cmark::Event::Text(text) if text.as_ref() != "&" => Some(text.into_string()),
        _ => None,
    });
    match found {
        Some(character) if !character.contains(name) || character.len() < name.len() => {
            out.push_str(&character);
            reference.len()
        }
        _ => 0,
    }
}

fn numeric(digits: &str, out: &mut String) -> usize {
    let (digits, radix, prefix) = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => (hexadecimal, 16, 3),
        None => (digits, 10, 2),
    };
    let length = digits.bytes().take_while(|byte| char::from(*byte).is_digit(radix)).count();
    if length == 0 {
        return 0;
    }
    let code = digits.get(..length.min(8)).and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let character =
        code.filter(|&code| code != 0).and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.push(character);
    prefix + length + usize::from(digits.as_bytes().get(length) == Some(&b';'))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn character_references_become_characters() {
        for (raw, text) in [
            ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
            ("&#8217;&#x2014;&#0;", "’—\u{fffd}"),
            ("&eacute;&rarr;&NotEqualTilde;", "é→≂\u{338}"),
            ("AT&T &unknown; &;", "AT&T &unknown; &;"),
            ("x &amp y", "x & y"),
            ("&", "&"),
        ] {
            assert_eq!(decode(raw), text, "{raw}");
        }
    }
}
