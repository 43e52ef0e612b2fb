//! The tunnel, spoken to byte by byte.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::outbound::{OutboundConfig, SystemResolver};

async fn tunnel(bytes_max: u64) -> Tunnel {
    let networks = vec!["127.0.0.1".parse().unwrap()];
    let config = OutboundConfig { allowed_networks: networks, ..OutboundConfig::default() };
    let outbound = Outbound::new(config, Arc::new(SystemResolver)).unwrap();
    Tunnel::open(outbound, "right".into(), bytes_max).await.unwrap()
}

/// A server that gives back what it gets, in capitals.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 5];
            if stream.read_exact(&mut bytes).await.is_ok() {
                bytes.make_ascii_uppercase();
                // The client may be gone.
                let _ = stream.write_all(&bytes).await;
            }
        }
    });
    port
}

fn login(password: &str) -> Vec<u8> {
    let mut bytes = vec![5, 1, 2, 1, 3];
    bytes.extend(b"job");
    bytes.push(password.len().try_into().unwrap());
    bytes.extend(password.as_bytes());
    bytes
}

fn connect(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 3, host.len().try_into().unwrap()];
    bytes.extend(host.as_bytes());
    bytes.extend(port.to_be_bytes());
    bytes
}

/// Everything the tunnel says to `said`.
async fn answer(tunnel: &Tunnel, said: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(tunnel.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    // A connection that was ended with bytes unread is reset, after what was said.
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

#[tokio::test]
async fn who_knows_the_password_is_connected() {
    let (tunnel, port) = (tunnel(1_000).await, echo().await);
    let v4 = |address: [u8; 4]| [&[5, 1, 0, 1][..], &address, &port.to_be_bytes()].concat();
    for target in [connect("127.0.0.1", port), v4([127, 0, 0, 1]), connect("0x7f.1", port)] {
        let heard = answer(&tunnel, &[login("right"), target, b"hello".to_vec()].concat()).await;
        assert_eq!(heard, [&[5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"HELLO"].concat());
    }
    assert!(tunnel.refusal().is_none());
    assert_eq!(tunnel.url(), format!("socks5h://job:right@{}", tunnel.address));
}

#[tokio::test]
async fn nobody_else_is_and_nothing_else_is_done() {
    let (tunnel, port) = (tunnel(1_000).await, echo().await);
    let bind = [login("right"), [&[5, 2], &connect("127.0.0.1", port)[2..]].concat()].concat();
    for (said, heard) in [
        (vec![4, 1, 0, 80, 127, 0, 0, 1, 0], vec![]),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]),
        (vec![5, 1, 0], vec![5, 0xff]),
        (login("wrong"), vec![5, 2, 1, 1]),
        (bind, vec![5, 2, 1, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(answer(&tunnel, &said).await, heard, "{said:?}");
    }
}

#[tokio::test]
async fn forbidden_and_unknown_places_are_refused_and_told() {
    let (tunnel, port) = (tunnel(1_000).await, echo().await);
    let v6 = [&[5, 1, 0, 4][..], &Ipv6Addr::LOCALHOST.octets(), &port.to_be_bytes()].concat();
    for (target, reply, reason) in [
        (connect("127.0.0.2", port), NOT_ALLOWED, "address"),
        (connect("169.254.169.254", 80), NOT_ALLOWED, "address"),
        (connect("me@127.0.0.1", port), NOT_ALLOWED, "userinfo"),
        (connect("", port), NOT_ALLOWED, "url"),
        (v6, NOT_ALLOWED, "address"),
        (connect("name.invalid", 80), UNREACHABLE, "unknown_host"),
    ] {
        let heard = answer(&tunnel, &[login("right"), target.clone()].concat()).await;
        assert_eq!(heard.get(4..6), Some(&[5, reply][..]), "{target:?}");
        assert_eq!(tunnel.refusal().unwrap().reason(), reason, "{target:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let heard = answer(&tunnel, &[login("right"), connect("127.0.0.1", closed)].concat()).await;
    assert_eq!(heard.get(4..6), Some(&[5, UNREACHABLE][..]));
    assert_eq!(tunnel.refusal().unwrap().reason(), "connect");
}

#[tokio::test]
async fn no_more_comes_through_than_may_and_nothing_after_the_end() {
    let (tunnel, port) = (tunnel(4).await, echo().await);
    let said = [login("right"), connect("127.0.0.1", port), b"hello".to_vec()].concat();
    let heard = answer(&tunnel, &said).await;
    assert_eq!(heard.len(), 14, "{heard:?}");
    assert_eq!(tunnel.refusal().unwrap().reason(), "body_bytes");
    let address = tunnel.address;
    let mut open = TcpStream::connect(address).await.unwrap();
    drop(tunnel);
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}
