// The pages of operators in a browser: people, teams, clients, the audit log.
import { asked, check, finish, looks, story, text, url } from "./stories.mjs";

async function operate(page, path) {
  await page.goto(`${url}/signin?return_to=${encodeURIComponent(path)}`);
  await page.getByLabel("E-mail address").fill(asked.email);
  await page.getByLabel("Password").fill(asked.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${url}${path}`);
}

async function makeTeam(page, name) {
  await operate(page, "/settings/teams");
  await page.getByLabel("Its name").fill(name);
  await page.getByRole("button", { name: "Make the team" }).click();
  await page.waitForURL("**/settings/teams/acct_*");
  await page.goto(`${url}/admin/teams`);
}

for (const [how, options] of [["", {}], [" without JavaScript, on a phone", { javaScriptEnabled: false, viewport: { width: 390, height: 844 } }]]) {
  story(`an operator lets somebody in and keeps them out${how}`, async (page) => {
    const email = `person${how.length}@example.org`;
    await operate(page, "/settings");
    await page.getByRole("link", { name: "What operators see and change" }).click();
    await page.waitForURL(`${url}/admin/people`);
    await page.getByLabel("E-mail address").fill(email);
    await page.getByLabel("Name").fill("Person");
    await page.getByRole("button", { name: "Make a link" }).click();
    const link = (await text(page, "pre")).trim();
    check(link.startsWith(`${url}/verify?token=`), link);
    const other = await page.context().browser().newContext();
    const theirs = await other.newPage();
    await theirs.goto(link);
    await theirs.getByLabel("Password").fill(asked.password);
    await theirs.getByRole("button", { name: "Make the account" }).click();
    await theirs.getByRole("link", { name: "Sign in" }).click();
    await other.close();
    await page.goto(`${url}/admin/people`);
    const card = page.getByRole("listitem").filter({ hasText: email });
    await card.getByRole("button", { name: "Keep out" }).click();
    await page.waitForURL("**done=keep-out");
    check((await card.innerText()).includes("kept out"), await card.innerText());
    await card.getByRole("link", { name: "what happened" }).click();
    await page.waitForURL("**/admin/audit?object=**");
    const table = await text(page, "table");
    check(table.includes("account.disabled") && table.includes("account.made"), table);
  }, options);
}

story("an operator makes a client, and its secret is shown once", async (page) => {
  await operate(page, "/admin/clients");
  await page.getByLabel("Name").fill("Nightly");
  await page.getByRole("button", { name: "Make the client" }).click();
  const shown = await text(page, "pre");
  const [, secret] = shown.match(/client_secret\s+(\S+)/);
  await page.goto(`${url}/admin/clients`);
  check(!(await page.content()).includes(secret), "the secret is shown again");
  const card = page.getByRole("listitem").filter({ hasText: "Nightly" });
  await card.getByRole("button", { name: "Replace the secret" }).click();
  check(!(await text(page, "pre")).includes(secret), "it is the same");
  await page.getByRole("listitem").filter({ hasText: "Nightly" }).getByRole("button", { name: "Remove" }).click();
  await page.waitForURL("**done=remove");
});

story("an operator looks for events, and a wrong day is told", async (page) => {
  await operate(page, "/admin/audit");
  await page.getByLabel("Action, or api_key.").fill("session.");
  await page.getByRole("button", { name: "Look" }).click();
  const rows = page.getByRole("row").filter({ hasText: "session.begun" });
  check((await rows.count()) > 0, await text(page));
  await page.getByLabel("From (UTC)").fill("tomorrow");
  await page.getByRole("button", { name: "Look" }).click();
  check((await text(page, "[role=alert]")).includes("is a day"), await text(page));
  check((await page.getByLabel("Action, or api_key.").inputValue()) === "session.", "what was asked is gone");
});

story("an operator finds a team, changes a role in it and deletes it", async (page) => {
  await makeTeam(page, "Throwers");
  await page.getByRole("link", { name: "Throwers" }).click();
  await page.waitForURL("**/admin/teams/acct_*");
  await page.getByLabel("E-mail address").fill("potter@example.org");
  await page.getByRole("button", { name: "Send the invitation" }).click();
  await page.waitForURL("**done=invite");
  await page.getByLabel("Role of Grace", { exact: true }).selectOption("developer");
  await page.getByRole("button", { name: "Change the role of Grace" }).click();
  check((await text(page, "[role=alert]")).includes("needs an owner"), await text(page));
  await page.locator("summary", { hasText: "Delete the team" }).click();
  await page.getByRole("button", { name: "Delete the team" }).click();
  await page.waitForURL("**/admin/teams?done=deleted");
  check((await text(page)).includes("The team is deleted"), await text(page));
});

looks([
  ["admin-people", async (page) => {
    await operate(page, "/admin/people");
    await page.getByLabel("E-mail address").fill(`look${Math.random()}@example.org`);
    await page.getByRole("button", { name: "Make a link" }).click();
    await page.locator("pre").waitFor();
  }],
  ["admin-clients", async (page) => {
    await operate(page, "/admin/clients");
    await page.getByLabel("Name").fill("Look");
    await page.getByRole("button", { name: "Make the client" }).click();
    await page.locator("pre").waitFor();
  }],
  ["admin-teams", (page) => makeTeam(page, "Look")],
  ["admin-team", async (page) => {
    await makeTeam(page, "Look closer");
    await page.getByRole("link", { name: "Look closer" }).first().click();
    await page.waitForURL("**/admin/teams/acct_*");
  }],
  ["admin-audit", (page) => operate(page, "/admin/audit")],
]);

await finish();
