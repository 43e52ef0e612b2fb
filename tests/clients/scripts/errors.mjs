// What the pages of people and operators say where something cannot be done: by which status, in which sentence, and whether the way on is
// there. Each such page is looked at as `stories.mjs` looks at the others.
import { app } from "./authenticator.mjs";
import { letter, link } from "./letters.mjs";
import { asked, check, finish, looksRight, story, text, url } from "./stories.mjs";

const [inviting] = asked.others;

async function signIn(page, email, way) {
  await page.goto(way);
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(asked.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

async function signedIn(page, email, path = "/settings") {
  await signIn(page, email, `${url}/signin?return_to=${encodeURIComponent(path)}`);
  await page.waitForURL((now) => now.href === `${url}${path}`);
}

/** Somebody else's browser, for as long as a story needs it. */
async function elsewhere(page, tell) {
  const other = await page.context().browser().newContext();
  try {
    await tell(await other.newPage());
  } finally {
    await other.close();
  }
}

/** Where what stands below something long is out of sight at first. */
const PHONE = { width: 390, height: 700 };

/** The status of the page that `doing` something leads to in the end. */
async function answered(page, doing) {
  const isPage = (it) => it.request().isNavigationRequest() && (it.status() < 300 || it.status() > 399);
  const [answer] = await Promise.all([page.waitForResponse(isPage), page.waitForEvent("domcontentloaded"), doing()]);
  return answer.status();
}

/** The page says, once and where it is seen, that what was done could not be. */
async function tells(page, sentence) {
  const alerts = page.getByRole("alert");
  await alerts.first().waitFor();
  const told = await alerts.allInnerTexts();
  check(told.length === 1 && told[0].includes(sentence), JSON.stringify(told));
  check(/[A-Z].*[.]$/s.test(told[0].trim()), `no sentence: ${told[0]}`);
  const { y } = await alerts.boundingBox();
  check(y >= 0 && y < page.viewportSize().height, `out of sight, at ${y} px: ${told[0]}`);
}

/** What was done leads to a page that says why it could not be; one with a `name` looks right. */
async function refused(page, doing, status, sentence, name = "") {
  const got = await answered(page, doing);
  check(got === status, `${got}, ${await text(page)}`);
  await tells(page, sentence);
  if (name) await looksRight(page, name);
}

/** What is told to who asks with each of `addresses`: nobody learns from it whose they are. */
async function toldAlike(page, addresses, ask) {
  const told = [];
  for (const address of addresses) told.push(`${await ask(address)} ${(await text(page)).replaceAll(address, "")}`);
  check(told.every((it) => it === told[0]), told.join("\n"));
  return told[0];
}

async function hasFocus(field) {
  check(await field.evaluate((it) => it === document.activeElement), `the focus is elsewhere than in ${field}`);
}

/** A form that the browser itself holds back, in the field that is wrong. */
async function heldBack(page, button, field) {
  const before = page.url();
  await button.click();
  check(await field.evaluate((it) => it.matches(":invalid")), `${field} is right for the browser`);
  await hasFocus(field);
  check(page.url() === before, page.url());
}

/** From here on the forms of the page are sent as they are: not every browser checks them. */
function unchecked(page) {
  return page.evaluate(() => {
    for (const form of document.forms) form.noValidate = true;
    for (const field of document.querySelectorAll("[maxlength]")) field.removeAttribute("maxlength");
  });
}

story("who makes an account is told what is wrong, and not who has one", async (page) => {
  await page.goto(`${url}/signup`);
  const [email, name] = [page.getByLabel("E-mail address"), page.getByLabel("Name")];
  const send = page.getByRole("button", { name: "Send the letter" });
  await email.fill("nobody");
  await name.fill("Ada");
  await heldBack(page, send, email);
  await unchecked(page);
  await refused(page, () => send.click(), 400, "looks like `name@example.org`", "signup-mistyped");
  check((await email.inputValue()) === "nobody" && (await name.inputValue()) === "Ada", "what was typed is gone");
  await hasFocus(email);

  const told = await toldAlike(page, ["fresh@example.org", "ada@example.org"], async (address) => {
    await page.goto(`${url}/signup`);
    await email.fill(address);
    await name.fill("Ada");
    return answered(page, () => send.click());
  });
  check(told.startsWith("200"), told);
  check((await letter("ada@example.org", "You have an account already")).includes("/reset"), "the letter leads nowhere");

  await page.goto(await link("fresh@example.org", "Confirm"));
  const [password, make] = [page.getByLabel("Password"), page.getByRole("button", { name: "Make the account" })];
  await password.fill("seven c");
  await heldBack(page, make, password);
  await unchecked(page);
  await refused(page, () => make.click(), 400, "A password has at least 8 characters", "link-short");
  await hasFocus(password);
  await password.fill(asked.password);
  check((await answered(page, () => make.click())) === 200, await text(page));
  await page.getByRole("heading", { name: "Done" }).waitFor();
});

story("where accounts are made by invitation nobody is offered to make one", async (page) => {
  await page.goto(`${inviting}/signin`);
  check((await page.getByRole("link", { name: "Make an account" }).count()) === 0, await text(page));
  await page.goto(`${inviting}/signup`);
  check((await text(page)).includes("Ask whoever runs this service"), await text(page));
  check((await page.locator("main form").count()) === 0, "there is a form");
  await looksRight(page, "signup-invitation");
  // One that was open since before.
  await page.goto(`${inviting}/signin`);
  await page.locator("main form").first().evaluate((form) => Object.assign(form, { action: "/signup", noValidate: true }));
  const send = page.getByRole("button", { name: "Sign in", exact: true });
  await refused(page, () => send.click(), 403, "Accounts are made by invitation only", "signup-closed");
});

story("a password is forgotten, and each link that is good no more leads to another", async (page) => {
  await page.goto(`${url}/reset`);
  const [email, send] = [page.getByLabel("E-mail address"), page.getByRole("button", { name: "Send the link" })];
  await email.fill("nobody");
  await heldBack(page, send, email);
  await unchecked(page);
  await refused(page, () => send.click(), 400, "looks like `name@example.org`");
  await hasFocus(email);
  const told = await toldAlike(page, ["nobody@example.org", "bob@example.org"], async (address) => {
    await page.goto(`${url}/reset`);
    await email.fill(address);
    return answered(page, () => send.click());
  });
  check(told.startsWith("200"), told);

  const way = await link("bob@example.org", "Choose another password");
  await page.goto(way);
  const [password, set] = [page.getByLabel("Password"), page.getByRole("button", { name: "Set the password" })];
  await password.fill("short");
  await heldBack(page, set, password);
  await unchecked(page);
  await refused(page, () => set.click(), 400, "A password has at least 8 characters");
  await hasFocus(password);
  await password.fill("another good password");
  await elsewhere(page, async (theirs) => {
    await theirs.goto(way);
    await theirs.getByLabel("Password").fill("the first of the two");
    await theirs.getByRole("button", { name: "Set the password" }).click();
    await theirs.getByRole("heading", { name: "Done" }).waitFor();
  });
  const used = "This link was used, has expired or was replaced";
  await refused(page, () => set.click(), 403, used, "link-used");
  const mangled = way.slice(0, -1) + (way.endsWith("0") ? "1" : "0");
  for (const gone of [way, mangled, way.slice(0, -1), `${url}/reset?token=`]) {
    check((await answered(page, () => page.goto(gone))) === 403, `${gone}: ${await text(page)}`);
    await tells(page, used);
  }
  await page.getByRole("link", { name: "Ask for another link" }).click();
  await page.waitForURL(`${url}/reset`);
  await hasFocus(email);
  check((await answered(page, () => page.goto(mangled.replace("/reset", "/verify")))) === 403, await text(page));
  await tells(page, used);
  await page.getByRole("link", { name: "Make an account" }).click();
  await page.waitForURL(`${url}/signup`);
});

story("a wrong password tells nothing of whose it is, and ten lock the account for a while", async (page) => {
  const send = page.getByRole("button", { name: "Sign in", exact: true });
  const told = await toldAlike(page, ["nobody@example.org", "lock@example.org"], async (address) => {
    await page.goto(`${url}/signin`);
    await page.getByLabel("E-mail address").fill(address);
    await page.getByLabel("Password").fill("not the password");
    const status = await answered(page, () => send.click());
    await tells(page, "The e-mail address or the password is wrong");
    await hasFocus(page.getByLabel("Password"));
    return status;
  });
  check(told.startsWith("401"), told);
  for (let wrong = 1; wrong < 10; wrong += 1) {
    const data = { email: "lock@example.org", password: "not the password" };
    const answer = await page.request.post(`${url}/api/auth/sign-in`, { data });
    check(answer.status() === 401, `${wrong}: ${answer.status()}`);
  }
  // The right one is not taken either.
  await page.getByLabel("Password").fill(asked.password);
  await refused(page, () => send.click(), 429, "Too many passwords or codes were wrong", "signin-locked");
  check(/try again in [1-9]\d? s/.test(await text(page)), await text(page));
  await hasFocus(page.getByLabel("Password"));
  await elsewhere(page, (theirs) => signedIn(theirs, "ada@example.org"));
});

story("a wrong code is told, and the right one goes on", async (page) => {
  await signedIn(page, "factor@example.org");
  await page.goto(`${url}/mfa/totp`);
  const code = app(await page.locator(".secret").innerText());
  const [shown, add] = [page.getByLabel("Code that the app shows"), page.getByRole("button", { name: "Add the app" })];
  await heldBack(page, add, shown);
  await shown.fill("000");
  await refused(page, () => add.click(), 403, "The code is wrong or was used", "factors-app-wrong");
  await hasFocus(shown);
  await shown.fill(code(0));
  await add.click();
  await page.getByRole("heading", { name: "Your backup codes" }).waitFor();

  await page.context().clearCookies();
  await signIn(page, "factor@example.org", `${url}/signin?return_to=/libraries`);
  const asks = page.getByLabel("Code of your authenticator app");
  await asks.fill(code(0));
  await refused(page, () => page.getByRole("button", { name: "Go on" }).click(), 403, "The code is wrong or was used");
  await hasFocus(asks);
  await page.getByText("Use a backup code").click();
  await page.getByLabel("Backup code", { exact: true }).fill("none of mine");
  const use = page.getByRole("button", { name: "Use the code" });
  await refused(page, () => use.click(), 403, "The code is wrong or was used", "factor-backup-wrong");
  await hasFocus(page.getByLabel("Backup code", { exact: true }));
  await asks.fill(code(1));
  await page.getByRole("button", { name: "Go on" }).click();
  await page.waitForURL(`${url}/libraries`);
});

/** A device of this browser that keeps passkeys; what makes it sure who holds it, or not. */
async function device(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true };
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", { options });
  return (isUserVerified) => session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified });
}

