//! HTTP/2 without TLS, by its frames (RFC 9113): it works, and a flood of any kind of frame ends that
//! connection and nothing else.

use twinmcp_tests::{Raw, TestNode};

use super::assert_well;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET path` of `localhost`, in HPACK without compression (RFC 7541, appendix A for the numbers).
fn get(path: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut field = vec![u8::try_from(text.len()).expect("short")];
        field.extend(text.as_bytes());
        field
    };
    let mut block = vec![0x82, 0x86, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("localhost"));
    block
}

/// The frames of what was read: kind and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("24 bits");
        if rest.len() < length {
            break;
        }
        frames.push((*kind, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    frames
}

async fn connect(node: &TestNode) -> Raw {
    let mut raw = Raw::connect(node.url()).await;
    raw.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("an open connection");
    raw
}

/// What it is called, how many frames it has, and the frame of a number.
type Flood<'a> = (&'a str, u32, &'a dyn Fn(u32) -> Vec<u8>);

#[tokio::test]
async fn a_request_over_http2_is_answered() {
    let node = TestNode::empty().await;
    let mut raw = connect(&node).await;
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/api/health/live"))).await.expect("open");
    raw.send(frame(GOAWAY, 0, 0, &[0; 8])).await.expect("open");
    let frames = frames(&raw.rest().await);
    let head = frames.iter().find(|(kind, _)| *kind == HEADERS).expect("an answer");
    assert_eq!(head.1[0], 0x88, "`:status: 200` is entry 8 of the static table");
    let body: Vec<u8> =
        frames.iter().filter(|(kind, _)| *kind == DATA).flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(String::from_utf8_lossy(&body).contains("\"ok\""), "{frames:?}");
}

#[tokio::test]
async fn a_flood_of_frames_ends_that_connection_and_nobody_elses() {
    let node = TestNode::empty().await;
    let reset = |number: u32| {
        let stream = number * 2 + 1;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/api/libraries"));
        [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    let endless = |number: u32| match number {
        0 => frame(HEADERS, END_STREAM, 1, &get("/api/libraries")),
        _ => frame(CONTINUATION, 0, 1, &[0x40, 1, b'x', 1, b'y'].repeat(1000)),
    };
    let oversized = |number: u32| {
        let huge = [get("/api/libraries"), [0x40, 1, b'x', 100].to_vec(), vec![b'y'; 100]].concat();
        let huge = [huge, [&[0x40, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(140)].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &huge)
    };
    let floods: [Flood<'_>; 6] = [
        ("rapid reset", 2000, &reset),
        ("endless headers", 2000, &endless),
        ("frames of no stream", 2000, &|number| frame(DATA, 0, number * 2 + 1, b"x")),
        ("frames too large", 10, &|_| frame(DATA, 0, 1, &[0; 20_000])),
        ("bad settings", 10, &|_| frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("bad compression", 10, &|number| frame(HEADERS, END_HEADERS, number * 2 + 1, &[0xff; 50])),
    ];
    for (name, count, flood) in floods {
        let mut raw = connect(&node).await;
        for number in 0..count {
            if raw.send(flood(number)).await.is_err() {
                break;
            }
        }
        let frames = frames(&raw.rest().await);
        // The reset of a closed connection may overtake the farewell.
        if let Some((_, farewell)) = frames.iter().find(|(kind, _)| *kind == GOAWAY) {
            assert_ne!(farewell[4..8], [0; 4], "{name} ends with an error");
        }
        assert_well(&node).await;
    }
    // Harmless each, and many: the node answers them and stays as it is.
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut raw = connect(&node).await;
        for _ in 0..20_000 {
            if raw.send(&flood).await.is_err() {
                break;
            }
        }
        assert_well(&node).await;
    }
    let mut raw = connect(&node).await;
    raw.send(oversized(0)).await.expect("open");
    raw.send(frame(GOAWAY, 0, 0, &[0; 8])).await.expect("open");
    let told = frames(&raw.rest().await);
    assert!(told.iter().any(|(kind, _)| matches!(*kind, HEADERS | RST_STREAM | GOAWAY)), "{told:?}");
    assert_well(&node).await;
}
