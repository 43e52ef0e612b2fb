// `openid-client`, the usual OpenID client of Node.js, unchanged: finds everything by discovery and goes every way to a token that there
// is, and is refused what must be. Takes one JSON argument: {issuer, email, password, web, native, machine}, the last three clients that
// exist: {client_id, client_secret}. Prints what came of it as JSON.
import * as oidc from "openid-client";
import { Person, refusal } from "./person.mjs";

const asked = JSON.parse(process.argv[2]);
const issuer = new URL(asked.issuer);
const insecure = { execute: [oidc.allowInsecureRequests] };
const person = new Person({ origin: issuer.origin, email: asked.email, password: asked.password });
const redirect_uri = "https://web.example/cb";
const told = {};

const configured = (client, auth) => oidc.discovery(issuer, client.client_id, {}, auth, insecure);
const web = await configured(asked.web, oidc.ClientSecretBasic(asked.web.client_secret));
told.issuer = web.serverMetadata().issuer;
oidc.enableNonRepudiationChecks(web);

/** A new request: its verifier, what is checked afterwards, and the URL. */
async function request(config, more = {}, dpop) {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const expectedState = oidc.randomState();
  const expectedNonce = oidc.randomNonce();
  const parameters = {
    redirect_uri, scope: "openid profile email docs:read", state: expectedState, nonce: expectedNonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256", ...more,
  };
  const url = more.pushed
    ? await oidc.buildAuthorizationUrlWithPAR(config, Object.fromEntries(Object.entries(parameters).filter(([name]) => name !== "pushed")), dpop)
    : oidc.buildAuthorizationUrl(config, parameters);
  return { url, checks: { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true } };
}

// The code flow, whose ID token is checked against the keys, and what follows from it.
const first = await request(web);
const back = await person.decide(first.url);
const tokens = await oidc.authorizationCodeGrant(web, back, first.checks);
told.type = tokens.token_type;
told.nonce = tokens.claims().nonce === first.checks.expectedNonce;
told.expires_in = tokens.expiresIn() > 0;
const who = await oidc.fetchUserInfo(web, tokens.access_token, tokens.claims().sub);
told.userinfo = { email: who.email, name: who.name };
told.introspected = (await oidc.tokenIntrospection(web, tokens.access_token)).active;
told.api = (await oidc.fetchProtectedResource(web, tokens.access_token, new URL("/api/libraries", issuer), "GET")).status;

const refreshed = await oidc.refreshTokenGrant(web, tokens.refresh_token);
told.rotated = refreshed.refresh_token !== tokens.refresh_token;
await oidc.tokenRevocation(web, refreshed.refresh_token);
told.after_revocation = (await oidc.tokenIntrospection(web, refreshed.access_token)).active;
told.refresh_after_revocation = await refusal(oidc.refreshTokenGrant(web, refreshed.refresh_token));

// What must be refused: by the node ...
told.replayed_code = await refusal(oidc.authorizationCodeGrant(web, back, first.checks));
const second = await request(web);
const wrong = { ...second.checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() };
told.wrong_verifier = await refusal(oidc.authorizationCodeGrant(web, await person.decide(second.url), wrong));
const foreign = await configured(asked.web, oidc.ClientSecretBasic("not-the-secret"));
told.foreign_secret = await refusal(oidc.clientCredentialsGrant(foreign));
const denied = await request(web);
told.denied = await refusal(oidc.authorizationCodeGrant(web, await person.decide(new URL(`${denied.url}&prompt=consent`), "deny"), denied.checks));
const scoped = await request(web, { scope: "openid admin" });
told.wrong_scope = await refusal(oidc.authorizationCodeGrant(web, await person.decide(scoped.url), scoped.checks));
// ... and by the client itself: an answer that says it comes from another issuer, or that nobody asked for.
const mixed = await request(web);
const sent = await person.decide(mixed.url);
const other = new URL(sent);
other.searchParams.set("iss", "https://evil.example");
told.wrong_issuer = await refusal(oidc.authorizationCodeGrant(web, other, mixed.checks));
const none = new URL(sent);
none.searchParams.delete("iss");
told.no_issuer = await refusal(oidc.authorizationCodeGrant(web, none, mixed.checks));
told.wrong_state = await refusal(oidc.authorizationCodeGrant(web, sent, { ...mixed.checks, expectedState: "other" }));
const honest = await oidc.authorizationCodeGrant(web, sent, mixed.checks);
told.after_mix_up = honest.token_type;

// Sent ahead, and bound to a key: the client takes each nonce that it is told.
const keys = await oidc.randomDPoPKeyPair("ES256");
const DPoP = oidc.getDPoPHandle(web, keys);
const ahead = await request(web, { pushed: true }, { DPoP });
told.pushed = [...ahead.url.searchParams.keys()].sort();
const bound = await oidc.authorizationCodeGrant(web, await person.decide(ahead.url), ahead.checks, undefined, { DPoP });
told.bound_type = bound.token_type;
told.bound_api = (await oidc.fetchProtectedResource(web, bound.access_token, new URL("/api/libraries", issuer), "GET", undefined, undefined, { DPoP })).status;
told.bound_as_bearer = await refusal(oidc.fetchProtectedResource(web, bound.access_token, new URL("/api/libraries", issuer), "GET"));
const stranger = { DPoP: oidc.getDPoPHandle(web, await oidc.randomDPoPKeyPair("ES256")) };
told.bound_to_another = await refusal(oidc.fetchProtectedResource(web, bound.access_token, new URL("/api/libraries", issuer), "GET", undefined, undefined, stranger));
const rebound = await oidc.refreshTokenGrant(web, bound.refresh_token, undefined, { DPoP });
told.bound_refresh = rebound.token_type;
told.pushed_again = (await person.visit(ahead.url)).status;

// A program without a browser.
const device = await configured(asked.native, oidc.None());
const handle = await oidc.initiateDeviceAuthorization(device, { scope: "openid docs:read" });
const polled = oidc.pollDeviceAuthorizationGrant(device, { ...handle, interval: 1 });
await person.decideDevice(handle.verification_uri_complete);
told.device = (await polled).token_type;
const refused = await oidc.initiateDeviceAuthorization(device, { scope: "docs:read" });
const refusing = refusal(oidc.pollDeviceAuthorizationGrant(device, { ...refused, interval: 1 }));
await person.decideDevice(refused.verification_uri_complete, "deny");
told.device_denied = await refusing;

// A machine.
const machine = await configured(asked.machine, oidc.ClientSecretPost(asked.machine.client_secret));
const given = await oidc.clientCredentialsGrant(machine, { scope: "docs:read", resource: `${asked.issuer}/api` });
told.machine = [given.token_type, given.scope];
told.machine_scope = await refusal(oidc.clientCredentialsGrant(machine, { scope: "keys:write" }));
told.machine_target = await refusal(oidc.clientCredentialsGrant(machine, { resource: "https://other.example/" }));

// A client that registers itself.
const registered = await oidc.dynamicClientRegistration(issuer, { client_name: "Registered", redirect_uris: [redirect_uri] }, undefined, insecure);
told.registered = (await oidc.tokenIntrospection(registered, "tmcp_at_nothing")).active;

console.log(JSON.stringify(told));
