// Signing in at another service in a browser: the way there and back, the question whether an account is theirs who came, the second step,
// and being asked to sign out. The other service is a node too; it is found by another name of this machine, since cookies know no ports.
import { app } from "./authenticator.mjs";
import { asked, check, finish, looks, story, text, url } from "./stories.mjs";

const withoutJavaScript = { javaScriptEnabled: false, viewport: { width: 390, height: 844 } };
const [home] = asked.others;

async function signIn(page, email) {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(asked.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** Who let this service know who they are: they are not asked again. */
const allowed = new Set();

/** At the other service: signs in, and answers whether this one may know who it is. */
async function shownAtHome(page, email, answer = "Allow") {
  await page.waitForURL(`${home}/signin?**`);
  await signIn(page, email);
  if (allowed.has(email)) return;
  if (answer === "Allow") allowed.add(email);
  await page.getByRole("heading", { name: "Allow Branch?" }).waitFor();
  await page.getByRole("button", { name: answer, exact: true }).click();
}

async function fromHome(page, email, answer) {
  await page.goto(`${url}/signin`);
  await page.getByRole("link", { name: "Sign in with Home" }).click();
  await shownAtHome(page, email, answer);
}

/** Somebody whose address has an account here comes from there and says whose it is. */
async function asksWhetherToConnect(page, email) {
  await fromHome(page, email);
  await page.getByRole("heading", { name: "There is an account with your address" }).waitFor();
  await page.getByRole("link", { name: "Sign in to it" }).click();
  await signIn(page, email);
  await page.getByRole("heading", { name: "Connect with Home?" }).waitFor();
  check((await text(page)).includes(email), await text(page));
}

async function asksToLeave(page, email) {
  await page.goto(`${url}/signin`);
  await signIn(page, email);
  await page.waitForURL(`${url}/settings`);
  await page.goto(`${url}/api/oauth/logout`);
  await page.getByRole("heading", { name: "Sign out?" }).waitFor();
}

for (const [how, options] of [["with", {}], ["without", withoutJavaScript]]) {
  story(`somebody signs in elsewhere and has an account from then on, ${how} JavaScript`, async (page) => {
    const email = `comes-${how}@example.org`;
    await fromHome(page, email);
    await page.waitForURL(`${url}/settings`);
    check((await text(page)).includes(email), await text(page));
    check((await page.getByRole("region", { name: "Other ways to sign in" }).innerText()).includes("connected"), await text(page));
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    // Known there, and known here: nothing is asked any more.
    await page.goto(`${url}/signin?return_to=${encodeURIComponent("/libraries?q=kiln")}`);
    await page.getByRole("link", { name: "Sign in with Home" }).click();
    await page.waitForURL((now) => now.href === `${url}/libraries?q=kiln`);
  }, options);

  story(`an account is connected by its person, and disconnected again, ${how} JavaScript`, async (page) => {
    const email = `has-${how}@example.org`;
    await asksWhetherToConnect(page, email);
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await page.waitForURL(`${url}/settings`);
    const elsewhere = page.getByRole("region", { name: "Other ways to sign in" });
    await elsewhere.getByRole("button", { name: /^Disconnect/ }).click();
    await page.waitForURL("**done=disconnect");
    check(!(await elsewhere.innerText()).includes("connected"), await elsewhere.innerText());
    // The same from the settings.
    await elsewhere.getByLabel("Current password").fill(asked.password);
    await elsewhere.getByRole("button", { name: "Connect with Home" }).click();
    await page.getByRole("link", { name: "Go on" }).click();
    await page.waitForURL("**done=connect");
    check((await elsewhere.innerText()).includes("connected"), await elsewhere.innerText());
  }, options);

  story(`who signs in elsewhere shows their second factor here, ${how} JavaScript`, async (page) => {
    const email = `factor-${how}@example.org`;
    await fromHome(page, email);
    await page.waitForURL(`${url}/settings`);
    await page.goto(`${url}/mfa/totp`);
    const code = app(await page.locator(".secret").innerText());
    await page.getByLabel("Code that the app shows").fill(code(0));
    await page.getByRole("button", { name: "Add the app" }).click();
    await page.getByRole("heading", { name: "Your backup codes" }).waitFor();
    await page.goto(`${url}/settings`);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.goto(`${url}/signin?return_to=${encodeURIComponent("/libraries?q=kiln")}`);
    await page.getByRole("link", { name: "Sign in with Home" }).click();
    await page.getByLabel("Code of your authenticator app").fill(code(0));
    await page.getByRole("button", { name: "Go on" }).click();
    check((await text(page, "[role=alert]")).includes("wrong or was used"), await text(page));
    const session = await page.request.get(`${url}/api/auth/session`);
    check(session.status() === 401, `signed in by half: ${session.status()}`);
    await page.getByLabel("Code of your authenticator app").fill(code(1));
    await page.getByRole("button", { name: "Go on" }).click();
    await page.waitForURL((now) => now.href === `${url}/libraries?q=kiln`);
  }, options);

  story(`somebody is asked before they are signed out, ${how} JavaScript`, async (page) => {
    await asksToLeave(page, "leaves@example.org");
    await page.getByRole("button", { name: "Stay signed in" }).click();
    await page.getByRole("heading", { name: "You are still signed in" }).waitFor();
    await page.goto(`${url}/api/oauth/logout`);
    await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
    await page.getByRole("heading", { name: "You are signed out" }).waitFor();
    await page.goto(`${url}/settings`);
    check(page.url().includes("/signin"), page.url());
  }, options);
}

story("a program that asked for the sign-out is gone back to, when it is one that it named", async (page, seen) => {
  const back = "http://127.0.0.1:9777/bye";
  const metadata = { client_name: "Probe", redirect_uris: ["http://127.0.0.1:9/cb"], token_endpoint_auth_method: "none", post_logout_redirect_uris: [back] };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  await page.route("http://127.0.0.1:9777/**", (route) => route.fulfill({ contentType: "text/html", body: "<p>Back in the program.</p>" }));
  await page.goto(`${url}/signin`);
  await signIn(page, "leaves@example.org");
  await page.waitForURL(`${url}/settings`);
  const asks = new URLSearchParams({ client_id: made.client_id, post_logout_redirect_uri: back, state: "s" });
  await page.goto(`${url}/api/oauth/logout?${asks}`);
  check((await text(page)).includes("Probe"), await text(page));
  await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
  await page.waitForURL(`${back}?state=s`);
  seen.length = 0; // That the program was asked is what is wanted here.
  asks.set("post_logout_redirect_uri", `${back}/elsewhere`);
  const refused = await page.goto(`${url}/api/oauth/logout?${asks}`);
  check(refused.status() === 400, `${refused.status()}`);
});

story("who does not allow it there is told so here, and nobody is signed in", async (page) => {
  await fromHome(page, "denies@example.org", "Do not allow");
  await page.waitForURL(`${url}/upstream/home/callback?**`);
  check((await text(page)).includes("did not"), await text(page));
  await page.goto(`${url}/settings`);
  check(page.url().includes("/signin"), page.url());
});

story("who does not connect keeps the account as it was", async (page) => {
  await asksWhetherToConnect(page, "apart@example.org");
  await page.getByRole("button", { name: "Do not connect" }).click();
  await page.waitForURL(`${url}/settings`);
  const elsewhere = page.getByRole("region", { name: "Other ways to sign in" });
  check(!(await elsewhere.innerText()).includes("connected"), await elsewhere.innerText());
});

looks([
  ["signin-elsewhere", (page) => page.goto(`${url}/signin`)],
  ["has-account", async (page) => {
    await fromHome(page, "apart@example.org");
    await page.getByRole("heading", { name: "There is an account with your address" }).waitFor();
  }],
  ["connect", (page) => asksWhetherToConnect(page, "apart@example.org")],
  ["connect-from-settings", async (page) => {
    await page.goto(`${url}/signin`);
    await signIn(page, "apart@example.org");
    const elsewhere = page.getByRole("region", { name: "Other ways to sign in" });
    await elsewhere.getByLabel("Current password").fill(asked.password);
    await elsewhere.getByRole("button", { name: "Connect with Home" }).click();
    await page.getByRole("link", { name: "Go on" }).waitFor();
  }],
  ["provider-refused", async (page) => {
    await fromHome(page, "denies@example.org", "Do not allow");
    await page.waitForURL(`${url}/upstream/home/callback?**`);
  }],
  ["signout", (page) => asksToLeave(page, "leaves@example.org")],
  ["signed-out", async (page) => {
    await asksToLeave(page, "leaves@example.org");
    await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
    await page.getByRole("heading", { name: "You are signed out" }).waitFor();
  }],
]);

await finish();
