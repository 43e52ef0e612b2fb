//! Values of a document, whatever it was written in, with what bounds them.

/// Values of one document, those that aliases stand for included.
pub(super) const NODES_MAX: usize = 500_000;
/// Bytes of text in one document, those that aliases stand for included: a few times what a page may have.
pub(super) const TEXT_BYTES_MAX: usize = 32 << 20;
/// Maps and lists inside each other.
pub(super) const DEPTH_MAX: usize = 64;

/// A value. Maps keep the order of the document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A text, number, truth value or nothing, as it is written.
    Scalar {
        text: String,
        /// Whether it was a text: in quotes, where it matters.
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The text at `key`.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.text_of(key) == Some("true")
    }

    pub(super) fn entries(&self) -> &[(String, Node)] {
        match self {
            Self::Map(entries) => entries,
            Self::Scalar { .. } | Self::List(_) => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match self {
            Self::List(items) => items,
            Self::Scalar { .. } | Self::Map(_) => &[],
        }
    }
}
