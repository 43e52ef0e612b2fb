//! Who asks, as far as usage wants to know: which program, which way, and whom to tell apart.

use std::net::IpAddr;

use poem::http::{HeaderMap, header};
use twinmcp_actors::usage::{Asker, Client};
use twinmcp_storage::usage::Surface;

use super::caller::Caller;
use super::names;

/// The sender of a request.
pub(super) fn of(path: &str, headers: &HeaderMap, caller: Option<&Caller>, address: IpAddr) -> Asker {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // How programs name themselves, the most telling first.
    let clients = [&names::CLIENT_IDE, &header::USER_AGENT].map(|name| Client::of(text(name)));
    let client = clients.into_iter().find(|client| *client != Client::OTHER).unwrap_or(Client::OTHER);
    let surface = surface(path, text(&names::SOURCE));
    match caller {
        Some(caller) => Asker::new(client, surface, caller.id().as_bytes()),
        None => Asker::new(client, surface, address.to_string().as_bytes()),
    }
}

fn surface(path: &str, source: &str) -> Surface {
    match source {
        "mcp-server" | "twinmcp-mcp" => Surface::Mcp,
        "cli" | "twinmcp-cli" => Surface::Cli,
        _ if path == "/mcp" || path.starts_with("/api/mcp/") => Surface::Mcp,
        _ if path.starts_with("/api/") => Surface::Txt,
        _ => Surface::Page,
    }
}

/// Nobody in particular.
pub(super) fn nobody() -> Asker {
    Asker::new(Client::OTHER, Surface::Txt, &[])
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn programs_are_told_by_their_headers_and_ways_by_source_and_path() {
        for (path, sent, client, way) in [
            ("/mcp", &[("user-agent", "claude-code/2.1 (cli)")][..], "claude-code", Surface::Mcp),
            ("/api/v2/context", &[("user-agent", "python-httpx/0.28")], "other", Surface::Txt),
            (
                "/api/v2/context",
                &[
                    ("x-context7-source", "mcp-server"),
                    ("x-context7-client-ide", "Cursor"),
                    ("user-agent", "node"),
                ],
                "cursor",
                Surface::Mcp,
            ),
            (
                "/api/v2/context",
                &[("x-context7-source", "cli"), ("x-context7-client-ide", "ctx7-cli")],
                "ctx7",
                Surface::Cli,
            ),
            ("/api/mcp/query-docs", &[], "other", Surface::Mcp),
            ("/libraries/acme/kiln", &[], "other", Surface::Page),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.insert(*name, value.parse().unwrap());
            }
            let asker = of(path, &headers, None, Ipv4Addr::LOCALHOST.into());
            assert_eq!((asker.client.name(), asker.surface), (client, way), "{path} {sent:?}");
        }
    }
}
