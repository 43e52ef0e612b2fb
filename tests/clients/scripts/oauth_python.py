"""The same way through the Python SDK, and PyJWT. Takes one JSON argument: {url, email, password}. Prints what came of it as JSON."""

import asyncio
import html
import json
import re
import sys
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import jwt
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.shared.auth import OAuthClientMetadata


class Kept(TokenStorage):
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def field(page, name):
    return html.unescape(re.search(f'name="{name}" value="([^"]*)"', page).group(1))


async def main(asked):
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(asked["url"]))
    cookies, sent_back = {}, {}

    async def visit(url, form=None):
        """What a browser does with a page of the node: keeps cookies, follows nothing by itself."""
        async with httpx.AsyncClient(trust_env=False) as browser:
            headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "sec-fetch-site": "same-origin"}
            method = "GET" if form is None else "POST"
            answer = await browser.request(method, urljoin(origin, url), headers=headers, data=form)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.split(";")[0].partition("=")
            cookies[name] = value
        return answer

    async def redirect(url):
        page = (await visit((await visit(url)).headers["location"])).text
        form = {"form_token": field(page, "form_token"), "return_to": field(page, "return_to")}
        began = await visit("/signin", {**form, "email": asked["email"], "password": asked["password"]})
        question = (await visit(began.headers["location"])).text
        form = {"form_token": field(question, "form_token"), "ticket": field(question, "ticket"), "decision": "allow"}
        back = await visit("/consent", form)
        sent_back.update({name: values[0] for name, values in parse_qs(urlsplit(back.headers["location"]).query).items()})

    async def callback():
        return AuthorizationCodeResult(code=sent_back["code"], state=sent_back.get("state"), iss=sent_back.get("iss"))

    kept = Kept()
    metadata = OAuthClientMetadata(
        client_name="Python probe",
        redirect_uris=["http://127.0.0.1:8766/callback"],
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(
        server_url=asked["url"], client_metadata=metadata, storage=kept, redirect_handler=redirect, callback_handler=callback
    )
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    async with httpx.AsyncClient(auth=provider, trust_env=False) as client:
        answer = await client.post(asked["url"], json=request, headers=headers)
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = jwt.PyJWKSet.from_dict((await client.get(f"{origin}/.well-known/jwks.json")).json())
    token = kept.tokens.access_token
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key.key, algorithms=[key.algorithm_name], audience=asked["url"], issuer=origin)
    told = {
        "tools": [tool["name"] for tool in answer.json()["result"]["tools"]],
        "iss": sent_back.get("iss"),
        "scope": claims["scope"],
        "client": claims["client_id"] == kept.client.client_id,
    }
    print(json.dumps(told))


asyncio.run(main(json.loads(sys.argv[1])))
