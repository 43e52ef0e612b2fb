//! A graph over vectors (HNSW, by `instant-distance`), for sets too large to scan.
//!
//! It holds its own copy of the rows, so it stands alone: a large bundle has one, and so may any other
//! set of vectors, such as the catalogue of libraries. It cannot be added to, filtered, or searched
//! wider than it was built for.
//!
//! Bytes: format (1), dimensions (u32), then postcard of what the library serialises. Whatever is read
//! is checked first, since the library trusts the numbers of neighbours it finds.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroUsize;

use instant_distance::{Builder, HnswMap, Point, Search};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::best::{self, Rank};
use super::dot;
use super::error::BundleError;
use super::vectors::{DIMENSIONS_MAX, Rows};

/// Rows below which a scan is better than a graph in every respect (measured between 20,000, where the
/// scan wins, and 100,000, where they are at par).
pub const GRAPH_MIN: usize = 50_000;

/// Candidates a search keeps, so also the most results it can give. 40 gave recall 0.950 and 200 gave
/// 0.989 on 100,000 vectors of 256 dimensions.
pub const GRAPH_RESULTS_MAX: usize = 128;

/// Candidates kept while building; more makes a better graph and takes longer in proportion.
const BUILD_CANDIDATES: usize = 100;

const FORMAT: u8 = 1;
const PREFIX_BYTES: usize = 5;

/// A graph over rows of vectors, immutable.
pub struct VectorGraph {
    dimensions: usize,
    map: HnswMap<Row, u32>,
}

thread_local! {
    /// What a search needs to remember, kept from search to search.
    static SEARCH: RefCell<Search> = RefCell::default();
}

impl VectorGraph {
    /// Builds the graph over the rows that hold a vector. Takes about 20 CPU-seconds for 20,000 rows.
    ///
    /// The threads are its own, so that a build never takes those that answer. With one thread and the
    /// same `seed` the same rows give the same graph.
    ///
    /// # Errors
    /// [`BundleError::Threads`] when the threads cannot be started.
    pub fn build(rows: &Rows, seed: u64, threads: NonZeroUsize) -> Result<Self, BundleError> {
        let dimensions = rows.dimensions();
        let (mut points, mut indexes) = (Vec::new(), Vec::new());
        for (index, row) in rows.row_bytes().chunks_exact(dimensions).enumerate() {
            let row = Row::new(row);
            if row.scale > 0.0 {
                points.push(row);
                indexes.push(index as u32);
            }
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|at| format!("vector-graph-{at}"))
            .build()
            .map_err(BundleError::Threads)?;
        let builder =
            Builder::default().seed(seed).ef_construction(BUILD_CANDIDATES).ef_search(GRAPH_RESULTS_MAX);
        Ok(Self { dimensions, map: pool.install(|| builder.build(points, indexes)) })
    }

    /// Rows near `query` with their cosines, best first; at most [`GRAPH_RESULTS_MAX`].
    ///
    /// # Errors
    /// [`BundleError::Dimensions`] and [`BundleError::NotFinite`] for a query of another shape.
    pub fn search(&self, query: &[f32], limit: usize) -> Result<Vec<(u32, f32)>, BundleError> {
        let unit = dot::unit(query, self.dimensions)?;
        let Some(query) = unit.filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let bytes: Vec<u8> = dot::quantise(&query).map(|value| value as u8).collect();
        let point = Row::new(&bytes);
        let exact = |row: &Row| dot::cosine(&row.values, row.scale, &query);
        let found: Vec<Rank> = SEARCH.with_borrow_mut(|search| {
            self.map.search(&point, search).map(|item| Rank::new(*item.value, exact(item.point))).collect()
        });
        Ok(best::first(found, limit))
    }

    /// Rows in the graph.
    pub fn len(&self) -> usize {
        self.map.values.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.map.values.is_empty()
    }

    /// Numbers in a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The largest index a search can give; 0 for an empty graph.
    pub(super) fn largest_index(&self) -> usize {
        self.map.values.iter().copied().max().unwrap_or(0) as usize
    }

    /// Bytes of memory it takes: a row with its place, 64 links, and the upper layers.
    pub fn memory_bytes(&self) -> u64 {
        let row = self.dimensions + size_of::<Row>() + size_of::<u32>();
        (self.len() * (row + 64 * size_of::<u32>() * 3 / 2)) as u64
    }

