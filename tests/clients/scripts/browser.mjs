// Debian's Chromium against the pages of a node. What is told by which story, and how, is in `stories.mjs`.
import fs from "node:fs";
import { asked, check, finish, looks, story, text, url } from "./stories.mjs";

const kiln = `${url}/libraries/acme/kiln`;
const answer = `${kiln}?q=${encodeURIComponent(asked.question)}&version=2.0`;

/** From the first page to a passage, with nothing but links and forms. */
async function fromHomeToAnswer(page) {
  await page.goto(url);
  await page.getByLabel("Library").fill("kiln");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("link", { name: "Kiln" }).first().click();
  await page.waitForURL(`${kiln}*`);
  await page.getByLabel("Ask this documentation").fill(asked.question);
  await page.getByRole("button", { name: "Ask" }).click();
  const first = await text(page, "article");
  check(first.includes(asked.says), `the first passage is ${first}`);
  const link = await page.locator("article a").first().getAttribute("href");
  check(link.startsWith(asked.base), `it links to ${link}`);
}

story("a person finds a library and the passage that answers", fromHomeToAnswer);
story("the same works without JavaScript", fromHomeToAnswer, { javaScriptEnabled: false });
story("the same works on a phone", fromHomeToAnswer, { viewport: { width: 390, height: 844 } });

story("the first page lists what is indexed and says how to connect under the address in use", async (page) => {
  await page.goto(url);
  const shown = await text(page);
  check(shown.includes("/acme/kiln"), shown);
  check(shown.includes(`claude mcp add --transport http twinmcp ${url}/mcp`), shown);
});

story("a name nobody knows is answered with what to try", async (page) => {
  const response = await page.goto(`${url}/libraries?q=qqqqzzzzxxxx`);
  check(response.status() === 200, `status ${response.status()}`);
  check((await text(page, ".notice")).includes("No library is known"), await text(page));
});

story("a library that is not there is a page with status 404", async (page) => {
  const response = await page.goto(`${url}/libraries/acme/anvil`);
  check(response.status() === 404, `status ${response.status()}`);
  check((await text(page, "[role=alert]")).includes("/acme/anvil"), await text(page));
});

story("an address that is not there is a page with status 404", async (page) => {
  const response = await page.goto(`${url}/nowhere`);
  check(response.status() === 404, `status ${response.status()}`);
  await page.getByRole("link", { name: "Search libraries" }).click();
  await page.waitForURL(`${url}/`);
});

story("a question that is too long is told, not cut", async (page) => {
  await page.goto(`${kiln}?q=${"a".repeat(501)}`);
  check((await text(page, "[role=status]")).includes("500 characters"), await text(page));
});

story("each version is asked by itself and the page says which answered", async (page) => {
  for (const version of ["1.0", "2.0"]) {
    await page.goto(kiln);
    await page.getByLabel("Version", { exact: true }).selectOption(version);
    await page.getByLabel("Ask this documentation").fill(asked.question);
    await page.getByRole("button", { name: "Ask" }).click();
    await page.waitForURL(`**version=${version}`);
    check((await text(page, "main h2")).includes(version), await text(page, "main h2"));
    check((await text(page, "article")).includes(`since ${version}`), await text(page, "article"));
  }
});

story("a version that is not there is told with those that are", async (page) => {
  await page.goto(`${kiln}?q=retries&version=9.9`);
  check((await text(page, "[role=status]")).includes("Available tags: 2.0, 1.0"), await text(page, "[role=status]"));
});

story("versions are listed with their figures, the current one marked", async (page) => {
  await page.goto(kiln);
  const rows = await page.locator("table tbody tr").allInnerTexts();
  check(rows.length === 2 && rows[0].includes("2.0") && rows[0].includes("current"), rows.join("\n"));
  check(/\b5\b/.test(rows[0]) && rows[0].includes("UTC"), rows[0]);
});

story("the snippets of a version are leafed through to the end and back", async (page) => {
  await page.goto(`${url}/libraries/acme/large`);
  await page.getByRole("link", { name: "Snippets of 1.0" }).click();
  await page.waitForURL("**from=0");
  const first = await text(page, "article");
  await page.getByRole("link", { name: "Next snippets" }).click();
  await page.waitForURL("**from=20");
  check((await text(page, "article")) !== first, "the next page shows the same snippets");
  await page.getByRole("link", { name: "Previous snippets" }).click();
  await page.waitForURL("**from=0");
  check((await text(page, "article")) === first, "back is another page");
  await page.goto(`${url}/libraries/acme/large?from=999999`);
  check((await page.locator("article").count()) === 0, "beyond the end there are snippets");
  check((await page.getByRole("link", { name: "Next snippets" }).count()) === 0, "the end has a next page");
});