story("a passkey that the device keeps back, or that is not the right one, is told, and the right one goes on", async (page) => {
  const verifies = await device(page);
  await signedIn(page, "passkey@example.org", "/mfa");
  const add = page.getByRole("button", { name: "Add a passkey" });
  await heldBack(page, add, page.getByLabel("Name of the device"));
  await page.getByLabel("Name of the device").fill("Laptop");
  await verifies(false);
  await add.click();
  await tells(page, "The device did not answer, or it was not allowed.");
  await looksRight(page, "passkey-not-added");
  await verifies(true);
  await add.click();
  await page.getByRole("heading", { name: "Your backup codes" }).waitFor();

  await page.context().clearCookies();
  await signIn(page, "passkey@example.org", `${url}/signin?return_to=/libraries`);
  const use = page.getByRole("button", { name: "Use a passkey" });
  await verifies(false);
  await use.click();
  await tells(page, "The device did not answer, or it was not allowed.");
  await looksRight(page, "passkey-kept-back");
  await verifies(true);
  await page.route("**/api/auth/passkeys/answer", (route) => {
    const sent = route.request().postDataJSON();
    sent.credential.response.signature = sent.credential.response.authenticatorData;
    route.continue({ postData: JSON.stringify(sent) });
  }, { times: 1 });
  await use.click();
  await page.getByRole("alert").filter({ hasText: "The passkey was not taken; try again." }).waitFor();
  check((await page.request.get(`${url}/api/auth/session`)).status() === 401, "signed in by half");
  await use.click();
  await page.waitForURL(`${url}/libraries`);
});