    /// The graph as bytes for [`from_bytes`](Self::from_bytes).
    ///
    /// # Errors
    /// [`BundleError::Graph`] when it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let mut prefix = vec![FORMAT];
        prefix.extend_from_slice(&(self.dimensions as u32).to_le_bytes());
        postcard::to_extend(&self.map, prefix).map_err(BundleError::Graph)
    }

    /// A graph from its bytes.
    ///
    /// # Errors
    /// [`BundleError::Graph`] for bytes that are no graph, or one whose links lead nowhere.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let invalid = || BundleError::Graph(postcard::Error::DeserializeBadEncoding);
        let (prefix, body) = bytes.split_at_checked(PREFIX_BYTES).ok_or_else(invalid)?;
        let [format, dimensions @ ..] = prefix else {
            return Err(invalid());
        };
        let dimensions = u32::from_le_bytes(dimensions.try_into().map_err(|_| invalid())?) as usize;
        if *format != FORMAT || dimensions == 0 || dimensions > DIMENSIONS_MAX {
            return Err(invalid());
        }
        let (shape, rest) = postcard::take_from_bytes::<MapShape>(body).map_err(BundleError::Graph)?;
        if !rest.is_empty() || !shape.is_sound(dimensions) {
            return Err(invalid());
        }
        Ok(Self { dimensions, map: postcard::from_bytes(body).map_err(BundleError::Graph)? })
    }
}

/// One quantised vector. Only its values are stored; the scale follows from them.
#[derive(Clone)]
struct Row {
    values: Box<[u8]>,
    scale: f32,
}

impl Row {
    fn new(values: &[u8]) -> Self {
        Self { values: values.into(), scale: dot::unit_scale(values) }
    }
}

impl Point for Row {
    fn distance(&self, other: &Self) -> f32 {
        1.0 - dot::dot_rows(&self.values, &other.values) as f32 * self.scale * other.scale
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.values)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl Visitor<'_> for Values {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a row")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Row, E> {
                Ok(Row::new(bytes))
            }
        }
        deserializer.deserialize_bytes(Values)
    }
}

/// What has to be checked of a serialised graph, read without its weight: the same fields in the same
/// order as the library's, with each row reduced to its length and each node to its largest link.
#[derive(Deserialize)]
struct MapShape {
    graph: GraphShape,
    values: Vec<u32>,
}

#[derive(Deserialize)]
struct GraphShape {
    results_max: usize,
    rows: Vec<RowLength>,
    zero: Vec<LargestLink<64>>,
    layers: Vec<Vec<LargestLink<32>>>,
}

impl MapShape {
    /// Whether every link leads to a node of its layer, and every node of a layer lies in those below.
    fn is_sound(&self, dimensions: usize) -> bool {
        let GraphShape { results_max, rows, zero, layers } = &self.graph;
        let below = std::iter::once(zero.len()).chain(layers.iter().map(Vec::len));
        (1..=GRAPH_RESULTS_MAX).contains(results_max)
            && rows.len() == zero.len()
            && rows.len() == self.values.len()
            && rows.iter().all(|row| row.0 == dimensions)
            && zero.iter().all(|node| node.within(zero.len()))
            && layers.iter().all(|layer| layer.iter().all(|node| node.within(layer.len())))
            && layers.iter().zip(below).all(|(layer, below)| (1..=below).contains(&layer.len()))
    }
}

struct RowLength(usize);

impl<'de> Deserialize<'de> for RowLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.len()))
    }
}

/// The largest link of a node with room for `N`; the library marks an empty place with `u32::MAX`.
struct LargestLink<const N: usize>(Option<u32>);

impl<const N: usize> LargestLink<N> {
    fn within(&self, nodes: usize) -> bool {
        self.0.is_none_or(|link| (link as usize) < nodes)
    }
}

