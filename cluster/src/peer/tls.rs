//! Peers over TCP with mutual TLS 1.3: both sides show a certificate of the cluster's authority, and both check for
//! which node it is.
//!
//! Credentials can be replaced while connections are open: new ones use the new certificate.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use twinmcp_storage::clock::Timestamp;

use super::{Accepted, Accepting, PeerIo, Transport};
use crate::authority::{Credentials, named_node, node_name, pin};
use crate::status::{ClusterId, NodeId};

#[cfg(test)]
mod tests;

/// What peers speak above TLS.
const ALPN: &[u8] = b"h2";

/// Says whether a node may still take part.
pub type MayTakePart = dyn Fn(NodeId) -> bool + Send + Sync;

/// Peers over TCP and TLS. Without credentials nobody is dialed or let in.
pub struct TlsTcp {
    listener: TcpListener,
    configs: ArcSwapOption<Configs>,
    certified: Notify,
    may_take_part: Box<MayTakePart>,
    estranged: Mutex<BTreeSet<NodeId>>,
}

struct Configs {
    cluster: ClusterId,
    until: Timestamp,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// Authorities that are believed, with the hash of each.
    roots: Vec<([u8; 32], CertificateDer<'static>)>,
}

impl TlsTcp {
    /// Takes connections from `listener` of whom `may_take_part` does not refuse.
    pub fn new(listener: TcpListener, may_take_part: Box<MayTakePart>) -> Self {
        Self {
            listener,
            configs: ArcSwapOption::empty(),
            certified: Notify::new(),
            may_take_part,
            estranged: Mutex::default(),
        }
    }

    /// Shows these credentials from now on.
    ///
    /// # Errors
    /// When they are none.
    pub fn certify(&self, credentials: Credentials) -> io::Result<()> {
        let configs = Configs::new(credentials).map_err(io::Error::other)?;
        self.configs.store(Some(Arc::new(configs)));
        self.certified.notify_waiters();
        Ok(())
    }

    /// Notes whether `node` and this one have an authority in common, and says so once when they have none.
    fn met<S>(&self, node: NodeId, shaken: &io::Result<S>) {
        let mut estranged = self.estranged.lock().unwrap_or_else(PoisonError::into_inner);
        if shaken.is_ok() {
            estranged.remove(&node);
        } else if shaken.as_ref().is_err_and(is_unknown_issuer) && estranged.insert(node) {
            tracing::warn!(
                %node,
                "node {node} shows a certificate of an authority that this node does not know: one of the two was away while \
                 the cluster's authority was replaced. On that one, stopped, run `twinmcp cluster join TOKEN-FILE --config \
                 FILE` with a token that `twinmcp cluster token` makes on any other node"
            );
        }
    }

    async fn configs(&self) -> Arc<Configs> {
        loop {
            let certified = self.certified.notified();
            if let Some(configs) = self.configs.load_full() {
                return configs;
            }
            certified.await;
        }
    }
}

impl Configs {
    fn new(credentials: Credentials) -> Result<Self, Error> {
        let Credentials { chain, key, roots: believed, cluster, until } = credentials;
        let mut store = RootCertStore::empty();
        believed.iter().try_for_each(|root| store.add(root.clone()))?;
        let roots = believed.into_iter().map(|root| (pin(&root), root)).collect();
        let (store, provider) = (Arc::new(store), Arc::new(provider::default_provider()));
        // Who has yet to join has no certificate: what it may ask is settled above.
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(store)
            .with_client_auth_cert(chain, key)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { cluster, until, server: Arc::new(server), client: Arc::new(client), roots })
    }

    /// Who of those that are believed has signed a certificate.
    fn signer(&self, certificate: &webpki::EndEntityCert<'_>) -> Option<[u8; 32]> {
        let algorithms = provider::default_provider().signature_verification_algorithms.all;
        let has_signed = |(_, root): &&([u8; 32], CertificateDer<'static>)| {
            let Ok(anchor) = webpki::anchor_from_trusted_cert(root) else { return false };
            let (anchors, usage) = ([anchor], webpki::KeyUsage::client_auth());
            certificate
                .verify_for_usage(algorithms, &anchors, &[], UnixTime::now(), usage, None, None)
                .is_ok()
        };
        self.roots.iter().find(has_signed).map(|(pin, _)| *pin)
    }
}

