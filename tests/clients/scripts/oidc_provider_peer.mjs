// `oidc-provider` beside which the harness `issuing` measures a node: one process, its records in a `Map`, so that none is dropped under
// load as its built-in memory does. Takes one JSON argument: {refresh, codes, challenge}, how many refresh tokens and codes are wanted, and the challenge of
// the codes. Prints {port} and then {refresh_tokens, codes, access_token} as JSON, a line each, and serves until it is ended.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const asked = JSON.parse(process.argv[2]);

/** As the library's example adapter for memory, without its bound. */
const kept = new Map();
const byGrant = new Map();
class MapAdapter {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) {
    kept.set(this.key(id), payload);
    if (payload.grantId) {
      if (!byGrant.has(payload.grantId)) byGrant.set(payload.grantId, new Set());
      byGrant.get(payload.grantId).add(this.key(id));
    }
  }
  async find(id) { return kept.get(this.key(id)); }
  async findByUid() { return undefined; }
  async findByUserCode() { return undefined; }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { kept.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const key of byGrant.get(grantId) ?? []) kept.delete(key);
    byGrant.delete(grantId);
  }
}

const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;
const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const client = (client_id, grant_types, more) => ({
  client_id, client_secret: "secret", grant_types, redirect_uris: [], response_types: [], token_endpoint_auth_method: "client_secret_basic", ...more,
});
const provider = new Provider(issuer, {
  adapter: MapAdapter,
  jwks: { keys: [{ ...key, use: "sig", alg: "RS256", kid: "rs" }] },
  clients: [
    client("machine", ["client_credentials"]),
    client("web", ["authorization_code", "refresh_token"], { redirect_uris: ["https://web.example/cb"], response_types: ["code"] }),
  ],
  scopes: ["openid", "offline_access", "docs:read"],
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Grant: 86400, RefreshToken: 86400 },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => false,
      getResourceServerInfo: () => ({
        scope: "docs:read", accessTokenFormat: "jwt", accessTokenTTL: 600, jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
server.on("request", provider.callback());

console.log(JSON.stringify({ port }));

const web = await provider.Client.find("web");
const now = Math.floor(Date.now() / 1000);
const told = { refresh_tokens: [], codes: [], access_token: undefined };
for (let number = 0; number < asked.refresh + asked.codes; number += 1) {
  const grant = new provider.Grant({ accountId: "ada", clientId: "web" });
  grant.addOIDCScope("openid offline_access");
  const grantId = await grant.save(24 * 3600);
  const common = { accountId: "ada", client: web, scope: "openid offline_access", grantId, gty: "authorization_code", authTime: now };
  if (number < asked.refresh) {
    told.refresh_tokens.push(await new provider.RefreshToken({ ...common, rotations: 0 }).save(24 * 3600));
    told.access_token = await new provider.AccessToken(common).save(24 * 3600);
  } else {
    told.codes.push(await new provider.AuthorizationCode({
      ...common, redirectUri: "https://web.example/cb", codeChallenge: asked.challenge, codeChallengeMethod: "S256",
    }).save(24 * 3600));
  }
}
console.log(JSON.stringify(told));
