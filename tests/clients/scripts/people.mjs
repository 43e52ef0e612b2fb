// The pages of people in a browser: sign-up, sign-in, another password, settings. Letters are read where the node writes them.
import { link } from "./letters.mjs";
import { asked, check, finish, looks, story, text, url } from "./stories.mjs";

const PASSWORD = "correct horse battery";
const withoutJavaScript = { javaScriptEnabled: false };

async function makeAccount(page, email) {
  await page.goto(`${url}/signin`);
  await page.getByRole("link", { name: "Make an account" }).click();
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Name").fill("Ada");
  await page.getByRole("button", { name: "Send the letter" }).click();
  await page.getByRole("heading", { name: "Look into your mail" }).waitFor();
  await page.goto(await link(email, "Confirm"));
  check((await text(page)).includes(email), await text(page));
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.getByRole("link", { name: "Sign in" }).click();
}

async function signIn(page, email, password = PASSWORD) {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signedIn(page, email, password) {
  await page.goto(`${url}/signin`);
  await signIn(page, email, password);
  await page.waitForURL(`${url}/settings`);
}

story("a person makes an account, signs in and out", async (page) => {
  await makeAccount(page, "one@example.org");
  await signIn(page, "one@example.org");
  await page.waitForURL(`${url}/settings`);
  check((await text(page)).includes("This session"), await text(page));
  const [cookie] = (await page.context().cookies()).filter((it) => it.name === "__Host-twinmcp");
  check(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Lax" && cookie.path === "/", JSON.stringify(cookie));
  check((await page.evaluate(() => document.cookie)) === "", "a script can read a cookie");
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.waitForURL(`${url}/signin`);
  await page.goto(`${url}/settings`);
  await page.waitForURL((now) => now.href === `${url}/signin?return_to=/settings`);
});

story("the same works without JavaScript, and on a phone", async (page) => {
  await makeAccount(page, "two@example.org");
  await signIn(page, "two@example.org");
  await page.waitForURL(`${url}/settings`);
}, { ...withoutJavaScript, viewport: { width: 390, height: 844 } });

story("the cookie is taken on localhost too", async (page, seen) => {
  const local = url.replace("127.0.0.1", "localhost");
  await page.goto(`${local}/signin`);
  await signIn(page, "one@example.org");
  await page.waitForURL(`${local}/settings`);
  check((await text(page)).includes("one@example.org"), await text(page));
  seen.length = 0; // Another name for the same node.
});

story("a wrong password is told in the page, and the address stays", async (page) => {
  await page.goto(`${url}/signin`);
  await signIn(page, "one@example.org", "not my password");
  check((await text(page, "[role=alert]")).includes("wrong"), await text(page));
  check((await page.getByLabel("E-mail address").inputValue()) === "one@example.org", "the address is gone");
});

story("a person who was on the way somewhere gets there", async (page) => {
  await page.goto(`${url}/signin?return_to=${encodeURIComponent("/libraries?q=kiln")}`);
  await signIn(page, "one@example.org");
  await page.waitForURL((now) => now.href === `${url}/libraries?q=kiln`);
});

story("a forgotten password is replaced, and every session ends", async (page) => {
  const other = await page.context().browser().newContext();
  const elsewhere = await other.newPage();
  await signedIn(elsewhere, "two@example.org");
  await page.goto(`${url}/signin`);
  await page.getByRole("link", { name: "Forgot the password?" }).click();
  await page.getByLabel("E-mail address").fill("two@example.org");
  await page.getByRole("button", { name: "Send the link" }).click();
  await page.goto(await link("two@example.org", "Choose another password"));
  await page.getByLabel("Password").fill("another good password");
  await page.getByRole("button", { name: "Set the password" }).click();
  await page.getByRole("link", { name: "Sign in" }).click();
  await signIn(page, "two@example.org", "another good password");
  await page.waitForURL(`${url}/settings`);
  await elsewhere.goto(`${url}/settings`);
  check(elsewhere.url().includes("/signin"), elsewhere.url());
  await other.close();
});

story("a link that was used says so", async (page) => {
  const response = await page.goto(await link("two@example.org", "Choose another password"));
  check(response.status() === 403, `status ${response.status()}`);
  check((await text(page, "[role=alert]")).includes("was used"), await text(page));
});

story("settings change name and password, and end another session", async (page) => {
  await makeAccount(page, "three@example.org");
  const other = await page.context().browser().newContext();
  const elsewhere = await other.newPage();
  await signedIn(elsewhere, "three@example.org");
  await signedIn(page, "three@example.org");
  await page.getByLabel("Name").fill("Grace");
  await page.getByRole("button", { name: "Save the name" }).click();
  await page.waitForURL("**done=name");
  check((await page.getByLabel("Name").inputValue()) === "Grace", "the name is another");
  const sessions = page.getByRole("listitem");
  check((await sessions.count()) === 2, `${await sessions.count()} sessions`);
  await sessions.filter({ hasNotText: "This session" }).getByRole("button").click();
  await page.waitForURL("**done=session");
  await elsewhere.goto(`${url}/settings`);
  check(elsewhere.url().includes("/signin"), elsewhere.url());
  await other.close();

  const section = page.getByRole("region", { name: "Password" });
  await section.getByLabel("Current password").fill("not my password");
  await section.getByLabel("New password").fill("a better password");
  await section.getByRole("button").click();
  check((await text(page, "[role=alert]")).includes("current password is wrong"), await text(page));
  await section.getByLabel("Current password").fill(PASSWORD);
  await section.getByLabel("New password").fill("a better password");
  await section.getByRole("button").click();
  await page.waitForURL("**done=password");
});

story("another address is taken once its link is opened", async (page) => {
  await signedIn(page, "three@example.org", "a better password");
  const section = page.getByRole("region", { name: "E-mail address" });
  await section.getByLabel("New e-mail address").fill("four@example.org");
  await section.getByLabel("Current password").fill("a better password");
  await section.getByRole("button").click();
  await page.waitForURL("**done=email");
  await page.goto(await link("four@example.org", "Confirm"));
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByRole("link", { name: "Your account" }).click();
  check((await text(page)).includes("four@example.org"), await text(page));
});

story("an account is exported, and deleted with the password alone", async (page) => {
  await signedIn(page, "four@example.org", "a better password");
  const answer = await page.request.get(`${url}/api/auth/account`);
  check((await answer.json()).account.email === "four@example.org", await answer.text());
  await page.getByText("Delete the account").first().click();
  const form = page.locator("details");
  await form.getByLabel("Current password").fill("not my password");
  await form.getByRole("button").click();
  check((await text(page, "[role=alert]")).includes("wrong"), await text(page));
  await form.getByLabel("Current password").fill("a better password");
  await form.getByRole("button").click();
  await page.getByRole("heading", { name: "The account is deleted" }).waitFor();
});

story("a form of another site is refused", async (page, seen) => {
  await page.goto(`${url}/signin`);
  const other = url.replace("127.0.0.1", "localhost");
  await page.evaluate(async (target) => {
    const answer = await fetch(target, { method: "POST", mode: "no-cors", body: new URLSearchParams({ email: "a" }) }).catch(() => null);
    window.answered = answer?.type ?? "blocked";
  }, `${other}/signin`);
  check((await page.evaluate(() => window.answered)) === "blocked", "the policy let it out");
  seen.length = 0; // That the browser says so is what is wanted here.
});

/** A program that asks for something, registered at the node, and the address its people are sent to. */
async function program(page, name) {
  const metadata = { client_name: name, redirect_uris: ["http://127.0.0.1:9/cb"], token_endpoint_auth_method: "none" };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  const asks = {
    response_type: "code", client_id: made.client_id, redirect_uri: "http://127.0.0.1:9777/cb", state: "s",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256", scope: "docs:read openid",
  };
  // The program itself, which listens on the person's machine.
  await page.route("http://127.0.0.1:9777/**", (route) => route.fulfill({ contentType: "text/html", body: "<p>Back in the program.</p>" }));
  return { id: made.client_id, way: `${url}/api/oauth/authorize?${new URLSearchParams(asks)}` };
}

/** What a program on a device shows its person. */
async function device(page, name) {
  const metadata = { client_name: name, token_endpoint_auth_method: "none", grant_types: ["urn:ietf:params:oauth:grant-type:device_code"] };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  const form = { client_id: made.client_id, hostname: "laptop" };
  const codes = await (await page.request.post(`${url}/api/oauth/device_authorization`, { form })).json();
  const poll = { client_id: made.client_id, device_code: codes.device_code, grant_type: metadata.grant_types[0] };
  return { codes, poll: () => page.request.post(`${url}/api/oauth/token`, { form: poll }) };
}

for (const [how, options] of [["", {}], [" without JavaScript", withoutJavaScript]]) {
  story(`a program is allowed something and it is taken back${how}`, async (page, seen) => {
    const { way } = await program(page, "Probe");
    await page.goto(way);
    await signIn(page, "one@example.org");
    await page.getByRole("heading", { name: "Allow Probe?" }).waitFor();
    check((await text(page)).includes("read their documentation"), await text(page));
    await page.getByRole("button", { name: "Allow", exact: true }).click();
    await page.waitForURL("http://127.0.0.1:9777/cb?code=**");
    check(new URL(page.url()).searchParams.get("iss") === url, page.url());
    seen.length = 0; // That the program was asked is what is wanted here.
    await page.goto(`${url}/settings`);
    const programs = page.getByRole("region", { name: "Programs" });
    check((await programs.innerText()).includes("Probe"), await programs.innerText());
    await programs.getByRole("button").first().click();
    await page.waitForURL("**done=app");
  }, options);
}

story("a program that is not allowed something is told so", async (page, seen) => {
  const { way } = await program(page, "Refused");
  await page.goto(way);
  await signIn(page, "one@example.org");
  await page.getByRole("button", { name: "Do not allow" }).click();
  await page.waitForURL("http://127.0.0.1:9777/cb?error=access_denied**");
  seen.length = 0;
});

story("a request of nobody ends on a page that says so", async (page) => {
  await page.goto(`${url}/api/oauth/authorize?client_id=nobody&redirect_uri=https%3A%2F%2Fevil.example`);
  check((await text(page)).includes("No client is registered"), await text(page));
});

story("a program without a browser is allowed something by its code", async (page) => {
  const { codes, poll } = await device(page, "Television");
  await page.goto(`${url}/device`);
  await signIn(page, "one@example.org");
  await page.getByLabel("Code").fill("XXXX-XXXX");
  await page.getByRole("button", { name: "Go on" }).click();
  check((await text(page, "[role=alert]")).includes("No program waits"), await text(page));
  await page.getByLabel("Code").fill(codes.user_code.toLowerCase());
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByRole("heading", { name: "Allow Television?" }).waitFor();
  check((await text(page)).includes(codes.user_code) && (await text(page)).includes("laptop"), await text(page));
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.getByRole("heading", { name: "It is allowed" }).waitFor();
  check((await poll()).status() === 200, "no tokens");
});

for (const [how, options] of [["", {}], [" without JavaScript", withoutJavaScript]]) {
  story(`a key is made, shown once and revoked${how}`, async (page) => {
    await signedIn(page, "one@example.org");
    await page.getByRole("link", { name: "API keys" }).click();
    await page.getByLabel("What you call it").fill(`editor${how}`);
    await page.getByLabel("start and cancel your index jobs").check();
    await page.getByLabel("It ends").selectOption("in 30 days");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByText("nobody can show it again").waitFor();
    const secret = (await page.locator(".secret").innerText()).trim();
    const asking = async () => (await page.request.get(`${url}/api/jobs`, { headers: { authorization: `Bearer ${secret}` } })).status();
    check((await asking()) === 200, `${await asking()}`);
    await page.getByRole("link", { name: "Back to the keys" }).click();
    check(!(await page.content()).includes(secret), "the secret is shown again");
    await page.getByRole("button", { name: `Revoke editor${how} ending in` }).click();
    await page.getByText("opens nothing any more").waitFor();
    check((await asking()) === 401, `${await asking()}`);
  }, options);
}

/** A team of somebody who is signed in on `page`. */
async function makeTeam(page, name) {
  await page.goto(`${url}/settings/teams`);
  await page.getByLabel("Its name").fill(name);
  await page.getByRole("button", { name: "Make the team" }).click();
  await page.getByRole("heading", { name }).waitFor();
}

async function invite(page, email, before = "") {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Role", { exact: true }).selectOption("developer");
  await page.getByRole("button", { name: "Send the invitation" }).click();
  await page.getByText("A letter with a link is on its way").waitFor();
  return link(email, "You are invited to a team", before);
}

let invitation = "";
let looked = 0;
for (const [how, options] of [["", {}], [" without JavaScript", withoutJavaScript]]) {
  story(`somebody joins a team by a letter, and is taken out again${how}`, async (page) => {
    await signedIn(page, "one@example.org");
    await makeTeam(page, `Kiln works${how}`);
    invitation = await invite(page, "two@example.org", invitation);
    const other = await page.context().browser().newContext(options);
    const elsewhere = await other.newPage();
    await elsewhere.goto(invitation);
    check((await text(elsewhere)).includes("two@example.org"), await text(elsewhere));
    await elsewhere.getByRole("link", { name: "Sign in to join" }).click();
    await signIn(elsewhere, "two@example.org", "another good password");
    await elsewhere.getByRole("button", { name: "Join the team" }).click();
    await elsewhere.getByText("You are in the team.").waitFor();
    check((await text(elsewhere)).includes("You are developer"), await text(elsewhere));
    await page.reload();
    await page.getByLabel("Role of Ada", { exact: true }).last().selectOption("admin");
    await page.getByRole("button", { name: "Change the role of Ada" }).last().click();
    await page.waitForURL("**done=role");
    await elsewhere.reload();
    check((await text(elsewhere)).includes("You are admin"), await text(elsewhere));
    await page.getByRole("button", { name: "Remove Ada" }).click();
    await page.waitForURL("**done=remove");
    const gone = await elsewhere.goto(page.url().split("?")[0]);
    check(gone.status() === 404, `${gone.status()}`);
    await other.close();
    await page.getByRole("button", { name: "Leave the team" }).click();
    check((await text(page, "[role=alert]")).includes("needs an owner"), await text(page));
    await page.locator("summary", { hasText: "Delete the team" }).click();
    await page.getByRole("button", { name: "Delete the team" }).click();
    await page.getByText("The team is deleted").waitFor();
  }, options);
}

const settings = async (page) => {
  await page.goto(`${url}/signin?return_to=/settings`);
  await signIn(page, "one@example.org");
  await page.waitForURL(`${url}/settings`);
};

looks([
  ["signin", (page) => page.goto(`${url}/signin`)],
  ["signin-refused", async (page) => {
    await page.goto(`${url}/signin`);
    await signIn(page, "one@example.org", "x");
    await page.getByRole("alert").waitFor();
  }],
  ["signup", (page) => page.goto(`${url}/signup`)],
  ["reset", (page) => page.goto(`${url}/reset`)],
  ["link", async (page) => page.goto(asked.invite)],
  ["settings", settings],
  ["keys", async (page) => {
    await settings(page);
    await page.goto(`${url}/settings/keys`);
    await page.getByLabel("What you call it").fill("editor");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByRole("link", { name: "Back to the keys" }).click();
    await page.getByRole("button", { name: "Revoke editor" }).first().waitFor();
  }],
  ["key", async (page) => {
    await settings(page);
    await page.goto(`${url}/settings/keys`);
    await page.getByLabel("What you call it").fill("shown once");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByText("nobody can show it again").waitFor();
  }],
  ["teams", async (page) => {
    await settings(page);
    await page.goto(`${url}/settings/teams`);
  }],
  ["team", async (page) => {
    await settings(page);
    await makeTeam(page, `Looks ${(looked += 1)}`);
    await page.getByLabel("E-mail address").fill(`nobody${looked}@example.org`);
    await page.getByRole("button", { name: "Send the invitation" }).click();
    await page.getByText("A letter with a link is on its way").waitFor();
    await page.getByText("Make a key").click();
  }],
  ["join", async (page) => {
    await settings(page);
    await makeTeam(page, `Looks ${(looked += 1)}`);
    await page.goto(await invite(page, `nobody${looked}@example.org`));
    await page.getByRole("heading", { name: /Join/ }).waitFor();
  }],
  ["consent", async (page) => {
    await page.goto((await program(page, "Probe")).way);
    await signIn(page, "one@example.org");
    await page.getByRole("heading", { name: "Allow Probe?" }).waitFor();
  }],
  ["device", async (page) => {
    await page.goto(`${url}/device`);
    await signIn(page, "one@example.org");
    await page.getByLabel("Code").waitFor();
  }],
  ["device-question", async (page) => {
    const { codes } = await device(page, "Television");
    await page.goto(codes.verification_uri_complete);
    await signIn(page, "one@example.org");
    await page.getByRole("heading", { name: "Allow Television?" }).waitFor();
  }],
]);

await finish();
