//! The one cryptographic provider of this process's TLS clients.

/// Installs it, once; a second call changes nothing.
pub(crate) fn install() {
    // Fails only when there is one already, which is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
