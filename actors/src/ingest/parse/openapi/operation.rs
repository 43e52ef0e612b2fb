//! One operation: what it takes, what it answers, and a request that can be pasted.

use std::fmt::Write;

use super::super::outline::one_line as heading_line;
use super::node::Node;
use super::{Api, Operation, one_line};

/// Parameters shown of one operation.
const PARAMETERS_MAX: usize = 60;
/// Answers shown of one operation.
const RESPONSES_MAX: usize = 24;
/// A body longer than this is left out of the example request, in bytes.
const BODY_BYTES_MAX: usize = 4 << 10;

impl<'a> Api<'a> {
    pub(super) fn operation(&mut self, operation: &Operation<'a>, level: u8) {
        let node = operation.node;
        let heading = format!("{} {}", operation.method.to_ascii_uppercase(), operation.path);
        let anchor = node.text_of("operationId").map(heading_line).into_iter().collect();
        self.outline.open(level, &heading, anchor);
        let summary = one_line(node.text_of("summary").unwrap_or_default());
        self.outline.prose(summary, 0);
        if node.is_true("deprecated") {
            self.outline.prose("Deprecated.".to_owned(), 0);
        }
        self.markdown(node.text_of("description").unwrap_or_default(), level);
        let parameters = self.parameters(operation);
        let body = self.body(node, &parameters);
        self.parameter_list(&parameters);
        if let Some((media_type, schema, required)) = &body {
            let required = if *required { ", required" } else { "" };
            let mut text = format!("Request body ({media_type}{required})");
            if let Some(schema) = schema.get("schema") {
                let _ = write!(text, ": {}", self.type_of(schema));
                let properties = self.properties(schema, 3);
                if !properties.is_empty() {
                    let _ = write!(text, "\n{properties}");
                }
            }
            self.outline.prose(text, 0);
        }
        self.responses(node);
        let request =
            self.request(operation, &parameters, body.map(|(media_type, media, _)| (media_type, media)));
        self.outline.code("bash".to_owned(), request);
    }

