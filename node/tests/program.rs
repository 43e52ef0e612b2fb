//! The program itself, as a process: what can be seen without a node.

use std::process::Command;

fn twinmcp(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_twinmcp")).args(arguments).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it prints text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_program_prints_the_document_that_is_written_down() {
    let (code, printed, _) = twinmcp(&["openapi"]);
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/twinmcp.json");
    assert_eq!(code, Some(0));
    assert_eq!(printed.trim_end(), std::fs::read_to_string(written).unwrap().trim_end());
}

#[test]
fn exit_codes_tell_wrong_usage_from_a_node_that_cannot_be_reached() {
    // Port 9 (discard) is answered by nobody on loopback.
    let nobody = ["resolve", "tokio", "--url", "http://127.0.0.1:9"];
    for (arguments, expected) in [
        (&["--help"][..], 0),
        (&["fly"], 2),
        (&["resolve"], 2),
        (&nobody, 3),
        (&["config", "check", "/nowhere/twinmcp.toml"], 1),
    ] {
        let (code, out, err) = twinmcp(arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {out}{err}");
        assert!(expected == 0 || !err.is_empty(), "{arguments:?} says nothing about what went wrong");
    }
}
