//! Regions with a network between them: each node in a network namespace of its own, and one wire from each to a router in the
//! test, which carries every packet late or loses it ([`Links`] says which). Connections and datagrams feel what they would
//! feel between data centres: handshakes take round trips, and what is lost is sent again by the kernel, or never.
//!
//! `unshare` makes a namespace, `socat` in it has the wire (a TUN device) and passes its packets on as datagrams of a Unix socket. The
//! namespace lives as long as they do, and they die with the test. Nobody outside reaches a node, so the test asks through a
//! second `socat`, from the same port of its own loopback.
//!
//! It takes rights that a container may lack: then nothing is made, and a line on standard error says so.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixDatagram, UnixStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::faults::left_out;
use crate::links::Links;
use crate::node::NodeSetup;
use crate::wait::eventually;

/// The first addresses of the range for networks under test (RFC 2544, appendix C.2.2); the last octet is a node's number.
const NETWORK: [u8; 3] = [198, 18, 0];
const GOSSIP_PORT: u16 = 7946;
const PEERS_PORT: u16 = 7947;
/// Packets under way on one link; more are lost, as in a router.
const PACKETS_MAX: usize = 8_192;
const PACKET_BYTES_MAX: usize = 65_536;
/// Callers that wait at one door; more are hung up on.
const CALLERS_MAX: usize = 1_024;

/// Namespaces and what carries packets between them.
#[derive(Debug)]
pub struct Regions {
    folder: TempDir,
    /// Who holds each node's namespace and wire, by number from 1.
    wires: Vec<Child>,
    /// What lets callers in.
    doors: Mutex<Vec<Child>>,
}

impl Regions {
    /// Lays wires for nodes 1 to `nodes`. Nothing when namespaces may not be made here.
    ///
    /// # Panics
    /// When the machine has no temporary folder.
    pub async fn lay_out(nodes: usize, links: &Links) -> Option<Self> {
        let folder = tempfile::tempdir().expect("the machine has a temporary folder");
        let router = UnixDatagram::bind(folder.path().join("router")).expect("a socket in it");
        tokio::spawn(route(router, folder.path().to_owned(), links.clone()));
        let mut regions = Self { folder, wires: Vec::new(), doors: Mutex::default() };
        for number in 1..=nodes {
            let device = format!("TUN:{}/24,tun-type=tun,iff-no-pi,iff-up", address(number));
            let wire =
                format!("UNIX-SENDTO:{},bind={}", regions.path("router"), regions.path(&format!("{number}")));
            let spawned = dying_with_us("unshare")
                .args(["--net", "socat", "-b", &PACKET_BYTES_MAX.to_string(), &device, &wire])
                .spawn();
            let Ok(mut child) = spawned else {
                left_out("the program `unshare` or `setpriv` is not installed");
                return None;
            };
            let is_up = eventually("a namespace with its wire", async || {
                let ended = child.try_wait().ok().flatten().is_some();
                let mut look = Command::new("nsenter");
                look.args([&namespace(child.id()), "ip", "link", "set", "lo", "up"]).stderr(Stdio::null());
                let is_laid = regions.folder.path().join(number.to_string()).exists();
                let is_up = is_laid && look.status().is_ok_and(|status| status.success());
                (ended || is_up).then_some(is_up)
            })
            .await;
            if !is_up {
                left_out(
                    "network namespaces may not be made here, or `socat`, `nsenter` or `ip` is not installed",
                );
                return None;
            }
            regions.wires.push(child);
        }
        Some(regions)
    }

    /// The node of `number`, started in its region; callers on loopback reach it as they would without.
    ///
    /// # Panics
    /// When it has no port of its own ([`NodeSetup::at_one_port`]), or somebody has taken it.
    pub async fn place(&self, number: usize, setup: NodeSetup) -> NodeSetup {
        let namespace = namespace(self.wires[number - 1].id());
        let (port, door) = (setup.port(), self.path(&format!("door-{number}")));
        let child = dying_with_us("nsenter")
            .args([&namespace, "socat"])
            .args([format!("UNIX-LISTEN:{door},fork,backlog={CALLERS_MAX}"), format!("TCP:127.0.0.1:{port}")])
            .spawn();
        let child = child.expect("it has been started before");
        self.doors.lock().expect("no other has failed").push(child);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is the node's");
        tokio::spawn(async move {
            // Ends with the runtime.
            while let Ok((mut caller, _)) = listener.accept().await {
                let door = door.clone();
                tokio::spawn(async move {
                    // A caller whose node does not run is hung up on.
                    let Ok(mut node) = UnixStream::connect(door).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut caller, &mut node).await;
                });
            }
        });
        let at = |port| format!("{}:{port}", address(number));
        // Loopback is another one there.
        setup.untraced().under(&["nsenter", &namespace]).with("cluster", "listen", at(PEERS_PORT)).with(
            "cluster",
            "gossip_listen",
            at(GOSSIP_PORT),
        )
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        for child in self.wires.iter_mut().chain(doors.iter_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn address(number: usize) -> Ipv4Addr {
    let ([a, b, c], number) = (NETWORK, u8::try_from(number).expect("a number below 255"));
    Ipv4Addr::new(a, b, c, number)
}

fn namespace(pid: u32) -> String {
    format!("--net=/proc/{pid}/ns/net")
}

/// A program that is killed when the test ends, however it ends.
fn dying_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Packets on their way, each with the moment it arrives.
type Way = mpsc::Sender<(Instant, Vec<u8>)>;

/// Carries packets from wire to wire.
async fn route(router: UnixDatagram, folder: PathBuf, links: Links) {
    let router = Arc::new(router);
    let weather = links.weather.subscribe();
    let mut ways: HashMap<(usize, usize), Way> = HashMap::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while let Ok((length, sender)) = router.recv_from(&mut packet).await {
        let from =
            sender.as_pathname().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok());
        let (Some(from), Some(to)) = (from, destination(&packet[..length])) else { continue };
        let now = weather.borrow();
        if !now.passes(from, to) {
            continue;
        }
        let due = Instant::now() + now.delay(from, to);
        drop(now);
        let way = ways.entry((from, to)).or_insert_with(|| {
            let (way, mut packets) = mpsc::channel::<(Instant, Vec<u8>)>(PACKETS_MAX);
            let (router, target) = (router.clone(), folder.join(to.to_string()));
            tokio::spawn(async move {
                while let Some((due, packet)) = packets.recv().await {
                    tokio::time::sleep_until(due).await;
                    // Nobody there: lost.
                    let _ = router.send_to(&packet, &target).await;
                }
            });
            way
        });
        let _ = way.try_send((due, packet[..length].to_vec()));
    }
}

/// Number of the node that a packet is for (RFC 791, section 3.1); nothing else is carried.
fn destination(packet: &[u8]) -> Option<usize> {
    let [first, ..] = packet else { return None };
    let [a, b, c, number] = *packet.get(16..20)? else { return None };
    (first >> 4 == 4 && [a, b, c] == NETWORK).then_some(usize::from(number))
}
