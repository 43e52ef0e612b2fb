// The authorization server's part of the conformance suite, with a person who does what the suite asks of its user: opens the URL that it
// prints, signs in and allows it. Takes one JSON argument: {suite, issuer, email, password, client_id, resource, revision}; the client is a public one
// that is sent back to http://127.0.0.1/callback at any port. Prints the suite's checks as JSON.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Person } from "./person.mjs";

const asked = JSON.parse(process.argv[2]);

/** A port that nobody has at the moment: the suite cannot take any free one. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const results = mkdtempSync(join(tmpdir(), "authorization-"));
const suite = spawn(process.execPath, [
  ...process.execArgv, asked.suite, "authorization", "--url", asked.issuer, "--client-id", asked.client_id, "--resource", asked.resource,
  "--port", String(await freePort()), "--spec-version", asked.revision, "-o", results,
], { stdio: ["ignore", "pipe", "inherit"] });
const ended = once(suite, "exit");
let printed = "";
let opened = false;
for await (const text of suite.stdout.setEncoding("utf8")) {
  printed += text;
  const url = printed.match(/^(\S+\/authorize\?\S+)\n/m)?.[1];
  if (url && !opened) {
    opened = true;
    const person = new Person({ origin: asked.issuer, email: asked.email, password: asked.password });
    await fetch(await person.decide(new URL(url)));
  }
}
const [code] = await ended;
const checks = readdirSync(results, { recursive: true }).filter((name) => name.endsWith("checks.json"));
const all = checks.flatMap((name) => JSON.parse(readFileSync(join(results, name), "utf8")));
rmSync(results, { recursive: true });
console.log(JSON.stringify({ code, opened, checks: all.map(({ id, status, errorMessage }) => ({ id, status, errorMessage })), printed: code === 0 ? undefined : printed }));
