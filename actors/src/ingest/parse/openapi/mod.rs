//! OpenAPI documents (Swagger 2.0, OpenAPI 3.0 and 3.1; JSON and YAML): a section for each operation.
//!
//! [`parse`] is the way in. A document is told by its content, the key `openapi` or `swagger` at its
//! root. An operation's heading is its method and path, its anchor the `operationId`; parameters,
//! bodies and answers are lists, and a ready request is its example.
//!
//! Invariant: nothing outside the document is read. `$ref` is followed inside it, a few levels deep,
//! and all that references add together is bounded by the size of the document.

mod example;
mod json;
mod node;
mod operation;
mod schema;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::HashMap;

use super::outline::Outline;
use super::{ParseError, ParseLimits, Parsed, Section, SkipReason, markdown};
use node::Node;

/// Methods an operation may have, in the order they are shown.
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/// Reads an OpenAPI document; anything else is skipped.
///
/// # Errors
/// [`ParseError::Syntax`] when the text is neither JSON nor YAML, nests deeper than the limit, or has
/// aliases that expand too far.
pub fn parse(path: &str, text: &str, limits: &ParseLimits) -> Result<Parsed, ParseError> {
    let root = read(text)?;
    if !is_api(&root) {
        return Ok(Parsed::Skipped(SkipReason::UnknownFormat));
    }
    let mut api = Api {
        outline: Outline::new(limits),
        limits,
        shared: shared(&root),
        root: &root,
        left: text.len().saturating_mul(4).max(64 << 10),
        resolved: 0,
    };
    api.introduction();
    api.operations();
    api.schemas();
    Ok(Parsed::Document(api.outline.finish(path, title_of(&root))))
}

/// The title that a document gives its API; nothing when it gives none.
///
/// # Errors
/// As [`parse`], and [`ParseError::Syntax`] for anything that is no OpenAPI document.
pub fn title(text: &str) -> Result<Option<String>, ParseError> {
    let root = read(text)?;
    if !is_api(&root) {
        let reason = "it has no key `openapi` or `swagger` with a version 2 or 3".to_owned();
        return Err(ParseError::Syntax { reason });
    }
    Ok(title_of(&root))
}

fn read(text: &str) -> Result<Node, ParseError> {
    let root = if text.trim_start().starts_with('{') { json::read(text) } else { yaml::read(text) };
    root.map_err(|reason| ParseError::Syntax { reason })
}

fn is_api(root: &Node) -> bool {
    ["openapi", "swagger"]
        .iter()
        .any(|key| root.get(key).and_then(Node::text).is_some_and(|version| version.starts_with(['2', '3'])))
}

fn title_of(root: &Node) -> Option<String> {
    root.get("info").and_then(|info| info.text_of("title")).map(str::to_owned)
}

/// Whether a text has the key that an OpenAPI document begins with.
pub(super) fn is_openapi(text: &str) -> bool {
    if text.starts_with('{') {
        return text.contains("\"openapi\"") || text.contains("\"swagger\"");
    }
    text.lines().take(500).any(|line| {
        let key = line.trim_start_matches(['"', '\'']);
        ["openapi", "swagger"].iter().any(|name| {
            key.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
        })
    })
}

/// A document while its sections are written.
struct Api<'a> {
    outline: Outline,
    limits: &'a ParseLimits,
    root: &'a Node,
    /// What `$ref` can lead to, by its whole pointer.
    shared: HashMap<String, &'a Node>,
    /// Bytes that schemas and examples may still take.
    left: usize,
    /// References followed so far.
    resolved: usize,
}

/// References followed in one document.
const RESOLVED_MAX: usize = 100_000;

fn shared(root: &Node) -> HashMap<String, &Node> {
    let mut found = HashMap::new();
    for group in ["definitions", "parameters", "responses"] {
        for (name, node) in root.get(group).map(Node::entries).unwrap_or_default() {
            found.insert(format!("#/{group}/{name}"), node);
        }
    }
    for (group, members) in root.get("components").map(Node::entries).unwrap_or_default() {
        for (name, node) in members.entries() {
            found.insert(format!("#/components/{group}/{name}"), node);
        }
    }
    found
}

impl<'a> Api<'a> {
    /// Title, description, servers and how to sign in.
    fn introduction(&mut self) {
        let info = self.root.get("info");
        let text = |key| info.and_then(|info| info.text_of(key)).unwrap_or_default();
        let (title, version) = (text("title"), text("version"));
        self.outline.open(1, if title.is_empty() { "API" } else { title }, Vec::new());
        if !version.is_empty() {
            self.outline.prose(format!("Version {version} of the API."), 0);
        }
        self.markdown(text("description"), 1);
        let servers = self.servers();
        if !servers.is_empty() {
            let list: Vec<String> = servers.iter().map(|server| format!("- {server}")).collect();
            self.outline.prose(format!("Servers:\n{}", list.join("\n")), 0);
        }
        let security = self.security();
        if !security.is_empty() {
            self.outline.prose(format!("Authentication:\n{}", security.join("\n")), 0);
        }
    }