impl Transport for TlsTcp {
    fn dial<'a>(&'a self, node: NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn PeerIo>>> {
        Box::pin(async move {
            let configs = self.configs.load_full();
            let configs = configs.ok_or_else(|| io::Error::other("this node has no certificate yet"))?;
            let name = ServerName::try_from(node_name(configs.cluster, node)).map_err(io::Error::other)?;
            let stream = connect(address).await?;
            let shaken = TlsConnector::from(Arc::clone(&configs.client)).connect(name, stream).await;
            self.met(node, &shaken);
            Ok(Box::new(shaken?) as Box<dyn PeerIo>)
        })
    }

    fn accept(&self) -> BoxFuture<'_, io::Result<Accepting>> {
        Box::pin(async move {
            let configs = self.configs().await;
            let (stream, _) = self.listener.accept().await?;
            // Replaced while nobody came.
            let configs = self.configs.load_full().unwrap_or(configs);
            let _ = stream.set_nodelay(true);
            let handshake = TlsAcceptor::from(Arc::clone(&configs.server)).accept(stream);
            let accepting = async move {
                let stream = handshake.await?;
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let (peer, authority) = match shown {
                    Some(certificate) => {
                        let certificate =
                            webpki::EndEntityCert::try_from(certificate).map_err(io::Error::other)?;
                        (Some(peer_of(configs.cluster, &certificate)?), configs.signer(&certificate))
                    }
                    None => (None, None),
                };
                Ok(Accepted { io: Box::new(stream) as Box<dyn PeerIo>, peer, authority })
            };
            Ok(Box::pin(accepting) as Accepting)
        })
    }

    fn certified_until(&self) -> Timestamp {
        self.configs.load().as_ref().map_or_else(Timestamp::default, |configs| configs.until)
    }

    fn may_take_part(&self, node: NodeId) -> bool {
        (self.may_take_part)(node)
    }

    fn trusts(&self, authority: [u8; 32]) -> bool {
        let configs = self.configs.load();
        configs.as_ref().is_none_or(|configs| configs.roots.iter().any(|(pin, _)| *pin == authority))
    }

    fn estranged(&self) -> Vec<NodeId> {
        self.estranged.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a handshake ended because the other side's authority is not known here.
fn is_unknown_issuer(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    // Every authority of ours has the same name, so that another's certificate has the wrong signature.
    let is_strange = |error: &CertificateError| {
        matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature)
    };
    matches!(cause, Some(Error::InvalidCertificate(error)) if is_strange(error))
}

/// The node a certificate is for. That the authority has signed it was checked in the handshake.
fn peer_of(cluster: ClusterId, certificate: &webpki::EndEntityCert<'_>) -> io::Result<NodeId> {
    let node = certificate.valid_dns_names().find_map(|name| named_node(cluster, name));
    node.ok_or_else(|| io::Error::other("the certificate is for no node of this cluster"))
}

/// Connects to somebody who can let this node in; only the authority's certificate is known.
pub(crate) async fn dial_to_join(address: &str, pinned: [u8; 32]) -> io::Result<Box<dyn PeerIo>> {
    let provider = Arc::new(provider::default_provider());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN.to_vec()];
    // Whoever has a certificate of the authority may let it in: the name says nothing.
    let name = ServerName::try_from("join.twinmcp.internal").map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(client)).connect(name, connect(address).await?).await?;
    Ok(Box::new(stream))
}

/// Believes whoever shows a certificate that an authority with this pin has signed.
#[derive(Debug)]
struct Pinned {
    pinned: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let root =
            intermediates.iter().find(|certificate| pin(certificate) == self.pinned).ok_or_else(unknown)?;
        let anchor = webpki::anchor_from_trusted_cert(root).map_err(|_| unknown())?;
        let certificate = webpki::EndEntityCert::try_from(end_entity).map_err(|_| unknown())?;
        certificate
            .verify_for_usage(
                self.provider.signature_verification_algorithms.all,
                &[anchor],
                &[],
                now,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|_| unknown())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
