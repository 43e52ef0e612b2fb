//! Questions over connections (RFC 7766): each with its length before it, one after another.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Responder;
use super::answer::Carrier;
use super::limit::network_of;
use super::metrics::Dropped;
use super::query::QUERY_BYTES_MAX;

/// Connections at once, and of one network.
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_OF_ONE_MAX: usize = 16;
/// Questions of one connection; then the asker makes another.
const QUESTIONS_MAX: usize = 100;
/// A question may take so long to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an accept that failed, so that a process without file descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, responder: Arc<Responder>) {
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match accepted {
            Ok((stream, from)) => match Place::take(&places, from.ip()) {
                Some(place) => {
                    let responder = Arc::clone(&responder);
                    connections.spawn(async move {
                        if let Err(error) = converse(stream, from.ip(), &responder).await {
                            tracing::debug!(error = %error, "a connection for questions ended");
                        }
                        drop(place);
                    });
                }
                None => responder.metrics.dropped(Dropped::Connections),
            },
            Err(error) => {
                tracing::warn!(error = %error, "no connection for questions can be accepted right now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, from: IpAddr, responder: &Responder) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..QUESTIONS_MAX {
        let Some(bytes) = timeout(PATIENCE, question(&mut stream)).await?? else { return Ok(()) };
        let Some(answer) = responder.answer(&bytes, from, Carrier::Tcp) else {
            responder.metrics.dropped(Dropped::Noise);
            return Ok(());
        };
        responder.metrics.answered(answer.kind, Carrier::Tcp);
        let Ok(length) = u16::try_from(answer.bytes.len()) else { return Ok(()) };
        let framed = [&length.to_be_bytes()[..], &answer.bytes].concat();
        timeout(PATIENCE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// The next question; none when the asker has no more, or sends one that is too long.
async fn question(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > QUERY_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

/// Connections that are open, by the network they come from.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// One of them, until it is dropped.
struct Place {
    places: Arc<Places>,
    network: IpAddr,
}

impl Place {
    fn take(places: &Arc<Places>, from: IpAddr) -> Option<Self> {
        let network = network_of(from);
        let mut open = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let of_one = open.get(&network).copied().unwrap_or(0);
        if all >= CONNECTIONS_MAX || of_one >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        open.insert(network, of_one + 1);
        Some(Self { places: Arc::clone(places), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.network) {
            Some(of_one @ 2..) => *of_one -= 1,
            _ => drop(open.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_takes_no_more_than_its_part_and_gives_it_back() {
        let places = Arc::new(Places::default());
        let from = |address: &str| Place::take(&places, address.parse().unwrap());
        let mut taken: Vec<_> = (0..CONNECTIONS_OF_ONE_MAX).map(|_| from("203.0.113.1").unwrap()).collect();
        assert!(from("203.0.113.2").is_none() && from("203.0.114.1").is_some());
        taken.pop();
        assert!(from("203.0.113.2").is_some());
        let many = (0..=255).filter_map(|network| from(&format!("198.51.{network}.1")));
        assert_eq!(many.collect::<Vec<_>>().len(), CONNECTIONS_MAX - taken.len());
        drop(taken);
        assert!(places.0.lock().unwrap().is_empty(), "all were given back");
    }
}
