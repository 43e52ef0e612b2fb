//! A small file of MaxMind's format (<https://maxmind.github.io/MaxMind-DB/>, version 2.0), written by tests: networks
//! and where they are. Files that one may have are no part of the project.
//!
//! ```text
//! file = tree | 16 zero bytes | data | marker | metadata
//! tree = nodes of two records of 32 bits: another node, nothing (the number of nodes), or data (16 beyond, from its start)
//! ```

use std::fs;
use std::net::IpAddr;
use std::path::Path;

const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Behind the tree.
const SEPARATOR_BYTES: u32 = 16;

/// Types of fields, by number.
const STRING: u8 = 2;
const DOUBLE: u8 = 3;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const UINT64: u8 = 9;
const ARRAY: u8 = 11;

/// What a record of a node says.
#[derive(Clone, Copy)]
enum Entry {
    Nothing,
    Node(u32),
    /// So many bytes from the start of the data.
    Data(u32),
}

/// A file as it grows.
pub(crate) struct GeoFile {
    nodes: Vec<[Entry; 2]>,
    data: Vec<u8>,
}

impl GeoFile {
    /// Networks such as `203.0.113.0/24` with latitude and longitude, or with a country alone.
    pub(crate) fn new<'a>(networks: impl IntoIterator<Item = (&'a str, Option<(f64, f64)>)>) -> Self {
        let mut file = Self { nodes: vec![[Entry::Nothing; 2]], data: Vec::new() };
        for (network, location) in networks {
            let value = match location {
                Some((latitude, longitude)) => {
                    let degrees = [("latitude", double(latitude)), ("longitude", double(longitude))];
                    map(&[("location", map(&degrees))])
                }
                None => map(&[("country", map(&[("iso_code", text("DE"))]))]),
            };
            file.add(network, &value);
        }
        file
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let count = u32::try_from(self.nodes.len()).expect("a small file");
        let number = |entry: &Entry| match entry {
            Entry::Nothing => count,
            Entry::Node(node) => *node,
            Entry::Data(at) => count + SEPARATOR_BYTES + at,
        };
        let tree = self.nodes.iter().flatten().flat_map(|entry| number(entry).to_be_bytes());
        let metadata = map(&[
            ("binary_format_major_version", unsigned(UINT16, 2)),
            ("binary_format_minor_version", unsigned(UINT16, 0)),
            ("build_epoch", unsigned(UINT64, 1_800_000_000)),
            ("database_type", text("Test-City")),
            ("description", map(&[])),
            ("ip_version", unsigned(UINT16, 6)),
            ("languages", field(ARRAY, 0)),
            ("node_count", unsigned(UINT32, count)),
            ("record_size", unsigned(UINT16, 32)),
        ]);
        let separator = [0; SEPARATOR_BYTES as usize];
        tree.chain(separator)
            .chain(self.data.iter().copied())
            .chain(MARKER.iter().copied())
            .chain(metadata)
            .collect()
    }

    fn add(&mut self, network: &str, value: &[u8]) {
        let at = u32::try_from(self.data.len()).expect("a small file");
        self.data.extend_from_slice(value);
        let (address, prefix) = network.split_once('/').expect("a network has a prefix");
        let (address, prefix): (IpAddr, usize) =
            (address.parse().expect("an address"), prefix.parse().expect("a prefix"));
        // IPv4 lies below ::/96.
        let (bits, depth) = match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 96 + prefix),
            IpAddr::V6(address) => (u128::from(address), prefix),
        };
        let side = |level: usize| usize::from(bits >> (127 - level) & 1 == 1);
        let mut node = 0;
        for level in 0..depth - 1 {
            node = match self.nodes[node][side(level)] {
                Entry::Node(next) => next as usize,
                _ => {
                    let next = self.nodes.len();
                    self.nodes[node][side(level)] = Entry::Node(u32::try_from(next).expect("a small file"));
                    self.nodes.push([Entry::Nothing; 2]);
                    next
                }
            };
        }
        self.nodes[node][side(depth - 1)] = Entry::Data(at);
    }
}

/// Puts a file in place whole, as an operator should.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let draft = path.with_extension("draft");
    fs::write(&draft, bytes).expect("a temporary folder takes files");
    fs::rename(&draft, path).expect("a temporary folder takes files");
}

/// The head of a field: its type and size.
fn field(kind: u8, size: u8) -> Vec<u8> {
    assert!(size < 29, "longer ones are written in another way");
    // Types above 7 have a byte of their own.
    if kind > 7 { vec![size, kind - 7] } else { vec![kind << 5 | size] }
}

fn text(text: &str) -> Vec<u8> {
    let size = u8::try_from(text.len()).expect("a short text");
    [field(STRING, size), text.as_bytes().to_vec()].concat()
}

fn double(number: f64) -> Vec<u8> {
    [field(DOUBLE, 8), number.to_be_bytes().to_vec()].concat()
}

fn unsigned(kind: u8, number: u32) -> Vec<u8> {
    let bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    // Leading zero bytes are left out, and no type is shorter than it may be.
    let size = u8::try_from(bytes.len()).expect("four bytes at most");
    [field(kind, size), bytes].concat()
}

fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let head = field(MAP, u8::try_from(pairs.len()).expect("a few pairs"));
    pairs.iter().fold(head, |bytes, (key, value)| [bytes, text(key), value.clone()].concat())
}