story("a scoped package has a page", async (page) => {
  const response = await page.goto(`${url}/libraries/npm/@acme/glaze`);
  check(response.status() === 200, `status ${response.status()}`);
  check((await text(page)).includes("/npm/@acme/glaze"), await text(page));
});

async function startJob(version) {
  const bearer = { authorization: `Bearer ${asked.key}` };
  const archive = fs.readFileSync(asked.archive);
  const sent = await fetch(`${url}/api/jobs/uploads`, { method: "POST", headers: bearer, body: archive });
  const upload = { hash: (await sent.json()).hash, name: "docs.tar" };
  const job = JSON.stringify({ library: "/acme/live", version, upload });
  const headers = { ...bearer, "content-type": "application/json" };
  const started = await fetch(`${url}/api/jobs`, { method: "POST", headers, body: job });
  check(started.ok, `the job was answered ${started.status}`);
}

story("a job is seen going on, and the version appears without a reload by hand", async (page) => {
  await startJob("1.0");
  await page.goto(`${url}/libraries/acme/live`);
  check((await page.locator("[data-live]").count()) === 1, `nothing is live: ${await text(page)}`);
  await page.getByRole("heading", { name: "Versions" }).waitFor({ timeout: 180_000 });
  check((await text(page, "section[aria-labelledby=jobs]")).includes("1.0: done"), await text(page));
});

story("a job is seen going on without JavaScript too", async (page) => {
  await startJob("1.1");
  await page.goto(`${url}/libraries/acme/live`);
  await page.getByRole("rowheader", { name: "1.1" }).waitFor({ timeout: 180_000 });
}, { javaScriptEnabled: false });

story("hostile documentation is shown and does nothing", async (page) => {
  for (const from of ["?from=0", `?q=${encodeURIComponent("hostile widget")}`]) {
    await page.goto(`${url}/libraries/acme/hostile${from}`);
    check((await page.locator("article").count()) > 0, "nothing is shown");
    const shown = await page.locator("article").allInnerTexts();
    check(shown.join("\n").includes("<script>"), `its markup is not shown as text: ${shown}`);
    const made = await page.evaluate(() => ({
      ran: window.ran ?? null,
      tags: document.querySelectorAll("article :is(script, iframe, img, svg, object, embed, form, style, link)").length,
      links: [...document.querySelectorAll("article a")].map((link) => link.protocol),
      handlers: [...document.querySelectorAll("article *")].filter((it) => [...it.attributes].some((at) => at.name.startsWith("on"))).length,
    }));
    check(made.ran === null && made.tags === 0 && made.handlers === 0, JSON.stringify(made));
    check(made.links.every((protocol) => protocol === "https:" || protocol === "http:"), JSON.stringify(made));
  }
});

story("a passage that speaks to a model is labelled, and only that one", async (page) => {
  await page.goto(`${url}/libraries/acme/labelled?from=0`);
  const labelled = page.locator("article", { has: page.locator(".notice") });
  check((await labelled.count()) === 1, `${await labelled.count()} passages are labelled`);
  const shown = await labelled.innerText();
  check(shown.includes("instruction_override") && shown.includes("Ignore all previous"), shown);
});

story("the policy stops a script that got into a page", async (page, seen) => {
  await page.goto(url);
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
  });
  check((await page.evaluate(() => window.ran ?? null)) === null, "an inline script ran");
  seen.length = 0; // That the browser says so is what is wanted here.
});

story("the keyboard alone is enough", async (page) => {
  await page.goto(`${url}/libraries`);
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.textContent)) === "Skip to content", "no skip link first");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("kiln");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Best matches" }).waitFor();
});

story("code is copied with one press", async (page) => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  await page.goto(answer);
  const code = await page.locator("article pre").first().textContent();
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  check((await page.evaluate(() => navigator.clipboard.readText())) === code, "something else was copied");
});

const PAGES = [
  ["home", url],
  ["libraries", `${url}/libraries`],
  ["matches", `${url}/libraries?q=kiln`],
  ["library", kiln],
  ["answer", answer],
  ["snippets", `${kiln}?from=0&version=2.0`],
  ["hostile", `${url}/libraries/acme/hostile?from=0`],
  ["missing", `${url}/nowhere`],
];

looks(PAGES.map(([name, address]) => [name, (page) => page.goto(address)]));

await finish();
