//! What programs of other people say to a node and are told: they note no secrets by themselves, so it is read on its way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::secrets;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What one side of a connection said.
type Said = Arc<Mutex<Vec<u8>>>;

/// Every side of every connection, also of those that are open yet.
static SAID: Mutex<Vec<Said>> = Mutex::new(Vec::new());

fn said() -> MutexGuard<'static, Vec<Said>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries what comes to `port` of loopback, by number and by name, to `node` and back.
///
/// # Panics
/// When the port is taken, or outside of a runtime.
pub(crate) fn listen(port: u16, node: SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    listener.set_nonblocking(true).expect("a socket can be asked without waiting");
    let listener = TcpListener::from_std(listener).expect("a test has a runtime");
    tokio::spawn(async move {
        // Ends with the runtime.
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(carry(near, node));
        }
    });
}

async fn carry(near: TcpStream, node: SocketAddr) {
    let Ok(far) = TcpStream::connect(node).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::join!(pump(near_in, far_out), pump(far_in, near_out));
}

async fn pump(mut source: OwnedReadHalf, mut sink: OwnedWriteHalf) {
    let heard = Said::default();
    said().push(heard.clone());
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = source.read(&mut piece).await {
        heard.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
        if sink.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    let _ = sink.shutdown().await;
}

/// Notes the secrets in all that was said so far.
pub(crate) fn note() {
    for heard in said().iter() {
        secrets::note_wire(&String::from_utf8_lossy(&heard.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}