impl<'de, const N: usize> Deserialize<'de> for LargestLink<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Links<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Links<N> {
            type Value = LargestLink<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} links")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut links: A) -> Result<LargestLink<N>, A::Error> {
                let mut largest = None;
                while let Some(link) = links.next_element::<u32>()? {
                    if link != u32::MAX {
                        largest = largest.max(Some(link));
                    }
                }
                Ok(LargestLink(largest))
            }
        }
        deserializer.deserialize_tuple(N, Links::<N>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::vectors::RowsBuilder;
    use crate::bundle::vectors::tests::{clustered, exact, rows};

    fn graph(rows: &Rows) -> VectorGraph {
        VectorGraph::build(rows, 7, NonZeroUsize::MIN).unwrap()
    }

    #[test]
    fn a_search_finds_nineteen_of_twenty_nearest_rows() {
        let rows = rows(&clustered(3_000, 64, 11));
        let graph = graph(&rows);
        let (mut found, mut wanted) = (0, 0);
        for query in clustered(100, 64, 12) {
            let near = graph.search(&query, 10).unwrap();
            let exact = exact(&rows, &query, 10);
            wanted += exact.len();
            found += exact.iter().filter(|one| near.contains(one)).count();
        }
        assert!(found as f32 >= 0.95 * wanted as f32, "{found} of {wanted}");
    }

    #[test]
    fn equal_rows_and_seed_give_equal_bytes_which_read_back() {
        let rows = rows(&clustered(500, 24, 13));
        let [one, other] = [graph(&rows), graph(&rows)];
        let bytes = one.to_bytes().unwrap();
        assert_eq!(bytes, other.to_bytes().unwrap());
        let read = VectorGraph::from_bytes(&bytes).unwrap();
        assert_eq!((read.len(), read.dimensions()), (500, 24));
        for query in clustered(20, 24, 14) {
            assert_eq!(read.search(&query, 10).unwrap(), one.search(&query, 10).unwrap());
        }
    }

    #[test]
    fn graphs_of_different_sizes_can_be_searched_in_turn() {
        let graphs = [10, 900, 40].map(|count| rows(&clustered(count, 8, 15))).map(|rows| graph(&rows));
        for query in clustered(300, 8, 16) {
            for graph in &graphs {
                assert_eq!(graph.search(&query, 5).unwrap().len(), 5);
            }
        }
    }

    #[test]
    fn rows_without_a_vector_stay_out() {
        let mut builder = RowsBuilder::new(4).unwrap();
        for (at, vector) in clustered(60, 4, 17).iter().enumerate() {
            builder.push((at % 3 == 0).then_some(vector)).unwrap();
        }
        let graph = graph(&builder.finish());
        assert_eq!(graph.len(), 20);
        let near = graph.search(&[1.0, 0.0, 0.0, 0.0], 60).unwrap();
        assert_eq!(near.len(), 20);
        assert!(near.iter().all(|(index, _)| index % 3 == 0));
        let empty = VectorGraph::build(&RowsBuilder::new(4).unwrap().finish(), 7, NonZeroUsize::MIN).unwrap();
        assert_eq!(empty.search(&[1.0, 0.0, 0.0, 0.0], 3).unwrap(), []);
        assert!(VectorGraph::from_bytes(&empty.to_bytes().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn queries_of_another_shape_are_refused() {
        let graph = graph(&rows(&clustered(10, 4, 18)));
        assert!(matches!(graph.search(&[1.0], 1), Err(BundleError::Dimensions { expected: 4, found: 1 })));
        assert!(matches!(graph.search(&[f32::NAN; 4], 1), Err(BundleError::NotFinite)));
        assert_eq!(graph.search(&[0.0; 4], 1).unwrap(), []);
        assert_eq!(graph.search(&[1.0; 4], 0).unwrap(), []);
    }

    #[test]
    fn changed_bytes_are_refused_or_searched_without_a_panic() {
        let queries = clustered(20, 8, 20);
        // Enough rows for a second layer.
        let bytes = graph(&rows(&clustered(130, 8, 19))).to_bytes().unwrap();
        for at in (0..bytes.len()).step_by(11) {
            assert!(VectorGraph::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
            for value in [0, 0x7f, bytes[at] ^ 0x10, bytes[at] ^ 0x80] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(graph) = VectorGraph::from_bytes(&changed) {
                    for query in &queries {
                        graph.search(query, 5).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn links_and_layers_that_lead_nowhere_are_unsound() {
        let shape =
            |zero: &[Option<u32>], layers: &[&[Option<u32>]], rows: usize, dimensions: usize| MapShape {
                graph: GraphShape {
                    results_max: GRAPH_RESULTS_MAX,
                    rows: (0..rows).map(|_| RowLength(dimensions)).collect(),
                    zero: zero.iter().map(|link| LargestLink(*link)).collect(),
                    layers: layers
                        .iter()
                        .map(|layer| layer.iter().map(|link| LargestLink(*link)).collect())
                        .collect(),
                },
                values: vec![0; zero.len()],
            };
        let zero = [Some(2), None, Some(1)];
        assert!(shape(&zero, &[&[Some(1), None], &[None]], 3, 8).is_sound(8));
        assert!(shape(&[], &[], 0, 8).is_sound(8));
        for (unsound, what) in [
            (shape(&zero, &[], 2, 8), "a node without a row"),
            (shape(&zero, &[], 3, 7), "a short row"),
            (shape(&[Some(3), None, None], &[], 3, 8), "a link beyond the nodes"),
            (shape(&zero, &[&[Some(2), None]], 3, 8), "a link beyond the layer"),
            (shape(&zero, &[&[None; 4]], 3, 8), "a layer larger than the one below"),
            (shape(&zero, &[&[]], 3, 8), "an empty layer"),
        ] {
            assert!(!unsound.is_sound(8), "{what}");
        }
    }
}