    /// Parameters of the operation, and those of its path that it does not replace.
    fn parameters(&mut self, operation: &Operation<'a>) -> Vec<&'a Node> {
        let mut found: Vec<&'a Node> = Vec::new();
        for holder in [operation.node, operation.item] {
            for parameter in
                holder.get("parameters").map(Node::items).unwrap_or_default().iter().take(PARAMETERS_MAX)
            {
                let parameter = self.resolve(parameter);
                let same = |known: &&Node| {
                    known.text_of("name") == parameter.text_of("name")
                        && known.text_of("in") == parameter.text_of("in")
                };
                if !found.iter().any(same) {
                    found.push(parameter);
                }
            }
        }
        found
    }

    fn parameter_list(&mut self, parameters: &[&'a Node]) {
        let mut text = String::new();
        for parameter in parameters.iter().filter(|parameter| parameter.text_of("in") != Some("body")) {
            let name = parameter.text_of("name").unwrap_or_default();
            let place = parameter.text_of("in").unwrap_or_default();
            // Swagger 2 has the type beside the name.
            let kind = self.type_of(parameter.get("schema").unwrap_or(parameter));
            let required = if parameter.is_true("required") { ", required" } else { "" };
            let _ = write!(text, "\n- `{name}` ({place}, {kind}{required})");
            let description = one_line(parameter.text_of("description").unwrap_or_default());
            if !description.is_empty() {
                let _ = write!(text, ": {description}");
            }
        }
        if !text.is_empty() {
            self.outline.prose(format!("Parameters:{text}"), 0);
        }
    }

    /// Media type, media object and whether the body is required.
    fn body(&mut self, node: &'a Node, parameters: &[&'a Node]) -> Option<(String, &'a Node, bool)> {
        if let Some(body) = node.get("requestBody") {
            let body = self.resolve(body);
            let (media_type, media) = media(body)?;
            return Some((media_type.to_owned(), media, body.is_true("required")));
        }
        let body = parameters.iter().find(|parameter| parameter.text_of("in") == Some("body"))?;
        let consumes = node.get("consumes").or_else(|| self.root.get("consumes"));
        let media_type =
            consumes.and_then(|types| types.items().first()?.text()).unwrap_or("application/json");
        Some((media_type.to_owned(), body, body.is_true("required")))
    }

    fn responses(&mut self, node: &'a Node) {
        let mut text = String::new();
        for (status, response) in
            node.get("responses").map(Node::entries).unwrap_or_default().iter().take(RESPONSES_MAX)
        {
            let response = self.resolve(response);
            let schema = match media(response) {
                Some((_, media)) => media.get("schema"),
                None => response.get("schema"),
            };
            let _ = write!(text, "\n- `{status}`");
            if let Some(schema) = schema {
                let _ = write!(text, " ({})", self.type_of(schema));
            }
            let description = one_line(response.text_of("description").unwrap_or_default());
            if !description.is_empty() {
                let _ = write!(text, ": {description}");
            }
            if let Some(schema) = schema.filter(|_| status.starts_with('2')) {
                for line in self.properties(schema, 2).lines() {
                    let _ = write!(text, "\n  {line}");
                }
            }
        }
        if !text.is_empty() {
            self.outline.prose(format!("Responses:{text}"), 0);
        }
    }

    /// A request for a shell.
    fn request(
        &mut self,
        operation: &Operation<'a>,
        parameters: &[&'a Node],
        body: Option<(String, &'a Node)>,
    ) -> String {
        let base = self.servers().into_iter().next().unwrap_or_default();
        let query: Vec<String> = parameters
            .iter()
            .filter(|parameter| parameter.text_of("in") == Some("query") && parameter.is_true("required"))
            .filter_map(|parameter| parameter.text_of("name"))
            .map(|name| format!("{name}={{{name}}}"))
            .collect();
        let question = if query.is_empty() { "" } else { "?" };
        let address =
            format!("{}{}{question}{}", base.trim_end_matches('/'), operation.path, query.join("&"));
        let mut text = match operation.method {
            "get" => format!("curl {}", shell(&address)),
            method => format!("curl -X {} {}", method.to_ascii_uppercase(), shell(&address)),
        };
        if self.is_protected(operation.node) {
            text.push_str(" \\\n  -H \"Authorization: Bearer $TOKEN\"");
        }
        if let Some((media_type, media)) = body {
            let _ = write!(text, " \\\n  -H {}", shell(&format!("Content-Type: {media_type}")));
            let example = if media_type.contains("json") { self.example(media) } else { None };
            if let Some(example) = example.filter(|example| example.len() <= BODY_BYTES_MAX) {
                let _ = write!(text, " \\\n  -d {}", shell(&example));
            }
        }
        text
    }

    /// Whether the operation, or else the document, asks for a bearer token.
    fn is_protected(&self, node: &Node) -> bool {
        let asked =
            node.get("security").or_else(|| self.root.get("security")).map(Node::items).unwrap_or_default();
        let schemes = self.root.get("components").and_then(|components| components.get("securitySchemes"));
        let schemes = schemes.or_else(|| self.root.get("securityDefinitions"));
        asked.iter().take(8).flat_map(Node::entries).take(8).any(|(name, _)| {
            schemes.and_then(|schemes| schemes.get(name)).is_some_and(|scheme| {
                matches!(scheme.text_of("type"), Some("oauth2" | "openIdConnect"))
                    || scheme.text_of("scheme") == Some("bearer")
            })
        })
    }
}

/// The media type that is shown: JSON where there is a choice.
fn media(holder: &Node) -> Option<(&str, &Node)> {
    let types = holder.get("content")?.entries();
    let json = types.iter().find(|(name, _)| name.contains("json"));
    json.or_else(|| types.first()).map(|(name, media)| (name.as_str(), media))
}

/// A text in single quotes of a shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
