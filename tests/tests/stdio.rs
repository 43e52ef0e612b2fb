//! `twinmcp mcp`: the protocol over standard input and output, for clients without HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use twinmcp_tests::docs::{self, QUESTIONS};
use twinmcp_tests::{Cli, Finished, TestNode, eventually, run, send_signal};

/// Feeds `messages` and the end of input; every line of output must be one message.
pub(crate) async fn relay(cli: &Cli, messages: &[Value]) -> (Vec<Value>, Finished) {
    let input: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let ended = run(cli.command(&["mcp"]), &input).await.expect(0);
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    (ended.stdout.lines().map(line).collect(), ended)
}

pub(crate) fn by_id(answers: &[Value], id: u64) -> &Value {
    answers
        .iter()
        .find(|answer| answer["id"] == id)
        .unwrap_or_else(|| panic!("no answer {id} in {answers:?}"))
}

pub(crate) fn handshake() -> [Value; 2] {
    let info = json!({ "name": "twinmcp-tests", "version": "1" });
    [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ]
}

pub(crate) fn call(id: u64, name: &str, arguments: &Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

#[tokio::test]
async fn every_answer_of_the_relay_is_the_nodes_own_and_the_end_of_input_ends_it() {
    let node = TestNode::empty().await;
    let client = node.client();
    client.index("/acme/kiln", "1.0", "docs.tar", docs::tar(&docs::kiln("1.0"))).await;
    client.until_resolved("kiln", "/acme/kiln").await;
    let question = &QUESTIONS[0];
    let mut messages = handshake().to_vec();
    messages.push(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    messages.push(call(3, "query-docs", &json!({ "libraryId": "/acme/kiln", "query": question.text })));
    messages.push(call(4, "resolve-library-id", &json!({ "libraryName": "kiln", "query": "fire" })));
    messages.push(call(5, "query-docs", &json!({ "libraryId": "/no/such", "query": "anything" })));
    let (answers, ended) = relay(&node.cli(), &messages).await;

    assert_eq!(by_id(&answers, 1)["result"]["protocolVersion"], "2025-06-18");
    let over_http = super::mcp::call_2025(&client, "tools/list", json!({})).await.json();
    assert_eq!(by_id(&answers, 2)["result"]["tools"], over_http["result"]["tools"]);
    let text =
        |id| by_id(&answers, id)["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!(text(3), client.context("/acme/kiln", question.text, &[]).await.expect(200).text);
    assert!(text(4).contains("/acme/kiln"), "{}", text(4));
    assert!(text(5).contains("not found"), "{}", text(5));
    assert_eq!(answers.len(), 5, "{answers:?}");
    assert!(!ended.stderr.contains(node.key()), "the key stands on standard error");
}

#[tokio::test]
async fn the_newest_wire_works_without_a_handshake() {
    let node = TestNode::empty().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "twinmcp-tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let ask = |id, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "_meta": meta } });
    let (answers, _) = relay(&node.cli(), &[ask(1, "server/discover"), ask(2, "tools/list")]).await;
    let supported = &by_id(&answers, 1)["result"]["supportedVersions"];
    assert!(supported.as_array().is_some_and(|all| all.contains(&json!("2026-07-28"))), "{answers:?}");
    assert_eq!(by_id(&answers, 2)["result"]["tools"].as_array().map(Vec::len), Some(2), "{answers:?}");
}

#[tokio::test]
async fn what_is_no_message_is_told_on_standard_error_and_the_next_message_is_answered() {
    let node = TestNode::empty().await;
    let discover = json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "twinmcp-tests", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    } } });
    let mut list = discover.clone();
    (list["id"], list["method"]) = (2.into(), "tools/list".into());
    let input = format!("{discover}\nthis is no message\n{{\"jsonrpc\":\"2.0\"\n\n{list}\n");
    let ended = run(node.cli().command(&["mcp"]), &input).await.expect(0);
    let answers = messages(ended.stdout.as_bytes());
    assert!(answers.iter().all(|answer| answer["jsonrpc"] == "2.0"), "{answers:?}");
    assert!(by_id(&answers, 1)["result"]["supportedVersions"].is_array(), "{answers:?}");
    assert_eq!(by_id(&answers, 2)["result"]["tools"].as_array().map(Vec::len), Some(2), "{answers:?}");
}

