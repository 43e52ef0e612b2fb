// Drives a server through version 2 of the TypeScript SDK. Takes one JSON argument: {url, headers} or
// {command, args, env}, {mode: "auto" | "legacy" | {pin: revision}} and {calls: [[tool, arguments], ...]}.
// Prints what came back as JSON.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { drive } from "./drive.mjs";

const asked = JSON.parse(process.argv[2]);
const client = new Client(
  { name: "twinmcp-tests", version: "1.0.0" },
  { versionNegotiation: { mode: asked.mode ?? "auto" } },
);
const transport = asked.url
  ? new StreamableHTTPClientTransport(new URL(asked.url), { requestInit: { headers: asked.headers ?? {} } })
  : new StdioClientTransport({ command: asked.command, args: asked.args, env: asked.env, stderr: "inherit" });
await client.connect(transport);
const told = await drive(client, asked);
told.protocol = client.getNegotiatedProtocolVersion() ?? null;
told.session = transport.sessionId ?? null;
console.log(JSON.stringify(told));
await client.close();
