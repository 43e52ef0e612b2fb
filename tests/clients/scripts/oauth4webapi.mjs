// `oauth4webapi`, the strict one: each answer is checked letter by letter by the library, and access tokens are validated as a resource
// server would. Takes one JSON argument: {issuer, email, password, web, machine}, the last two clients that exist. Prints what came of it as JSON.
import * as oauth from "oauth4webapi";
import { Person, refusal } from "./person.mjs";

const asked = JSON.parse(process.argv[2]);
const issuer = new URL(asked.issuer);
const insecure = { [oauth.allowInsecureRequests]: true };
const person = new Person({ origin: issuer.origin, email: asked.email, password: asked.password });
const redirect_uri = "https://web.example/cb";
const told = {};

const discover = async (algorithm) => {
  const answer = await oauth.discoveryRequest(issuer, { ...insecure, algorithm });
  return oauth.processDiscoveryResponse(issuer, answer);
};
const as = await discover("oidc");
told.same = JSON.stringify(await discover("oauth2")) === JSON.stringify(as);
const resource = new URL("/mcp", issuer);
const about = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, insecure));
told.resource = about.authorization_servers;

const client = { client_id: asked.web.client_id };
const auth = oauth.ClientSecretBasic(asked.web.client_secret);

/** Signs the person in; the parameters of the answer, checked, and what was kept. */
async function signIn(more = {}) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const nonce = oauth.generateRandomNonce();
  const parameters = {
    client_id: client.client_id, redirect_uri, response_type: "code", scope: "openid email docs:read", state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256", ...more,
  };
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams(parameters);
  const back = await person.decide(url);
  return { verifier, state, nonce, back };
}

const redeem = async ({ verifier, state, nonce, back }, options = {}) => {
  const callback = oauth.validateAuthResponse(as, client, back, state);
  const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, callback, redirect_uri, verifier, { ...insecure, ...options });
  return oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true });
};

const signedIn = await signIn({ resource: resource.href, max_age: "600" });
const tokens = await redeem(signedIn);
const claims = oauth.getValidatedIdTokenClaims(tokens);
told.id_token = { iss: claims.iss === asked.issuer, aud: claims.aud, auth_time: typeof claims.auth_time };

// As a resource server: signature, type, issuer, audience and the claims of RFC 9068.
const shown = (token, scheme = "Bearer", headers = {}) => new Request(resource, { method: "POST", headers: { authorization: `${scheme} ${token}`, ...headers } });
const verified = await oauth.validateJwtAccessToken(as, shown(tokens.access_token), resource.href, insecure);
told.access_token = { client: verified.client_id === client.client_id, sub: verified.sub === claims.sub, scope: verified.scope };
told.other_audience = await refusal(oauth.validateJwtAccessToken(as, shown(tokens.access_token), "https://other.example", insecure));
told.id_token_as_access_token = await refusal(oauth.validateJwtAccessToken(as, shown(tokens.id_token), client.client_id, insecure));

const whole = await redeem(await signIn());
const sub = oauth.getValidatedIdTokenClaims(whole).sub;
told.userinfo = (await oauth.processUserInfoResponse(as, client, sub, await oauth.userInfoRequest(as, client, whole.access_token, insecure))).email;

const introspect = async (token) => oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, token, insecure));
told.introspected = [(await introspect(tokens.access_token)).active, (await introspect("nonsense")).active];
const refresh = async (token) => oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, insecure));
const next = await refresh(tokens.refresh_token);
told.rotated = next.refresh_token !== tokens.refresh_token;
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, next.access_token, insecure));
told.revoked = (await introspect(next.access_token)).active;

// What must be refused.
told.replayed_code = await refusal(redeem(signedIn));
told.wrong_verifier = await refusal(redeem({ ...(await signIn()), verifier: oauth.generateRandomCodeVerifier() }));
const wrongSecret = oauth.ClientSecretBasic("not-the-secret");
told.foreign_secret = await refusal(async () => {
  const answer = await oauth.refreshTokenGrantRequest(as, client, wrongSecret, next.refresh_token, insecure);
  await oauth.processRefreshTokenResponse(as, client, answer);
});
const mixed = await signIn();
mixed.back.searchParams.set("iss", "https://evil.example");
told.wrong_issuer = await refusal(redeem(mixed));

// Bound to a key, with the nonce that the node wants first.
const keys = await oauth.generateKeyPair("ES256");
const DPoP = oauth.DPoP(client, keys);
const withNonce = async (work) => {
  try {
    return await work();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    told.nonces = (told.nonces ?? 0) + 1;
    return work();
  }
};
const ahead = await signIn();
const bound = await withNonce(() => redeem(ahead, { DPoP }));
told.bound = bound.token_type;
const reached = await withNonce(() => oauth.protectedResourceRequest(bound.access_token, "GET", new URL("/api/libraries", issuer), undefined, undefined, { ...insecure, DPoP }));
told.bound_api = reached.status;

// A machine, whose token is validated like a person's.
const machine = { client_id: asked.machine.client_id };
const grant = await oauth.clientCredentialsGrantRequest(as, machine, oauth.ClientSecretPost(asked.machine.client_secret), { resource: resource.href }, insecure);
const given = await oauth.processClientCredentialsResponse(as, machine, grant);
told.machine = (await oauth.validateJwtAccessToken(as, shown(given.access_token), resource.href, insecure)).sub === machine.client_id;

console.log(JSON.stringify(told));