#[tokio::test]
async fn without_a_node_the_relay_still_lists_its_tools_and_says_what_to_start() {
    let home = tempfile::tempdir().unwrap();
    let cli = Cli::new("http://127.0.0.1:1", None, home.path());
    let mut messages = handshake().to_vec();
    messages.push(json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    messages.push(call(3, "resolve-library-id", &json!({ "libraryName": "kiln", "query": "fire" })));
    let (answers, _) = relay(&cli, &messages).await;
    assert_eq!(by_id(&answers, 2)["result"]["tools"].as_array().map(Vec::len), Some(2));
    let text = by_id(&answers, 3)["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("could not reach the node") && text.contains("twinmcp quickstart"), "{answers:?}");
    // No input at all is no failure either.
    run(cli.command(&["mcp"]), "").await.expect(0);
}

/// What a relay was doing when its end came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nobody has said anything to it.
    Nothing,
    /// It has answered the handshake.
    Waiting,
    /// A node is taking its time over a call.
    Asking,
}

/// Everything a relay wrote; each line has to be one message.
fn messages(mut output: impl Read) -> Vec<Value> {
    let mut written = String::new();
    output.read_to_string(&mut written).expect("its output is text");
    assert!(written.is_empty() || written.ends_with('\n'), "half a line: {written}");
    written.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Takes the relay's next request, which nobody will ever answer: is it the call? The relay also looks for a nearer node.
fn is_the_call(asked: &std::net::TcpListener) -> bool {
    let (mut node, _) = asked.accept().expect("the relay asks the node");
    let mut request = String::new();
    BufReader::new(&mut node).read_line(&mut request).expect("the relay speaks HTTP");
    // The kernel keeps the connection.
    std::mem::forget(node);
    request.contains("/api/mcp/query-docs")
}

/// Says hello, waits for the answer, and for more if there is to be more.
fn prepare(doing: Doing, mut input: impl Write, output: &mut impl BufRead, asked: &std::net::TcpListener) {
    if doing == Doing::Nothing {
        return;
    }
    let mut say = |message: &Value| writeln!(input, "{message}").expect("the relay reads");
    handshake().iter().for_each(&mut say);
    let mut line = String::new();
    output.read_line(&mut line).expect("the relay answers");
    assert!(line.contains("\"protocolVersion\""), "{line}");
    if doing == Doing::Asking {
        say(&call(2, "query-docs", &json!({ "libraryId": "/acme/kiln", "query": "glaze" })));
        while !is_the_call(asked) {}
    }
}

/// A relay that is asked to end by a signal, with a pipe as its input or with a socket, as editors that run on Node.js have it.
async fn ends_with(signal: &str, doing: Doing, socket: bool) {
    let asked = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has loopback");
    let home = tempfile::tempdir().expect("the machine has a temporary folder");
    let url = format!("http://{}", asked.local_addr().expect("a bound socket has an address"));
    let mut command = Cli::new(&url, None, home.path()).command(&["mcp"]).into_std();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (ours, theirs) = UnixStream::pair().expect("the machine has sockets");
    command.stdin(if socket { Stdio::from(OwnedFd::from(theirs)) } else { Stdio::piped() });
    let mut relay = command.spawn().expect("the program under test starts");
    drop(command);
    // Held until the end: it must not be the end of input that ends the relay.
    let pipe = relay.stdin.take();
    let mut output = BufReader::new(relay.stdout.take().expect("its output is a pipe"));
    match &pipe {
        Some(pipe) => prepare(doing, pipe, &mut output, &asked),
        None => prepare(doing, &ours, &mut output, &asked),
    }
    if doing == Doing::Nothing {
        until_it_watches(&relay).await;
    }
    send_signal(relay.id(), signal);
    let status =
        eventually("the end of the relay", async || relay.try_wait().expect("a child can be waited for"))
            .await;
    let what = format!("{signal} {doing:?} socket: {socket}");
    assert_eq!(status.code(), Some(0), "{what}: {status}");
    let answers = messages(output);
    assert_eq!(answers.len(), usize::from(doing == Doing::Asking), "{what}: {answers:?}");
    assert!(answers.iter().all(|answer| answer.to_string().contains("cancelled")), "{what}: {answers:?}");
    let mut errors = String::new();
    let mut said = relay.stderr.take().expect("its errors are a pipe");
    said.read_to_string(&mut errors).expect("its errors are text");
    assert_eq!(errors, "", "{what}");
}

/// Waits until a process has taken the three signals into its own hands, as the kernel tells it.
async fn until_it_watches(process: &Child) {
    let wanted = [1, 2, 15].iter().fold(0_u64, |mask, signal| mask | 1 << (signal - 1));
    eventually("the relay to watch for signals", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & wanted == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_relay_ends_cleanly_with_each_signal_whatever_it_is_doing() {
    for signal in ["TERM", "INT", "HUP"] {
        for doing in [Doing::Nothing, Doing::Waiting, Doing::Asking] {
            for socket in [false, true] {
                ends_with(signal, doing, socket).await;
            }
        }
    }
}

/// Starts a relay below a shell, whose input and output are ours, so that neither ends with the shell.
fn below_a_shell(cli: &Cli) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let relay = cli.command(&["mcp"]).into_std();
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3<&0; \"$0\" mcp <&3 & exec 3<&- <&-; echo $!; wait"]).arg(relay.get_program());
    shell.envs(relay.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the machine has a shell");
    let (input, output) = (shell.stdin.take(), shell.stdout.take());
    let (input, output) = input.zip(output).expect("its input and output are pipes");
    (shell, input, BufReader::new(output))
}

#[tokio::test]
async fn the_relay_ends_when_whoever_started_it_has_died_though_its_input_stays_open() {
    let asked = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = tempfile::tempdir().unwrap();
    let url = format!("http://{}", asked.local_addr().unwrap());
    for doing in [Doing::Waiting, Doing::Asking] {
        let (mut shell, input, mut output) = below_a_shell(&Cli::new(&url, None, home.path()));
        let mut relay = String::new();
        output.read_line(&mut relay).unwrap();
        prepare(doing, &input, &mut output, &asked);
        shell.kill().unwrap();
        shell.wait().unwrap();
        // Its output ends with it: nobody else has it any more.
        let said = tokio::task::spawn_blocking(move || messages(output));
        let said = tokio::time::timeout(twinmcp_tests::DEADLINE, said).await;
        let said = said.unwrap_or_else(|_| panic!("the relay {relay} outlived its parent")).unwrap();
        assert_eq!(said.len(), usize::from(doing == Doing::Asking), "{said:?}");
        drop(input);
    }
}
