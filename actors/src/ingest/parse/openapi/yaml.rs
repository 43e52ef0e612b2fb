//! YAML as [`Node`]s. The library gives events; the tree, and what aliases may add to it, is ours.
//!
//! An alias stands for a copy of what its anchor named, and a few lines of aliases of aliases can
//! stand for more values than there is memory ("billion laughs"), and one alias of a long text for as
//! many bytes. Copies are therefore counted before they are made, in values and in bytes of text.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::node::{DEPTH_MAX, NODES_MAX, Node, TEXT_BYTES_MAX};

/// Reads the first document of a stream; the error says what stands where.
pub(super) fn read(text: &str) -> Result<Node, String> {
    let mut builder =
        Builder { open: Vec::new(), anchors: HashMap::new(), size: Size::default(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let line = span.start.line();
        let done = match event {
            Event::Alias(anchor) => builder.alias(anchor),
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                let size = Size { nodes: 1, bytes: text.len() };
                builder.add(Node::Scalar { text: text.into_owned(), quoted }, anchor, size)
            }
            Event::SequenceStart(anchor, _) => builder.begin(Node::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => builder.begin(Node::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => builder.end(),
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        };
        done.map_err(|reason| format!("{reason} at line {line}"))?;
    }
    builder.root.ok_or_else(|| "no document".to_owned())
}

/// What values take, those inside them included.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    /// Bytes of text.
    bytes: usize,
}

impl Size {
    /// A list or map with nothing in it.
    const EMPTY: Self = Self { nodes: 1, bytes: 0 };

    fn plus(self, more: Self) -> Self {
        Self { nodes: self.nodes + more.nodes, bytes: self.bytes + more.bytes }
    }

    fn minus(self, less: Self) -> Self {
        Self { nodes: self.nodes - less.nodes, bytes: self.bytes - less.bytes }
    }
}

/// A list or map that is not ended yet.
struct Open {
    node: Node,
    /// The key that waits for its value, in a map.
    key: Option<String>,
    /// What `<<: *defaults` brings in, for keys that are not there.
    merged: Vec<(String, Node)>,
    anchor: usize,
    /// What is in it so far, itself included.
    size: Size,
}

struct Builder {
    open: Vec<Open>,
    /// What each anchor names, and how much that is.
    anchors: HashMap<usize, (Node, Size)>,
    size: Size,
    root: Option<Node>,
}

impl Builder {
    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels inside each other"));
        }
        self.count(Size::EMPTY)?;
        self.open.push(Open { node, key: None, merged: Vec::new(), anchor, size: Size::EMPTY });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some(Open { mut node, merged, anchor, size, .. }) => {
                self.size = self.size.minus(size);
                merge(&mut node, merged);
                self.add(node, anchor, size)
            }
            None => Ok(()),
        }
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        // An anchor that is still open would hold itself.
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err("an alias without anchor".to_owned());
        };
        within(self.size.plus(*size)).map_err(|reason| format!("aliases stand for {reason}"))?;
        let (node, size) = (node.clone(), *size);
        self.add(node, 0, size)
    }

    /// Puts a finished value, of `size` in all, where it belongs.
    fn add(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), String> {
        self.count(size)?;
        if anchor != 0 {
            // A copy for the anchor counts too.
            self.count(size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        open.size = open.size.plus(size);
        match (&mut open.node, open.key.take()) {
            (Node::List(items), _) => items.push(node),
            (Node::Map(_), Some(key)) if key == "<<" => {
                if let Node::Map(more) = node {
                    open.merged.extend(more);
                }
            }
            (Node::Map(entries), Some(key)) => entries.push((key, node)),
            (Node::Map(_), None) => open.key = Some(node.text().unwrap_or_default().to_owned()),
            (Node::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    fn count(&mut self, size: Size) -> Result<(), String> {
        self.size = self.size.plus(size);
        within(self.size)
    }
}

/// Says what is too much about a document of this size.
fn within(size: Size) -> Result<(), String> {
    if size.nodes > NODES_MAX {
        Err(format!("more than {NODES_MAX} values"))
    } else if size.bytes > TEXT_BYTES_MAX {
        Err(format!("more than {TEXT_BYTES_MAX} bytes of text"))
    } else {
        Ok(())
    }
}

/// Adds entries whose keys are not there yet.
fn merge(node: &mut Node, merged: Vec<(String, Node)>) {
    if let Node::Map(entries) = node
        && !merged.is_empty()
    {
        let mut known: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
        entries.extend(merged.into_iter().filter(|(key, _)| known.insert(key.clone())));
    }
}
