//! Where addresses are: a file of MaxMind's format with locations, such as GeoLite2 City, that the operator gives.
//!
//! It is held in memory whole, and read again when it has changed. One that cannot be read then leaves the one before in force.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use maxminddb::{MaxMindDbError, Reader, path};
use twinmcp_cluster::membership::Location;

/// Largest file, in bytes; those with every city of the world have about 130 MB.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Networks of a file in one of which there must be a location.
const LOOKED_AT_MAX: usize = 10_000;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is larger than any such file is.
    #[error("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It has another format, or is damaged.
    #[error("it is no file of MaxMind's format, or damaged")]
    Format(#[from] MaxMindDbError),
    /// It knows countries or networks, but no places.
    #[error("it has no `location` with `latitude` and `longitude`: it must be of the kind City")]
    NoLocations,
}

/// The file in force.
pub(super) struct Geo {
    path: PathBuf,
    file: RwLock<File>,
}

#[derive(Clone)]
struct File {
    reader: Arc<Reader<Vec<u8>>>,
    /// Of what was looked at last, good or not; absent when there was none.
    stamp: Option<Stamp>,
}

/// What differs when a file was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
}

/// What the file says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) location: Option<Location>,
    /// Leading bits that all addresses have for which it says the same.
    pub(super) prefix: u8,
}

impl Geo {
    pub(super) fn open(path: &Path) -> Result<Self, GeoError> {
        let stamp = Stamp::of(path)?;
        let reader = Arc::new(read(path, stamp.bytes)?);
        Ok(Self { path: path.to_owned(), file: RwLock::new(File { reader, stamp: Some(stamp) }) })
    }

    /// Reads the file again if it has changed since it was last looked at; whether another one is in force now. Blocks.
    ///
    /// # Errors
    /// The file before stays in force. A file that cannot be used is told once.
    pub(super) fn look(&self) -> Result<bool, GeoError> {
        let found = Stamp::of(&self.path);
        let stamp = found.as_ref().ok().copied();
        if self.file().stamp == stamp {
            return Ok(false);
        }
        let read = found.map_err(GeoError::from).and_then(|stamp| read(&self.path, stamp.bytes));
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        file.stamp = stamp;
        file.reader = Arc::new(read?);
        Ok(true)
    }

    pub(super) fn place(&self, address: IpAddr) -> Place {
        let reader = self.file().reader;
        let nowhere = Place { location: None, prefix: 0 };
        let Ok(found) = reader.lookup(address) else { return nowhere };
        let degrees = |name| found.decode_path::<f64>(&path!["location", name]).ok().flatten();
        let location = degrees("latitude").zip(degrees("longitude"));
        let location = location.and_then(|(latitude, longitude)| Location::of_degrees(latitude, longitude));
        match found.network() {
            // A network of the other kind is one around all addresses of this kind.
            Ok(network) if network.is_ipv4() == address.is_ipv4() => {
                Place { location, prefix: network.prefix() }
            }
            _ => Place { location, ..nowhere },
        }
    }

    fn file(&self) -> File {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { modified: file.modified()?, bytes: file.len() })
    }
}

fn read(path: &Path, bytes: u64) -> Result<Reader<Vec<u8>>, GeoError> {
    if bytes > FILE_BYTES_MAX {
        return Err(GeoError::TooLarge { bytes });
    }
    let reader = Reader::from_source(fs::read(path)?)?;
    let mut has_locations = false;
    for network in reader.networks(Default::default())?.take(LOOKED_AT_MAX) {
        let latitude = network?.decode_path::<f64>(&path!["location", "latitude"])?;
        if latitude.is_some() {
            has_locations = true;
            break;
        }
    }
    if has_locations { Ok(reader) } else { Err(GeoError::NoLocations) }
}

#[cfg(test)]
mod tests {
    use super::super::geo_fixture::{GeoFile, write};
    use super::*;

    const FRANKFURT: (f64, f64) = (50.11, 8.68);
    const SYDNEY: (f64, f64) = (-33.87, 151.21);

    fn file(networks: &[(&str, (f64, f64))]) -> GeoFile {
        GeoFile::new(networks.iter().map(|(network, place)| (*network, Some(*place))))
    }

    fn place(geo: &Geo, address: &str) -> (Option<String>, u8) {
        let place = geo.place(address.parse().unwrap());
        (place.location.map(|location| location.to_string()), place.prefix)
    }

    #[test]
    fn an_address_has_the_place_of_its_network() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("city.mmdb");
        let networks =
            [("203.0.113.0/24", FRANKFURT), ("198.51.100.0/25", SYDNEY), ("2001:db8:5::/48", SYDNEY)];
        write(&path, &file(&networks).bytes());
        let geo = Geo::open(&path).unwrap();
        assert_eq!(place(&geo, "203.0.113.77"), (Some("50.11,8.68".to_owned()), 24));
        assert_eq!(place(&geo, "198.51.100.1"), (Some("-33.87,151.21".to_owned()), 25));
        assert_eq!(place(&geo, "2001:db8:5::1"), (Some("-33.87,151.21".to_owned()), 48));
        assert_eq!(place(&geo, "198.51.100.200"), (None, 25), "the other half of its network");
        let (nowhere, prefix) = place(&geo, "192.0.2.1");
        assert!(nowhere.is_none() && prefix < 24, "{prefix}");
    }

    #[test]
    fn a_changed_file_is_taken_over_and_a_damaged_one_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("city.mmdb");
        write(&path, &file(&[("203.0.113.0/24", FRANKFURT)]).bytes());
        let geo = Geo::open(&path).unwrap();
        assert!(!geo.look().unwrap(), "nothing has changed");
        write(&path, b"half a fi");
        assert!(matches!(geo.look(), Err(GeoError::Format(_))));
        assert!(!geo.look().unwrap(), "told once");
        assert_eq!(place(&geo, "203.0.113.77").0.as_deref(), Some("50.11,8.68"));
        write(&path, &file(&[("203.0.113.0/24", SYDNEY), ("192.0.2.0/24", SYDNEY)]).bytes());
        assert!(geo.look().unwrap());
        assert_eq!(place(&geo, "203.0.113.77").0.as_deref(), Some("-33.87,151.21"));
        fs::remove_file(&path).unwrap();
        assert!(matches!(geo.look(), Err(GeoError::Read(_))));
        assert!(!geo.look().unwrap(), "told once");
        assert_eq!(place(&geo, "203.0.113.77").0.as_deref(), Some("-33.87,151.21"));
    }

    #[test]
    fn a_file_without_places_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("country.mmdb");
        write(&path, &GeoFile::new([("203.0.113.0/24", None)]).bytes());
        assert!(matches!(Geo::open(&path), Err(GeoError::NoLocations)));
        assert!(matches!(Geo::open(&folder.path().join("none.mmdb")), Err(GeoError::Read(_))));
    }
}
