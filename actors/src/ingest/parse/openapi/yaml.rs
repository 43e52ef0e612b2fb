//! YAML as [`Node`]s. The library gives events; the tree, and what aliases may add to it, is ours.
//!
//! An alias stands for a copy of what its anchor named, and a few lines of aliases of aliases can
//! stand for more values than there is memory ("billion laughs"). Copies are therefore counted before
//! they are made.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::node::{DEPTH_MAX, NODES_MAX, Node};

/// Reads the first document of a stream; the error says what stands where.
pub(super) fn read(text: &str) -> Result<Node, String> {
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let line = span.start.line();
        let done = match event {
            Event::Alias(anchor) => builder.alias(anchor),
            Event::Scalar(text, style, anchor, _) => {
                let quoted = style != ScalarStyle::Plain;
                builder.add(Node::Scalar { text: text.into_owned(), quoted }, anchor, 1)
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

/// A list or map that is not ended yet.
struct Open {
    node: Node,
    /// The key that waits for its value, in a map.
    key: Option<String>,
    /// What `<<: *defaults` brings in, for keys that are not there.
    merged: Vec<(String, Node)>,
    anchor: usize,
    /// Values in it so far, itself included.
    nodes: usize,
}

struct Builder {
    open: Vec<Open>,
    /// What each anchor names, and how many values that are.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels inside each other"));
        }
        self.count(1)?;
        self.open.push(Open { node, key: None, merged: Vec::new(), anchor, nodes: 1 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some(Open { mut node, merged, anchor, nodes, .. }) => {
                self.nodes -= nodes;
                merge(&mut node, merged);
                self.add(node, anchor, nodes)
            }
            None => Ok(()),
        }
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        // An anchor that is still open would hold itself.
        let Some((node, nodes)) = self.anchors.get(&anchor) else {
            return Err("an alias without anchor".to_owned());
        };
        let nodes = *nodes;
        if self.nodes + nodes > NODES_MAX {
            return Err(format!("aliases stand for more than {NODES_MAX} values"));
        }
        let node = node.clone();
        self.add(node, 0, nodes)
    }

    /// Puts a finished value, of `nodes` values in all, where it belongs.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), String> {
        self.count(nodes)?;
        if anchor != 0 {
            // A copy for the anchor counts too.
            self.count(nodes)?;
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        open.nodes += nodes;
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

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX { Err(format!("more than {NODES_MAX} values")) } else { Ok(()) }
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