    /// Base addresses: `servers` of OpenAPI 3, `schemes`, `host` and `basePath` of Swagger 2.
    fn servers(&self) -> Vec<String> {
        if let Some(servers) = self.root.get("servers") {
            return servers
                .items()
                .iter()
                .take(16)
                .filter_map(|server| server.text_of("url"))
                .map(str::to_owned)
                .collect();
        }
        let Some(host) = self.root.text_of("host") else { return Vec::new() };
        let scheme = self.root.get("schemes").and_then(|schemes| schemes.items().first()?.text());
        let base = self.root.text_of("basePath").unwrap_or_default();
        vec![format!("{}://{host}{base}", scheme.unwrap_or("https"))]
    }

    fn security(&self) -> Vec<String> {
        let schemes = self.root.get("components").and_then(|components| components.get("securitySchemes"));
        let schemes = schemes.or_else(|| self.root.get("securityDefinitions"));
        let entries = schemes.map(Node::entries).unwrap_or_default();
        let line = |(name, scheme): &(String, Node)| {
            let part = |key| scheme.text_of(key).unwrap_or_default();
            let how = [part("type"), part("scheme"), part("in"), part("name")];
            let how: Vec<&str> = how.into_iter().filter(|part| !part.is_empty()).collect();
            let description = one_line(part("description"));
            let colon = if description.is_empty() { "" } else { ": " };
            format!("- `{name}` ({}){colon}{description}", how.join(", "))
        };
        entries.iter().take(32).map(line).collect()
    }

    /// Operations by tag, in the order the document names the tags and then the paths.
    fn operations(&mut self) {
        let mut tags: Vec<(&str, &str, Vec<Operation<'a>>)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for tag in self.root.get("tags").map(Node::items).unwrap_or_default() {
            let Some(name) = tag.text_of("name") else { continue };
            places.entry(name).or_insert_with(|| {
                tags.push((name, tag.text_of("description").unwrap_or_default(), Vec::new()));
                tags.len() - 1
            });
        }
        let paths = self.root.get("paths").map(Node::entries).unwrap_or_default();
        let hooks = self.root.get("webhooks").map(Node::entries).unwrap_or_default();
        for (path, item) in paths.iter().chain(hooks) {
            let item = self.resolve(item);
            for method in METHODS {
                let Some(node) = item.get(method) else { continue };
                let tag = node.get("tags").and_then(|tags| tags.items().first()?.text()).unwrap_or_default();
                let place = *places.entry(tag).or_insert_with(|| {
                    tags.push((tag, "", Vec::new()));
                    tags.len() - 1
                });
                tags[place].2.push(Operation { method, path, item, node });
            }
        }
        for (tag, description, operations) in tags {
            if operations.is_empty() {
                continue;
            }
            let level = if tag.is_empty() {
                2
            } else {
                self.outline.open(2, tag, Vec::new());
                self.markdown(description, 2);
                3
            };
            for operation in operations {
                self.operation(&operation, level);
            }
        }
    }

    /// The objects that operations take and give.
    fn schemas(&mut self) {
        let components = self.root.get("components").and_then(|components| components.get("schemas"));
        let schemas =
            components.or_else(|| self.root.get("definitions")).map(Node::entries).unwrap_or_default();
        if schemas.is_empty() {
            return;
        }
        self.outline.open(2, "Schemas", Vec::new());
        for (name, schema) in schemas {
            self.outline.open(3, name, Vec::new());
            self.markdown(schema.text_of("description").unwrap_or_default(), 3);
            let mut text = format!("`{name}` is {}", self.type_of(schema));
            let properties = self.properties(schema, 2);
            if !properties.is_empty() {
                text.push_str(":\n");
                text.push_str(&properties);
            }
            self.outline.prose(text, 0);
        }
    }

    /// Adds Markdown of the document; its headings become lines, as it stands inside a section.
    fn markdown(&mut self, text: &str, level: u8) {
        let sections: Vec<Section> = markdown::sections(text, level, self.limits);
        for section in sections {
            if !section.heading.is_empty() {
                self.outline.prose(format!("### {}", section.heading), 0);
            }
            for piece in section.pieces {
                match piece.block {
                    twinmcp_storage::bundle::Block::Prose(text) => self.outline.prose(text, piece.link_bytes),
                    twinmcp_storage::bundle::Block::Code { language, code } => {
                        self.outline.code(language, code)
                    }
                }
            }
        }
    }

    /// What a node with `$ref` refers to inside the document; else the node itself.
    fn resolve(&mut self, node: &'a Node) -> &'a Node {
        let mut node = node;
        for _ in 0..8 {
            let Some(pointer) = node.text_of("$ref") else { return node };
            self.resolved += 1;
            match self.shared.get(pointer) {
                Some(found) if self.resolved <= RESOLVED_MAX => node = found,
                _ => return node,
            }
        }
        node
    }
}

/// One operation with the path it stands below.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    item: &'a Node,
    node: &'a Node,
}

/// The first paragraph of a description, as one line.
fn one_line(text: &str) -> String {
    let first = text.trim().split("\n\n").next().unwrap_or_default();
    let mut line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(300) {
        line.truncate(end);
        line.push('…');
    }
    line
}
