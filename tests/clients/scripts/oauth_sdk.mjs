// The whole way of a program that has never heard of a node, through the TypeScript SDK (version 1) and `jose`: refused, finds the
// authorization server, registers, sends a person there, gets tokens, lists the tools, refreshes. Takes one JSON argument: {url, email, password}.
// The person's browser is played by plain requests. Prints what came of it as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { Person, field } from "./person.mjs";

const asked = JSON.parse(process.argv[2]);
const origin = new URL(asked.url).origin;
const redirect = "http://127.0.0.1:8765/callback";
const told = { events: [] };
const person = new Person({ origin, email: asked.email, password: asked.password });

/** The person signs in, allows it, and is sent back. */
async function allow(url) {
  const first = await person.visit(url);
  const page = await person.visit(first.location);
  const began = await person.visit("/signin", {
    form_token: field(page.text, "form_token"), return_to: field(page.text, "return_to"), email: asked.email, password: asked.password,
  });
  const question = await person.visit(began.location);
  told.question = question.text.includes("Probe") && question.text.includes("on your own machine");
  const back = await person.visit("/consent", {
    form_token: field(question.text, "form_token"), ticket: field(question.text, "ticket"), decision: "allow",
  });
  return new URL(back.location);
}

const kept = {};
const provider = {
  get redirectUrl() { return redirect; },
  get clientMetadata() {
    return { client_name: "Probe", redirect_uris: [redirect], grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "none" };
  },
  state: () => "the-state",
  clientInformation: () => kept.client,
  saveClientInformation(client) { kept.client = client; told.events.push("registered"); },
  tokens: () => kept.tokens,
  saveTokens(tokens) { kept.tokens = tokens; told.events.push("tokens"); },
  redirectToAuthorization(url) { kept.authorize = url; told.events.push("redirect"); },
  saveCodeVerifier(verifier) { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
};

const connect = async () => {
  const transport = new StreamableHTTPClientTransport(new URL(asked.url), { authProvider: provider });
  const client = new Client({ name: "twinmcp-tests", version: "1.0.0" });
  return { client, transport, connected: client.connect(transport) };
};

const first = await connect();
try {
  await first.connected;
  throw new Error("nobody was asked");
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error;
}
told.resource = kept.authorize.searchParams.get("resource");
const back = await allow(kept.authorize);
told.state = back.searchParams.get("state");
told.iss = back.searchParams.get("iss");
await first.transport.finishAuth(back.searchParams.get("code"), back.searchParams.get("iss") ?? undefined);

const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", origin));
const verified = await jwtVerify(kept.tokens.access_token, keys, { issuer: origin, audience: asked.url, typ: "at+jwt" });
told.alg = verified.protectedHeader.alg;

const second = await connect();
await second.connected;
told.tools = (await second.client.listTools()).tools.map((tool) => tool.name);
const called = await second.client.callTool({ name: "resolve-library-id", arguments: { libraryName: "kiln", query: "how to fire it" } });
told.called = called.content[0].text;
await second.client.close();

// A token that is refused is replaced by the program itself.
const before = kept.tokens.refresh_token;
kept.tokens = { ...kept.tokens, access_token: "a.b.c" };
const third = await connect();
await third.connected;
told.again = (await third.client.listTools()).tools.length;
told.rotated = kept.tokens.refresh_token !== before;
await third.client.close();
console.log(JSON.stringify(told));
