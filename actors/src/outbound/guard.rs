//! The rules themselves: which URLs, which addresses, and what the operator allows besides.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use url::Url;

use super::address::plain;
use super::{Class, LookupError, OutboundConfig, OutboundError, Resolver, class_of};

/// Longest URL that is asked for, in bytes.
const URL_BYTES_MAX: usize = 4_096;
/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 64;

/// A network that the operator allows: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` lies in it; one of IPv4 in a network of IPv4 alone.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = ipnet::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self(address.into())),
            Err(_) => text.parse().map(Self),
        }
    }
}

/// What may be asked, and where. Cheap to clone; the connector holds one.
#[derive(Clone)]
pub(crate) struct Guard {
    config: Arc<OutboundConfig>,
    resolver: Arc<dyn Resolver>,
}

impl Guard {
    pub(super) fn new(config: OutboundConfig, resolver: Arc<dyn Resolver>) -> Self {
        Self { config: Arc::new(config), resolver }
    }

    pub(crate) fn config(&self) -> &OutboundConfig {
        &self.config
    }

    /// A URL that may be asked for, as far as can be told without asking for its addresses.
    pub(crate) fn parse(&self, text: &str) -> Result<Url, OutboundError> {
        if text.len() > URL_BYTES_MAX {
            return Err(OutboundError::UrlTooLong { limit: URL_BYTES_MAX });
        }
        let url = Url::parse(text).map_err(|source| OutboundError::Url { url: shown(text), source })?;
        self.check(&url).map(|()| url)
    }

    /// As [`Guard::parse`], of a URL that was read already.
    pub(crate) fn check(&self, url: &Url) -> Result<(), OutboundError> {
        match url.scheme() {
            "https" => {}
            "http" if self.config.allow_http => {}
            "http" => return Err(OutboundError::PlainHttp { host: host_of(url).to_owned() }),
            scheme => return Err(OutboundError::Scheme { scheme: shown(scheme) }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::UserInfo { host: host_of(url).to_owned() });
        }
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(OutboundError::UrlTooLong { limit: URL_BYTES_MAX });
        }
        match literal(host_of(url)) {
            Some(address) => self.admit(host_of(url), address).map_err(OutboundError::Lookup),
            None => Ok(()),
        }
    }

    /// The addresses of `host`, all of which may be connected to: a name that leads to a forbidden
    /// address besides others is refused whole.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Some(address) = literal(host) {
            return self.admit(host, address).map(|()| vec![address]);
        }
        let unknown = |source| LookupError::Unknown { host: shown(host), source: Arc::new(source) };
        let found = self.resolver.resolve(host).await.map_err(unknown)?;
        if found.is_empty() {
            return Err(unknown(std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        found.iter().try_for_each(|address| self.admit(host, *address))?;
        Ok(found.into_iter().take(ADDRESSES_MAX).collect())
    }

    fn admit(&self, host: &str, address: IpAddr) -> Result<(), LookupError> {
        match class_of(address) {
            Some(class) if !self.is_allowed(host, address) => {
                Err(LookupError::Forbidden { host: shown(host), address, class })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_allowed(&self, host: &str, address: IpAddr) -> bool {
        let name = host.trim_end_matches('.');
        self.config.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
            || self
                .config
                .allowed_networks
                .iter()
                .any(|network| network.contains(address) || network.contains(plain(address)))
    }
}

/// The connector's way to addresses: what it gets is what it connects to.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.addresses(name.as_str()).await?;
            // Port 0 becomes the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl LookupError {
    /// Why the address is not public, when that is the reason.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Forbidden { class, .. } => Some(*class),
            Self::Unknown { .. } => None,
        }
    }
}

pub(super) fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// The address that a host name of a URL, or of a tunnel, spells out.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    inner.parse().ok()
}

/// A stranger's text for a message: bounded, without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}
