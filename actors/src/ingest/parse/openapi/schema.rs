//! Schemas as a reader sees them: a type in words, properties as a nested list.

use std::fmt::Write;

use super::node::Node;
use super::{Api, one_line};

/// Properties shown of one schema.
const PROPERTIES_MAX: usize = 80;
/// Values of an enumeration that are shown.
const VALUES_MAX: usize = 24;
/// How far schemas inside schemas are looked into for their parts.
const PARTS_DEPTH_MAX: usize = 4;

impl<'a> Api<'a> {
    /// The type of a schema in words, e.g. `array of Pet`.
    pub(super) fn type_of(&mut self, schema: &'a Node) -> String {
        self.type_at(schema, 0)
    }

    fn type_at(&mut self, schema: &'a Node, depth: usize) -> String {
        if let Some(pointer) = schema.text_of("$ref") {
            return pointer.rsplit('/').next().unwrap_or(pointer).to_owned();
        }
        if depth >= PARTS_DEPTH_MAX {
            return "object".to_owned();
        }
        for (key, joined) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
            let parts = schema.get(key).map(Node::items).unwrap_or_default();
            if !parts.is_empty() {
                let parts: Vec<String> =
                    parts.iter().take(8).map(|part| self.type_at(part, depth + 1)).collect();
                return parts.join(joined);
            }
        }
        let mut named = match schema.get("type") {
            // OpenAPI 3.1: `[string, "null"]`.
            Some(Node::List(types)) => {
                types.iter().take(8).filter_map(Node::text).collect::<Vec<_>>().join(" or ")
            }
            Some(one) => one.text().unwrap_or_default().to_owned(),
            None if schema.get("properties").is_some() => "object".to_owned(),
            None if schema.get("items").is_some() => "array".to_owned(),
            None => "any".to_owned(),
        };
        if named == "array" {
            named = match schema.get("items") {
                Some(items) => format!("array of {}", self.type_at(items, depth + 1)),
                None => named,
            };
        } else if named == "object"
            && let Some(values) =
                schema.get("additionalProperties").filter(|values| !values.entries().is_empty())
        {
            named = format!("map of {}", self.type_at(values, depth + 1));
        }
        if let Some(format) = schema.text_of("format") {
            let _ = write!(named, " ({format})");
        }
        if schema.is_true("nullable") {
            named.push_str(" or null");
        }
        let values = schema.get("enum").map(Node::items).unwrap_or_default();
        if !values.is_empty() {
            let shown: Vec<String> = values
                .iter()
                .take(VALUES_MAX)
                .filter_map(Node::text)
                .map(|value| format!("`{value}`"))
                .collect();
            let _ = write!(named, ", one of {}", shown.join(", "));
        }
        for (key, words) in
            [("default", "default"), ("minimum", "at least"), ("maximum", "at most"), ("pattern", "pattern")]
        {
            if let Some(value) = schema.text_of(key).filter(|value| value.len() <= 100) {
                let _ = write!(named, ", {words} `{value}`");
            }
        }
        named
    }

    /// Properties of a schema as a list, `depth` levels of objects inside objects.
    pub(super) fn properties(&mut self, schema: &'a Node, depth: usize) -> String {
        let mut text = String::new();
        self.list(schema, depth, 0, &mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn list(&mut self, schema: &'a Node, depth: usize, indent: usize, text: &mut String) {
        if depth == 0 || self.left == 0 {
            return;
        }
        let mut found = Vec::new();
        self.parts(schema, 0, &mut found);
        for (name, property, required) in found {
            let start = text.len();
            let kind = self.type_of(property);
            let required = if required { ", required" } else { "" };
            let _ = write!(text, "{}- `{name}` ({kind}{required})", "  ".repeat(indent));
            let resolved = self.resolve(property);
            let description = property.text_of("description").or_else(|| resolved.text_of("description"));
            let description = one_line(description.unwrap_or_default());
            if !description.is_empty() {
                text.push_str(": ");
                text.push_str(&description);
            }
            text.push('\n');
            self.left = self.left.saturating_sub(text.len() - start);
            let inner = match resolved.get("items") {
                Some(items) => self.resolve(items),
                None => resolved,
            };
            self.list(inner, depth - 1, indent + 1, text);
        }
    }

    /// The properties of a schema and of those it is made of.
    fn parts(&mut self, schema: &'a Node, depth: usize, found: &mut Vec<(&'a str, &'a Node, bool)>) {
        let schema = self.resolve(schema);
        let schema = match schema.get("items") {
            Some(items) if schema.get("properties").is_none() => self.resolve(items),
            _ => schema,
        };
        let required: Vec<&str> = schema
            .get("required")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .take(1_000)
            .filter_map(Node::text)
            .collect();
        for (name, property) in schema.get("properties").map(Node::entries).unwrap_or_default() {
            if found.len() >= PROPERTIES_MAX {
                return;
            }
            if !found.iter().any(|(known, ..)| *known == name) {
                found.push((name, property, required.contains(&name.as_str())));
            }
        }
        if depth >= PARTS_DEPTH_MAX {
            return;
        }
        for key in ["allOf", "oneOf", "anyOf"] {
            for part in schema.get(key).map(Node::items).unwrap_or_default().iter().take(16) {
                self.parts(part, depth + 1, found);
            }
        }
    }
}
