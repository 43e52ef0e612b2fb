//! The network between nodes on loopback, for which nobody needs any rights.
//!
//! Each node tells the others a port of the relay as its own. Who connects there is read from `/proc`: the process that
//! has the other end of the connection, and the name its node was started with.
//!
//! A cut holds back what was sent, as TCP does on a network that drops it: the connection stays open until a side gives
//! up, and what was under way comes after all once it is healed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::links::{Links, Weather};

/// How the process of a node is known: by the variable that names it.
const NAME: &str = "TWINMCP__NODE__NAME=node-";
/// Bytes read at once, and pieces under way in one direction of one connection.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 256;

impl Links {
    /// Where others reach the node of `number` (from 1), which listens at `target`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(&self, number: usize, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = listener.local_addr().expect("it listens");
        let weather = self.weather.subscribe();
        tokio::spawn(async move {
            // Ends with the runtime.
            while let Ok((near, from)) = listener.accept().await {
                let (weather, port) = (weather.clone(), address.port());
                tokio::spawn(async move {
                    let whose = tokio::task::spawn_blocking(move || caller(from.port(), port)).await;
                    // A connection that is over already.
                    let Some(caller) = whose.ok().flatten() else { return };
                    connect(near, target, (caller, number), weather).await;
                });
            }
        });
        address
    }
}

/// Waits until something passes from `from` to `to`.
async fn passes(weather: &mut watch::Receiver<Weather>, from: usize, to: usize) {
    // An error says that the relay is gone, and with it every cut.
    let _ = weather.wait_for(|weather| weather.passes(from, to)).await;
}

async fn connect(
    near: TcpStream,
    target: SocketAddr,
    (from, to): (usize, usize),
    mut weather: watch::Receiver<Weather>,
) {
    // The dialer waits for its handshake meanwhile, as for a packet that is lost.
    passes(&mut weather, from, to).await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = pump(near_in, far_out, (from, to), weather.clone());
    let back = pump(far_in, near_out, (to, from), weather);
    tokio::join!(there, back);
}

/// Carries what comes in to the other side, late and only while it passes.
async fn pump(
    mut source: OwnedReadHalf,
    mut sink: OwnedWriteHalf,
    (from, to): (usize, usize),
    mut weather: watch::Receiver<Weather>,
) {
    let (queue, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let delay = weather.clone();
    let reading = async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = source.read(&mut piece).await {
            let due = Instant::now() + delay.borrow().delay(from, to);
            if queue.send((due, piece[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            passes(&mut weather, from, to).await;
            if sink.write_all(&piece).await.is_err() {
                return;
            }
        }
        passes(&mut weather, from, to).await;
        let _ = sink.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// The number of the node whose process has the connection from `port` to `relay` of this machine.
fn caller(port: u16, relay: u16) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    // `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode` (proc_net_tcp.rst).
    let is_it = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let ends_with =
            |field: Option<&str>, port: u16| field.is_some_and(|at| at.ends_with(&format!(":{port:04X}")));
        ends_with(fields.next(), port) && ends_with(fields.next(), relay)
    };
    let inode = table.lines().find(is_it)?.split_whitespace().nth(9)?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|process| {
        let environment = fs::read(process.path().join("environ")).ok()?;
        let mut variables =
            environment.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
        let number = variables.find_map(|variable| variable.strip_prefix(NAME))?.parse().ok()?;
        has_open(&process.path(), &socket).then_some(number)
    })
}

fn has_open(process: &Path, socket: &str) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket)
}
