"""Authlib, the usual OAuth client of Python, over requests, and PyJWT: code with PKCE, refresh, client credentials, introspection, revocation, ID
token. Takes one JSON argument: {issuer, email, password, web, machine}, the last two clients that exist. Prints what came of it as JSON."""

import html
import json
import re
import sys
from urllib.parse import urljoin

import jwt
import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

asked = json.loads(sys.argv[1])
issuer, web, machine = asked["issuer"], asked["web"], asked["machine"]
about = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
keys = jwt.PyJWKClient(about["jwks_uri"])
redirect_uri = "https://web.example/cb"
told = {}


def field(page, name):
    return html.unescape(re.search(f'name="{name}" value="([^"]*)"', page).group(1))


class Person:
    """A person's browser, played by plain requests: keeps cookies (also `Secure` ones, as browsers do on loopback), follows nothing by itself."""

    def __init__(self):
        self.cookies = {}

    def visit(self, url, form=None):
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "sec-fetch-site": "same-origin"}
        method = "GET" if form is None else "POST"
        answer = requests.request(method, urljoin(issuer, url), headers=headers, data=form, allow_redirects=False, timeout=30)
        for name, value in re.findall(r"(__Host-[^=]+)=([^;,]*)", answer.headers.get("set-cookie", "")):
            self.cookies[name] = value
        return answer

    def allow(self, url):
        """Allows what is asked for at `url`, signing in first; where the browser is sent then."""
        seen = self.visit(url)
        while "location" in seen.headers and urljoin(issuer, seen.headers["location"]).startswith(issuer):
            seen = self.visit(seen.headers["location"])
            if 'name="password"' in seen.text:
                form = {name: field(seen.text, name) for name in ("form_token", "return_to")}
                seen = self.visit("/signin", {**form, "email": asked["email"], "password": asked["password"]})
        if "location" in seen.headers:
            return seen.headers["location"]
        form = {name: field(seen.text, name) for name in ("form_token", "ticket")}
        return self.visit("/consent", {**form, "decision": "allow"}).headers["location"]


def refusal(work):
    try:
        work()
    except OAuthError as error:
        return error.error
    return "none"


def session(client, **more):
    return OAuth2Session(client["client_id"], client.get("client_secret"), redirect_uri=redirect_uri, **more)


person = Person()
program = session(web, scope="openid email docs:read", code_challenge_method="S256")


def sign_in(verifier, nonce="n"):
    url, state = program.create_authorization_url(about["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    return person.allow(url), state


verifier = generate_token(48)
back, state = sign_in(verifier, "the-nonce")
token = program.fetch_token(about["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier)
told["type"] = token["token_type"]

signed = keys.get_signing_key_from_jwt(token["id_token"])
claims = jwt.decode(
    token["id_token"], signed.key, algorithms=about["id_token_signing_alg_values_supported"], audience=web["client_id"], issuer=issuer
)
told["id_token"] = {"nonce": claims["nonce"], "email": claims.get("email"), "alg": jwt.get_unverified_header(token["id_token"])["alg"]}
told["userinfo"] = program.get(about["userinfo_endpoint"]).json()["email"]
told["api"] = program.get(f"{issuer}/api/libraries").status_code

old = token["refresh_token"]
new = program.refresh_token(about["token_endpoint"], refresh_token=old)
told["rotated"] = new["refresh_token"] != old
told["introspected"] = program.introspect_token(about["introspection_endpoint"], token=new["access_token"]).json()["active"]
program.revoke_token(about["revocation_endpoint"], token=new["refresh_token"])
told["revoked"] = program.introspect_token(about["introspection_endpoint"], token=new["access_token"]).json()["active"]
told["refresh_after_revocation"] = refusal(lambda: program.refresh_token(about["token_endpoint"], refresh_token=new["refresh_token"]))

told["replayed_code"] = refusal(
    lambda: program.fetch_token(about["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier)
)
back, state = sign_in(generate_token(48))
told["wrong_verifier"] = refusal(
    lambda: program.fetch_token(about["token_endpoint"], authorization_response=back, state=state, code_verifier=generate_token(48))
)
foreign = session({**web, "client_secret": "not-the-secret"})
told["foreign_secret"] = refusal(lambda: foreign.refresh_token(about["token_endpoint"], refresh_token=old))

# Machines: RS256 with the secret in the body, ES256 with the secret in the header.
for name, method in (("machine", "client_secret_post"), ("es256", "client_secret_basic")):
    client = session(asked[name], token_endpoint_auth_method=method)
    given = client.fetch_token(about["token_endpoint"], grant_type="client_credentials", scope="docs:read")
    signed = keys.get_signing_key_from_jwt(given["access_token"])
    head = jwt.get_unverified_header(given["access_token"])
    claims = jwt.decode(given["access_token"], signed.key, algorithms=[head["alg"]], audience=issuer, issuer=issuer)
    told[name] = [head["alg"], head["typ"], claims["scope"], claims["sub"] == asked[name]["client_id"]]
told["machine_scope"] = refusal(
    lambda: session(machine, token_endpoint_auth_method="client_secret_post").fetch_token(
        about["token_endpoint"], grant_type="client_credentials", scope="keys:write"
    )
)
print(json.dumps(told))
