//! What a scan found suspicious about a snippet: facts for whoever reads it, never a reason to hide it.
//!
//! Kept as bits beside the other facts of a snippet, in two bytes that were zero before there were
//! labels: bundles of before have none. A bit keeps its meaning for ever; new labels take new bits.

use serde::{Deserialize, Serialize};

/// One thing that was found. Names are stable: clients and metrics see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Tells its reader to ignore the instructions it has, or to be somebody else.
    InstructionOverride,
    /// Imitates the marks between turns of a conversation with a model.
    RoleMarker,
    /// Imitates a call of a tool, or its result.
    ToolCall,
    /// Asks for secrets or the conversation to be shown or sent somewhere.
    Exfiltration,
    /// Tells an agent to fetch a program and run it.
    RemoteCommand,
    /// Asks that something be kept from the user.
    Concealment,
    /// Held characters that people cannot see; they were taken out.
    HiddenText,
    /// Holds encoded text that says one of the above.
    EncodedText,
}

impl Label {
    /// Every label, in the order of its bit.
    pub const ALL: [Self; 8] = [
        Self::InstructionOverride,
        Self::RoleMarker,
        Self::ToolCall,
        Self::Exfiltration,
        Self::RemoteCommand,
        Self::Concealment,
        Self::HiddenText,
        Self::EncodedText,
    ];

    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::InstructionOverride => "instruction_override",
            Self::RoleMarker => "role_marker",
            Self::ToolCall => "tool_call",
            Self::Exfiltration => "exfiltration",
            Self::RemoteCommand => "remote_command",
            Self::Concealment => "concealment",
            Self::HiddenText => "hidden_text",
            Self::EncodedText => "encoded_text",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The labels of one snippet; mostly none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Labels(u16);

impl Labels {
    /// No label.
    pub const NONE: Self = Self(0);

    /// Adds a label.
    pub fn insert(&mut self, label: Label) {
        self.0 |= label.bit();
    }

    /// Adds all labels of another set.
    pub fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `label` is one of them.
    pub fn contains(self, label: Label) -> bool {
        self.0 & label.bit() != 0
    }

    /// The labels, in the order of [`Label::ALL`]. Bits that a later version gave a meaning are left out.
    pub fn iter(self) -> impl Iterator<Item = Label> {
        Label::ALL.into_iter().filter(move |label| self.contains(*label))
    }

    pub(super) fn to_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_le_bytes(bytes))
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<T: IntoIterator<Item = Label>>(labels: T) -> Self {
        let mut set = Self::NONE;
        labels.into_iter().for_each(|label| set.insert(label));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_bits_and_their_order() {
        let labels: Labels = [Label::HiddenText, Label::InstructionOverride].into_iter().collect();
        assert_eq!(labels.to_bytes(), [0b0100_0001, 0]);
        assert_eq!(Labels::from_bytes(labels.to_bytes()), labels);
        let names: Vec<_> = labels.iter().map(Label::name).collect();
        assert_eq!(names, ["instruction_override", "hidden_text"]);
        assert!(Labels::NONE.is_empty() && !labels.is_empty() && !labels.contains(Label::ToolCall));
    }

    #[test]
    fn labels_of_a_later_version_are_kept_and_not_shown() {
        let later = Labels::from_bytes([0, 0x80]);
        assert_eq!(later.iter().count(), 0);
        assert!(!later.is_empty());
    }
}
