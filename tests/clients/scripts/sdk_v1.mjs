// Drives a server through version 1 of the TypeScript SDK (the wire of 2025-11-25). Takes one JSON argument:
// {url, headers} or {command, args, env}, and {calls: [[tool, arguments], ...]}. Prints what came back as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { drive } from "./drive.mjs";

const asked = JSON.parse(process.argv[2]);
const client = new Client({ name: "twinmcp-tests", version: "1.0.0" });
const transport = asked.url
  ? new StreamableHTTPClientTransport(new URL(asked.url), { requestInit: { headers: asked.headers ?? {} } })
  : new StdioClientTransport({ command: asked.command, args: asked.args, env: asked.env, stderr: "inherit" });
await client.connect(transport);
const told = await drive(client, asked);
told.protocol = transport.protocolVersion ?? null;
told.session = transport.sessionId ?? null;
console.log(JSON.stringify(told));
await client.close();