story("a key without a scope, or with too long a name, is not made", async (page) => {
  await signedIn(page, "ada@example.org", "/settings/keys");
  const [name, make] = [page.getByLabel("What you call it"), page.getByRole("button", { name: "Make the key" })];
  await heldBack(page, make, name);
  await name.fill("editor");
  const scopes = page.getByRole("group", { name: "It may" }).getByRole("checkbox");
  for (const scope of await scopes.all()) await scope.uncheck();
  await refused(page, () => make.click(), 400, "A key needs at least one scope", "key-scopeless");
  check((await name.inputValue()) === "editor" && !(await scopes.first().isChecked()), "what was chosen is gone");
  await scopes.first().check();
  // A hundred letters of two bytes each.
  await name.fill("ü".repeat(100));
  await refused(page, () => make.click(), 400, "A key's name has 1 to 100 bytes", "key-name-long");
  check((await name.inputValue()).length === 100 && (await scopes.first().isChecked()), "what was chosen is gone");
  check((await text(page)).includes("There are none yet."), await text(page));
});

story("a team goes without no name and no owner", async (page) => {
  await signedIn(page, "ada@example.org", "/settings/teams");
  const [name, make] = [page.getByLabel("Its name"), page.getByRole("button", { name: "Make the team" })];
  await heldBack(page, make, name);
  await name.fill("  ");
  await refused(page, () => make.click(), 400, "A team's name has 1 to 200 bytes", "team-nameless");
  await name.fill("Kiln works");
  await make.click();
  await page.getByRole("heading", { name: "Kiln works" }).waitFor();
  await page.setViewportSize(PHONE);
  await refused(page, () => page.getByRole("button", { name: "Leave the team" }).click(), 409, "A team needs an owner", "team-ownerless");
  await page.getByLabel("Its name").fill("  ");
  await page.setViewportSize(PHONE);
  await refused(page, () => page.getByRole("button", { name: "Save the name" }).click(), 400, "A team's name has 1 to 200 bytes");
  await page.getByLabel("E-mail address").fill("nobody");
  await heldBack(page, page.getByRole("button", { name: "Send the invitation" }), page.getByLabel("E-mail address"));
  await unchecked(page);
  await page.setViewportSize(PHONE);
  await refused(page, () => page.getByRole("button", { name: "Send the invitation" }).click(), 400, "looks like `name@example.org`", "team-invited");
  check((await page.getByLabel("E-mail address").inputValue()) === "nobody", "what was typed is gone");

  await page.getByLabel("E-mail address").fill("bob@example.org");
  await page.getByRole("button", { name: "Send the invitation" }).click();
  await page.getByText("A letter with a link is on its way").waitFor();
  const way = await link("bob@example.org", "You are invited to a team");
  await elsewhere(page, async (theirs) => {
    await signedIn(theirs, "eve@example.org");
    await theirs.goto(way);
    check((await text(theirs)).includes("You are signed in as eve@example.org"), await text(theirs));
    const join = theirs.getByRole("button", { name: "Join the team" });
    await refused(theirs, () => join.click(), 403, "for another address", "join-other");
    await page.getByRole("button", { name: "Take back the invitation of bob@example.org" }).click();
    await page.waitForURL("**done=withdraw");
    const withdrawn = "This invitation was used, withdrawn or has expired";
    await refused(theirs, () => join.click(), 403, withdrawn);
    for (const gone of [way, way.slice(0, -1)]) {
      check((await answered(theirs, () => theirs.goto(gone))) === 403, `${gone}: ${await text(theirs)}`);
      await tells(theirs, withdrawn);
    }
    const away = await theirs.goto(page.url().split("?")[0]);
    check(away.status() === 404, `${away.status()}`);
    await tells(theirs, "There is no such team");
  });
});

