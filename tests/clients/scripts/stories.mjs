// Debian's Chromium, driven by Playwright, with axe for what people with assistive technology meet. A script is told as JSON what to
// look at; it prints one JSON list of {name, problem}, a null problem for what held. With `screenshots` it leaves a picture of
// each page there.
import fs from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const asked = JSON.parse(process.argv[2]);
export const { url } = asked;
/** Services that a browser is led to and back from. */
const ours = [url, ...(asked.others ?? [])];
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: asked.chromium,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  ],
});

const stories = [];
export const story = (name, tell, options = {}) => stories.push({ name, tell, options });

export function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

export async function text(page, selector = "main") {
  return (await page.locator(selector).first().innerText()).trim();
}

/** axe finds nothing in what a page shows, and nothing is too wide; a picture of it is left. */
async function inspect(page, name, { colorScheme, width }) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run());
  const told = found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" | ")}`);
  check(told.length === 0, `${name}, ${colorScheme} at ${width} px: ${told.join("\n")}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(over <= 0, `${name}, ${colorScheme} at ${width} px: ${over} px wider than the window`);
  if (asked.screenshots) {
    await page.screenshot({ path: `${asked.screenshots}/${name}-${colorScheme}-${width}.png`, fullPage: true });
  }
}

/** What pages are looked at in. */
const VIEWS = ["light", "dark"].flatMap((colorScheme) => [390, 1440].map((width) => ({ colorScheme, width })));

/** Pages by name and way there: axe finds nothing and nothing is too wide, in light and dark, on a phone and a desktop. */
export function looks(pages) {
  for (const { colorScheme, width } of VIEWS) {
    for (const [name, go] of pages) {
      const view = { colorScheme, viewport: { width, height: 900 } };
      story(`${name} has no finding of axe and fits, ${colorScheme} at ${width} px`, async (page, seen) => {
        await go(page);
        await inspect(page, name, { colorScheme, width });
        if (name === "missing") seen.length = 0; // The browser notes the status.
      }, view);
    }
  }
}

/** The same for what `page` shows at this moment, as one step of a story: the page is not asked for again. */
export async function looksRight(page, name) {
  for (const { colorScheme, width } of VIEWS) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    await inspect(page, name, { colorScheme, width });
  }
}

async function run({ name, tell, options }) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  // Whatever the browser complains of, or asks of another server, is a problem of the page.
  const seen = [];
  page.on("console", (message) => {
    const expected = message.type() !== "error" || /status of 4\d\d/.test(message.text());
    if (!expected) seen.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.push(`script: ${error.message}`));
  page.on("dialog", (dialog) => {
    seen.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!ours.some((it) => request.url().startsWith(`${it}/`))) seen.push(`asked ${request.url()}`);
  });
  try {
    await tell(page, seen);
    return { name, problem: seen.length > 0 ? seen.join("\n") : null };
  } catch (error) {
    return { name, problem: `${error.message}\n${seen.join("\n")}` };
  } finally {
    await context.close();
  }
}

/** Tells every story, and what became of it. */
export async function finish() {
  const results = [];
  for (const it of stories) results.push(await run(it));
  await browser.close();
  console.log(JSON.stringify(results));
}
