//! Examples: the document's own, or one made from a schema.

use std::fmt::Write;

use super::Api;
use super::node::Node;

/// Properties of one object in an example that is made.
const PROPERTIES_MAX: usize = 24;
/// Levels of objects in it.
const DEPTH_MAX: usize = 4;

impl<'a> Api<'a> {
    /// An example of a body: the one the document gives, else one made from its schema; as JSON.
    pub(super) fn example(&mut self, media: &'a Node) -> Option<String> {
        if self.left == 0 {
            return None;
        }
        let mut text = String::new();
        let given = media.get("example").or_else(|| {
            let (_, first) = media.get("examples")?.entries().first()?;
            Some(first)
        });
        let given = given.map(|given| self.resolve(given));
        match given.map(|given| given.get("value").unwrap_or(given)) {
            Some(given) => write_json(given, 0, &mut text),
            None => self.made(media.get("schema")?, 0, &mut text),
        }
        self.left = self.left.saturating_sub(text.len());
        (!text.is_empty() && text != "null").then_some(text)
    }

    fn made(&mut self, schema: &'a Node, depth: usize, text: &mut String) {
        let schema = self.resolve(schema);
        if let Some(given) =
            schema.get("example").or_else(|| schema.get("default")).or_else(|| schema.get("const"))
        {
            return write_json(given, depth, text);
        }
        if let Some(first) = schema.get("enum").and_then(|values| values.items().first()) {
            return write_json(first, depth, text);
        }
        let kind = schema.get("type");
        let kind =
            kind.and_then(|kind| kind.text().or_else(|| kind.items().first()?.text())).unwrap_or_default();
        let parts = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(key)?.items().first());
        match (kind, parts) {
            _ if depth >= DEPTH_MAX => text.push_str("{}"),
            (_, Some(part)) if schema.get("properties").is_none() => self.made(part, depth + 1, text),
            ("array", _) => {
                text.push('[');
                if let Some(items) = schema.get("items") {
                    self.made(items, depth + 1, text);
                }
                text.push(']');
            }
            ("string", _) => text.push_str(&quoted(match schema.text_of("format") {
                Some("date-time") => "2024-01-31T12:00:00Z",
                Some("date") => "2024-01-31",
                Some("uuid") => "123e4567-e89b-12d3-a456-426614174000",
                Some("email") => "user@example.com",
                Some("uri" | "url") => "https://example.com",
                _ => "string",
            })),
            ("integer", _) => text.push('1'),
            ("number", _) => text.push_str("1.5"),
            ("boolean", _) => text.push_str("true"),
            _ => self.made_object(schema, depth, text),
        }
    }

    fn made_object(&mut self, schema: &'a Node, depth: usize, text: &mut String) {
        let mut parts = vec![schema];
        for part in schema.get("allOf").map(Node::items).unwrap_or_default().iter().take(8) {
            parts.push(self.resolve(part));
        }
        let entries =
            parts.into_iter().flat_map(|part| part.get("properties").map(Node::entries).unwrap_or_default());
        let entries: Vec<_> =
            entries.filter(|(_, property)| !property.is_true("readOnly")).take(PROPERTIES_MAX).collect();
        if entries.is_empty() {
            return text.push_str("{}");
        }
        text.push_str("{\n");
        for (at, (name, property)) in entries.iter().enumerate() {
            let comma = if at == 0 { "" } else { ",\n" };
            let _ = write!(text, "{comma}{}{}: ", "  ".repeat(depth + 1), quoted(name));
            // A recursive schema ends by its depth, many of them by what is left.
            if text.len() > self.left { text.push_str("{}") } else { self.made(property, depth + 1, text) }
        }
        let _ = write!(text, "\n{}}}", "  ".repeat(depth));
    }
}

/// A value of the document as JSON with two blanks a level.
fn write_json(node: &Node, depth: usize, text: &mut String) {
    match node {
        Node::Scalar { text: scalar, quoted: false } if is_bare(scalar) => text.push_str(scalar),
        Node::Scalar { text: scalar, .. } => text.push_str(&quoted(scalar)),
        Node::List(items) if items.is_empty() => text.push_str("[]"),
        Node::Map(entries) if entries.is_empty() => text.push_str("{}"),
        Node::List(items) => {
            text.push('[');
            for (at, item) in items.iter().take(100).enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write_json(item, depth + 1, text);
            }
            text.push(']');
        }
        Node::Map(entries) => {
            text.push_str("{\n");
            for (at, (name, value)) in entries.iter().take(100).enumerate() {
                let comma = if at == 0 { "" } else { ",\n" };
                let _ = write!(text, "{comma}{}{}: ", "  ".repeat((depth + 1).min(16)), quoted(name));
                write_json(value, depth + 1, text);
            }
            let _ = write!(text, "\n{}}}", "  ".repeat(depth.min(16)));
        }
    }
}

/// Whether a plain scalar of YAML is a number, a truth value or null in JSON.
fn is_bare(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || serde_json::from_str::<serde_json::Number>(text).is_ok()
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