/** A program that asks for something: where its people are sent, and what comes back to it. */
async function program(page) {
  const metadata = { client_name: "Probe", redirect_uris: ["http://127.0.0.1:9/cb"], token_endpoint_auth_method: "none" };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  const asks = {
    response_type: "code", client_id: made.client_id, redirect_uri: "http://127.0.0.1:9777/cb", state: "s",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256", scope: "docs:read openid",
  };
  return `${url}/api/oauth/authorize?${new URLSearchParams(asks)}`;
}

story("an answer to a question that somebody else was asked gives nobody a code", async (page, seen) => {
  const back = [];
  await page.route("http://127.0.0.1:9777/**", (route) => {
    back.push(new URL(route.request().url()).searchParams);
    route.fulfill({ contentType: "text/html", body: "<p>Back in the program.</p>" });
  });
  const way = await program(page);
  await signIn(page, "ada@example.org", way);
  const allow = page.getByRole("button", { name: "Allow", exact: true });
  await allow.waitFor();
  const ticket = page.locator("input[name=ticket]");
  const own = await ticket.inputValue();
  await elsewhere(page, async (theirs) => {
    await signIn(theirs, "eve@example.org", way);
    const foreign = await theirs.locator("input[name=ticket]").inputValue();
    for (const [name, other] of [["consent-foreign", foreign], ["", own.slice(1)]]) {
      await page.goto(way);
      await ticket.evaluate((it, value) => { it.value = value; }, other);
      await refused(page, () => allow.click(), 403, "Go back to the program and start again.", name);
    }
  });
  // One that was open in another window while its person signed out and in again.
  await page.goto(way);
  const other = await page.context().newPage();
  await other.goto(`${url}/settings`);
  await other.getByRole("button", { name: "Sign out", exact: true }).click();
  await other.waitForURL(`${url}/signin`);
  await signedIn(other, "ada@example.org");
  await other.close();
  check((await answered(page, () => allow.click())) === 403, page.url());
  await tells(page, "This form is too old");
  check(back.length === 0, back.join("\n"));

  await page.goto(way);
  await page.getByRole("button", { name: "Do not allow" }).click();
  await page.waitForURL("http://127.0.0.1:9777/cb?**");
  const [told] = back;
  check(told.get("error") === "access_denied" && told.get("state") === "s" && told.get("iss") === url, `${told}`);
  check(!told.has("code"), `${told}`);
  seen.length = 0; // That the program was asked is what is wanted here.
});

