//! The tokens of a source without its bodies, and with a bounded nesting.
//!
//! Documentation needs no function bodies and no values of constants. Dropping them first makes
//! parsing several times faster, and it is what makes it safe: the parser recurses, and bodies are where
//! a source nests. What is left (types, patterns, attributes) is measured before it is parsed.

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

use crate::ingest::parse::ParseError;

/// Modules, implementations and macro calls within one another.
const ITEM_DEPTH_MAX: usize = 64;

/// Brackets within one another, after bodies are dropped.
const GROUP_DEPTH_MAX: usize = 128;

/// Tokens in a row that could each open a level (`&&&&T`, `A<A<A<T>>>`, `!!!!x`), summed over the brackets around.
const RUN_MAX: usize = 2_000;

/// Lexes a source, drops bodies and refuses what would nest too deep.
pub(super) fn outline(source: &str) -> Result<TokenStream, ParseError> {
    let tokens: TokenStream = source.parse().map_err(|error: proc_macro2::LexError| {
        let at = error.span().start();
        syntax(format!("line {}: not Rust", at.line))
    })?;
    let tokens = without_bodies(tokens, 0)?;
    measure(tokens.clone())?;
    Ok(tokens)
}

pub(super) fn syntax(reason: String) -> ParseError {
    ParseError::Syntax { reason }
}

/// What the braces of the item being read hold.
#[derive(Clone, Copy, PartialEq)]
enum Braces {
    Unknown,
    Body,
    Items,
    Fields,
}

/// Empties function bodies and replaces the values of constants by `0`. Spans stay those of the source.
fn without_bodies(tokens: TokenStream, depth: usize) -> Result<TokenStream, ParseError> {
    if depth > ITEM_DEPTH_MAX {
        return Err(syntax(format!("items nest deeper than {ITEM_DEPTH_MAX}")));
    }
    let mut out: Vec<TokenTree> = Vec::new();
    let mut braces = Braces::Unknown;
    let mut angles = 0_usize;
    let mut value = Value::None;
    let mut previous = '\0';
    let mut is_call = false;
    for token in tokens {
        if value == Value::Inside {
            if !matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ';') {
                continue;
            }
            value = Value::None;
        }
        let mut this = '\0';
        match &token {
            TokenTree::Ident(ident) if braces == Braces::Unknown => {
                let name = ident.to_string();
                match name.as_str() {
                    "struct" | "enum" | "union" => braces = Braces::Fields,
                    "mod" | "impl" | "trait" => braces = Braces::Items,
                    "fn" => braces = Braces::Body,
                    "const" | "static" if angles == 0 => value = Value::Name,
                    _ => {}
                }
                // `const fn` is a function, `const NAME` a constant.
                if name == "fn" {
                    value = Value::None;
                }
            }
            TokenTree::Punct(punct) => {
                this = punct.as_char();
                match this {
                    '<' => angles += 1,
                    '>' if previous != '-' && previous != '=' => angles = angles.saturating_sub(1),
                    '!' if braces == Braces::Unknown => is_call = true,
                    ';' => (braces, angles, value, is_call) = (Braces::Unknown, 0, Value::None, false),
                    '=' if value == Value::Name && angles == 0 => {
                        value = Value::Inside;
                        out.push(token);
                        out.push(TokenTree::Literal(Literal::u8_unsuffixed(0)));
                        previous = '=';
                        continue;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        previous = this;
        let TokenTree::Group(group) = &token else {
            out.push(token);
            continue;
        };
        // What a macro is given may be in any language, and nest as it likes.
        if is_call && measure(group.stream()).is_err() {
            out.push(replaced(group, TokenStream::new()));
            continue;
        }
        if group.delimiter() != Delimiter::Brace || angles > 0 {
            out.push(token);
            continue;
        }
        let inner = match braces {
            Braces::Body => TokenStream::new(),
            Braces::Fields => group.stream(),
            // Also `extern "C" { … }`, and `cfg_io! { … }`, which may hold items.
            Braces::Items | Braces::Unknown => without_bodies(group.stream(), depth + 1)?,
        };
        out.push(replaced(group, inner));
        (braces, value, is_call) = (Braces::Unknown, Value::None, false);
    }
    Ok(out.into_iter().collect())
}

/// The same brackets around something else.
fn replaced(group: &Group, inner: TokenStream) -> TokenTree {
    let mut other = Group::new(group.delimiter(), inner);
    other.set_span(group.span());
    TokenTree::Group(other)
}

/// Where the reading of a constant stands.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    None,
    /// After `const` or `static`, before its `=`.
    Name,
    /// After its `=`: dropped up to the semicolon.
    Inside,
}

/// Refuses tokens whose parsing could recurse deeper than the bounds. Does not recurse itself.
fn measure(tokens: TokenStream) -> Result<(), ParseError> {
    struct Level {
        tokens: proc_macro2::token_stream::IntoIter,
        /// Tokens since something that ends every nesting, and angle brackets still open.
        run: usize,
        angles: usize,
        after_hash: bool,
    }
    let level =
        |tokens: TokenStream| Level { tokens: tokens.into_iter(), run: 0, angles: 0, after_hash: false };
    let mut levels = vec![level(tokens)];
    let mut outer = 0;
    while let Some(current) = levels.last_mut() {
        let Some(token) = current.tokens.next() else {
            levels.pop();
            outer -= levels.last().map_or(0, |above| above.run + above.angles);
            continue;
        };
        current.run += 1;
        let mut after_hash = false;
        let mut inner = None;
        match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' => current.run = 0,
                ';' => (current.run, current.angles) = (0, 0),
                '<' => current.angles += 1,
                '>' => current.angles = current.angles.saturating_sub(1),
                '#' => after_hash = true,
                '!' => after_hash = current.after_hash,
                _ => {}
            },
            TokenTree::Group(group) => {
                // Attributes stand beside each other, and nothing nests across a block.
                if current.after_hash || group.delimiter() == Delimiter::Brace {
                    current.run = 0;
                }
                inner = Some(group.stream());
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
        current.after_hash = after_hash;
        let here = current.run + current.angles;
        if outer + here > RUN_MAX {
            return Err(syntax(format!("more than {RUN_MAX} tokens that may nest in a row")));
        }
        if let Some(inner) = inner {
            if levels.len() >= GROUP_DEPTH_MAX {
                return Err(syntax(format!("brackets nest deeper than {GROUP_DEPTH_MAX}")));
            }
            outer += here;
            levels.push(level(inner));
        }
    }
    Ok(())
}
