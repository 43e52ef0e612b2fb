// Second factors in a browser: an authenticator app is added, asked for and removed, with JavaScript and without.
import { app } from "./authenticator.mjs";
import { asked, check, finish, looks, story, text, url } from "./stories.mjs";

const withoutJavaScript = { javaScriptEnabled: false };

async function signIn(page, email, way = `${url}/signin`) {
  await page.goto(way);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(asked.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** Adds an app, from the settings on, and returns it with the backup codes. */
async function enrol(page, email) {
  await signIn(page, email);
  await page.getByRole("link", { name: "Change second factors" }).click();
  await page.getByRole("link", { name: "Add an authenticator app" }).click();
  check(await page.getByRole("img", { name: "QR code" }).isVisible(), "there is a picture");
  const code = app(await page.locator(".secret").innerText());
  await page.getByLabel("Code that the app shows").fill(code(0));
  await page.getByRole("button", { name: "Add the app" }).click();
  await page.getByRole("heading", { name: "Your backup codes" }).waitFor();
  const codes = await page.locator(".codes code").allInnerTexts();
  check(codes.length === 10, `${codes.length} codes`);
  return { code, codes };
}

for (const [number, options] of [{}, { ...withoutJavaScript, viewport: { width: 390, height: 844 } }].entries()) {
  const email = `story${number}@example.org`;
  story(`an app is added, asked for, and removed, ${number === 0 ? "with" : "without"} JavaScript`, async (page) => {
    const { code, codes } = await enrol(page, email);
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download them as text" }).click();
    const file = await (await (await download).createReadStream()).toArray();
    check(codes.every((it) => Buffer.concat(file).toString().includes(it)), "the file holds the codes");
    await page.getByRole("link", { name: "I have kept them" }).click();
    await page.waitForURL(`${url}/settings`);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();

    await signIn(page, email, `${url}/signin?return_to=${encodeURIComponent("/libraries?q=kiln")}`);
    await page.getByLabel("Code of your authenticator app").fill(code(0));
    await page.getByRole("button", { name: "Go on" }).click();
    check((await text(page, "[role=alert]")).includes("wrong or was used"), await text(page));
    await page.getByLabel("Code of your authenticator app").fill(code(1));
    await page.getByRole("button", { name: "Go on" }).click();
    await page.waitForURL((now) => now.href === `${url}/libraries?q=kiln`);

    await page.context().clearCookies();
    await signIn(page, email);
    await page.getByText("Use a backup code").click();
    await page.getByLabel("Backup code", { exact: true }).fill(codes[3].toUpperCase());
    await page.getByRole("button", { name: "Use the code" }).click();
    await page.waitForURL(`${url}/settings`);
    await page.goto(`${url}/mfa`);
    check((await text(page)).includes("9 of them are left"), await text(page));
    await page.getByRole("button", { name: "Make new codes" }).click();
    const others = await page.locator(".codes code").allInnerTexts();
    check(others.length === 10 && !others.includes(codes[0]), "they are others");
    await page.goto(`${url}/mfa`);
    await page.getByRole("button", { name: "Remove the app" }).click();
    await page.waitForURL("**done=1");
    await page.getByRole("link", { name: "Add an authenticator app" }).waitFor();
  }, options);
}

story("a program that asks for a second factor leads there and back", async (page, seen) => {
  const metadata = { client_name: "Vault", redirect_uris: ["http://127.0.0.1:9/cb"], token_endpoint_auth_method: "none" };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  const asks = {
    response_type: "code", client_id: made.client_id, redirect_uri: "http://127.0.0.1:9777/cb", state: "s", acr_values: "aal2",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256", scope: "docs:read openid",
  };
  await page.route("http://127.0.0.1:9777/**", (route) => route.fulfill({ contentType: "text/html", body: "<p>Back in the program.</p>" }));
  await signIn(page, "program@example.org", `${url}/api/oauth/authorize?${new URLSearchParams(asks)}`);
  check((await text(page, "[role=status]")).includes("needs a second factor"), await text(page));
  await page.getByRole("link", { name: "Add an authenticator app" }).click();
  const code = app(await page.locator(".secret").innerText());
  await page.getByLabel("Code that the app shows").fill(code(0));
  await page.getByRole("button", { name: "Add the app" }).click();
  await page.getByRole("link", { name: "I have kept them" }).click();
  await page.getByRole("heading", { name: "Allow Vault?" }).waitFor();
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.waitForURL("http://127.0.0.1:9777/cb?code=**");

  // Where a factor is there already, the way from the password through it to the program is one of forms alone.
  await page.context().clearCookies();
  await signIn(page, "program@example.org", `${url}/api/oauth/authorize?${new URLSearchParams({ ...asks, prompt: "consent" })}`);
  await page.getByLabel("Code of your authenticator app").fill(code(1));
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.waitForURL("http://127.0.0.1:9777/cb?code=**");
  seen.length = 0; // That the program was asked is what is wanted here.
});

/** A device of this browser that keeps passkeys, and makes sure who holds it. */
async function device(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true };
  await session.send("WebAuthn.addVirtualAuthenticator", { options });
}

story("a passkey is added, is the second step, and signs in alone", async (page) => {
  await device(page);
  await signIn(page, "passkey@example.org");
  await page.getByRole("link", { name: "Change second factors" }).click();
  await page.getByLabel("Name of the device").fill("Laptop");
  await page.getByRole("button", { name: "Add a passkey" }).click();
  await page.getByRole("heading", { name: "Your backup codes" }).waitFor();
  check((await page.locator(".codes code").count()) === 10, "ten codes");
  await page.getByRole("link", { name: "I have kept them" }).click();
  await page.waitForURL(`${url}/settings`);
  check((await text(page)).includes("Sign-ins ask for a passkey."), await text(page));

  await page.context().clearCookies();
  await signIn(page, "passkey@example.org", `${url}/signin?return_to=/libraries`);
  await page.getByRole("button", { name: "Use a passkey" }).click();
  await page.waitForURL(`${url}/libraries`);

  await page.context().clearCookies();
  await page.goto(`${url}/signin`);
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.waitForURL(`${url}/settings`);
  await page.goto(`${url}/mfa`);
  check((await text(page)).includes("Laptop"), await text(page));
  await page.getByRole("button", { name: "Remove the passkey Laptop" }).click();
  await page.waitForURL("**done=1");
});

story("where a browser has no passkeys nothing speaks of them but the text", async (page) => {
  await page.addInitScript(() => delete window.PublicKeyCredential);
  await page.goto(`${url}/signin`);
  check(!(await page.getByRole("button", { name: "Sign in with a passkey" }).isVisible()), "a button that does nothing");
  await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
});

/** The code in the newest text message. */
async function sent() {
  return (await (await fetch(asked.phone)).text()).slice(0, 6);
}

/** Asks for a code to a phone that is to be added. */
async function offer(page, email) {
  await signIn(page, email);
  await page.goto(`${url}/mfa`);
  await page.getByLabel("Phone number").fill("+43 660 1234567");
  await page.getByRole("button", { name: "Send a code there" }).click();
  await page.getByRole("heading", { name: "Add a phone" }).waitFor();
}

/** Adds a phone that codes are sent to. */
async function addPhone(page, email) {
  await offer(page, email);
  await page.getByLabel("Code of the text message").fill(await sent());
  await page.getByRole("button", { name: "Add the phone" }).click();
  await page.getByRole("heading", { name: "Your backup codes" }).waitFor();
}

for (const [number, options] of [{}, { ...withoutJavaScript, viewport: { width: 390, height: 844 } }].entries()) {
  const email = `sms${number}@example.org`;
  story(`a phone is added, sent a code, and removed, ${number === 0 ? "with" : "without"} JavaScript`, async (page) => {
    await addPhone(page, email);
    await page.getByRole("link", { name: "I have kept them" }).click();
    await page.waitForURL(`${url}/settings`);
    check((await text(page)).includes("ask for a code by text message"), await text(page));

    await page.context().clearCookies();
    await signIn(page, email, `${url}/signin?return_to=/libraries`);
    await page.getByRole("button", { name: "Send a code to the number …67" }).click();
    await page.getByText("A code was sent to the number …67").waitFor();
    await page.getByLabel("Code of the text message").fill("no");
    await page.getByRole("button", { name: "Go on with this code" }).click();
    check((await text(page, "[role=alert]")).includes("wrong or was used"), await text(page));
    await page.getByRole("button", { name: "Send another code" }).click();
    await page.getByLabel("Code of the text message").fill(await sent());
    await page.getByRole("button", { name: "Go on with this code" }).click();
    await page.waitForURL(`${url}/libraries`);
    await page.goto(`${url}/mfa`);
    await page.getByRole("button", { name: "Remove the phone" }).click();
    await page.waitForURL("**done=1");
    await page.getByLabel("Phone number").waitFor();
  }, options);
}

let looked = 0;
looks([
  ["factors", async (page) => {
    await signIn(page, "plain@example.org");
    await page.goto(`${url}/mfa`);
  }],
  ["factors-app", async (page) => {
    await signIn(page, "plain@example.org");
    await page.goto(`${url}/mfa/totp`);
    await page.getByRole("img", { name: "QR code" }).waitFor();
  }],
  ["factors-app-wrong", async (page) => {
    await signIn(page, "plain@example.org");
    await page.goto(`${url}/mfa/totp`);
    await page.getByLabel("Code that the app shows").fill("0");
    await page.getByRole("button", { name: "Add the app" }).click();
    await page.getByRole("alert").waitFor();
  }],
  ["factors-codes", async (page) => {
    await enrol(page, `looks${looked}@example.org`);
    looked += 1;
  }],
  ["factors-both", async (page) => {
    // Nobody waits for another step: the page of somebody who has just added one.
    await enrol(page, `looks${looked}@example.org`);
    looked += 1;
    await page.goto(`${url}/mfa`);
    await page.getByText("10 of them are left").waitFor();
  }],
  ["factors-phone", async (page) => {
    await offer(page, "plain@example.org");
  }],
  ["signin-phone", async (page) => {
    await addPhone(page, `looks${looked}@example.org`);
    looked += 1;
    await page.context().clearCookies();
    await signIn(page, `looks${looked - 1}@example.org`);
    await page.getByRole("button", { name: "Send a code to the number" }).click();
    await page.getByLabel("Code of the text message").waitFor();
  }],
  ["signin-factor", async (page) => {
    await signIn(page, "program@example.org");
    await page.getByText("Use a backup code").click();
    await page.getByLabel("Backup code", { exact: true }).waitFor();
  }],
]);

await finish();