story("a program on a device waits in vain for who types another code or says no", async (page) => {
  const grant = "urn:ietf:params:oauth:grant-type:device_code";
  const metadata = { client_name: "Television", token_endpoint_auth_method: "none", grant_types: [grant] };
  const made = await (await page.request.post(`${url}/api/oauth/register`, { data: metadata })).json();
  const form = { client_id: made.client_id };
  const codes = await (await page.request.post(`${url}/api/oauth/device_authorization`, { form })).json();
  const asks = { ...form, device_code: codes.device_code, grant_type: grant };
  await signedIn(page, "ada@example.org", "/device");
  const [code, goOn] = [page.getByLabel("Code"), page.getByRole("button", { name: "Go on" })];
  await heldBack(page, goOn, code);
  await code.fill("BCDF-GHJK");
  await refused(page, () => goOn.click(), 400, "No program waits", "device-wrong");
  await hasFocus(code);
  check((await code.inputValue()) === "BCDF-GHJK", "what was typed is gone");
  await code.fill(codes.user_code);
  await goOn.click();
  await page.getByRole("button", { name: "Do not allow" }).click();
  await page.getByRole("heading", { name: "It is not allowed" }).waitFor();
  const polled = await page.request.post(`${url}/api/oauth/token`, { form: asks });
  check((await polled.json()).error === "access_denied", await polled.text());
  check((await answered(page, () => page.goto(codes.verification_uri_complete))) === 400, await text(page));
  await tells(page, "No program waits");
});

story("nobody but an operator sees the pages of operators", async (page) => {
  await signedIn(page, "ada@example.org");
  check((await page.getByRole("link", { name: "What operators see and change" }).count()) === 0, await text(page));
  for (const path of ["", "/people", "/teams", "/clients", "/audit"]) {
    check((await answered(page, () => page.goto(`${url}/admin${path}`))) === 403, `${path}: ${await text(page)}`);
    await tells(page, "These pages are for those who run this service");
  }
});

story("an operator is told what cannot be done, and what was typed stays", async (page) => {
  await signedIn(page, "op@example.org", "/admin/people");
  const own = page.getByRole("listitem").filter({ hasText: "op@example.org" });
  check((await own.getByRole("button").count()) === 0, await own.innerText());
  const id = await own.locator(".id").innerText();
  const ada = page.getByRole("listitem").filter({ hasText: "ada@example.org" });
  await ada.locator("form").first().locator("input[name=id]").evaluate((it, value) => { it.value = value; }, id);
  await refused(page, () => ada.getByRole("button", { name: "Keep out" }).click(), 409, "Another operator has to do that");
  check((await page.request.get(`${url}/api/auth/session`)).status() === 200, "the operator is kept out");
  await page.getByLabel("E-mail address").fill("ada@example.org");
  await page.getByLabel("Name").fill("Ada again");
  await page.getByLabel("They run this service").check();
  await refused(page, () => page.getByRole("button", { name: "Make a link" }).click(), 409, "belongs to another account", "admin-invited");
  check((await page.getByLabel("Name").inputValue()) === "Ada again" && (await page.getByLabel("They run this service").isChecked()), "what was typed is gone");

  await page.goto(`${url}/admin/clients`);
  const section = page.getByRole("region", { name: "Make a client" });
  const make = section.getByRole("button", { name: "Make the client" });
  await heldBack(page, make, section.getByLabel("Name"));
  const typed = { "Name": "Nightly", "Redirect URIs": "javascript:alert(1)", "Scopes": "docs:read openid" };
  for (const [label, value] of Object.entries(typed)) await section.getByLabel(label).fill(value);
  await section.getByLabel("What it is").selectOption("app");
  await refused(page, () => make.click(), 400, "has a scheme that is not allowed", "admin-client");
  for (const [label, value] of Object.entries({ ...typed, "What it is": "app" })) {
    check((await section.getByLabel(label).inputValue()) === value, `what was typed as ${label} is gone`);
  }

  await page.goto(`${url}/admin/audit`);
  await page.getByLabel("From (UTC)").fill("tomorrow");
  await refused(page, () => page.getByRole("button", { name: "Look" }).click(), 400, "is a day", "admin-audit");
  check((await page.getByLabel("From (UTC)").inputValue()) === "tomorrow", "what was asked is gone");
  check(!(await text(page)).includes("is in the log"), "it tells of a search that was not made");
});

await finish();
