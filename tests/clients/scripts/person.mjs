// A person and their browser, played by plain requests: keeps cookies, follows nothing by itself, fills in the forms that it is shown.

const unescaped = (text) => text.replaceAll("&amp;", "&").replaceAll("&#38;", "&");

/** The value of a hidden field of a page. */
export const field = (page, name) => unescaped(page.match(new RegExp(`name="${name}" value="([^"]*)"`))[1]);

export class Person {
  #cookies = new Map();

  constructor({ origin, email, password }) {
    Object.assign(this, { origin, email, password });
  }

  async visit(url, form) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { cookie, "sec-fetch-site": "same-origin" };
    const body = form && new URLSearchParams(form);
    const answer = await fetch(new URL(url, this.origin), { method: form ? "POST" : "GET", headers, body, redirect: "manual" });
    for (const line of answer.headers.getSetCookie()) {
      const [pair] = line.split(";");
      this.#cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
    }
    return { status: answer.status, location: answer.headers.get("location"), text: await answer.text() };
  }

  /** Goes to `url`, signing in where that is asked, and returns the first page that asks for something else, or the way out. */
  async #arrive(url) {
    let seen = await this.visit(url);
    while (seen.location && new URL(seen.location, this.origin).origin === this.origin) {
      if (!seen.location.startsWith("/signin")) {
        seen = await this.visit(seen.location);
        continue;
      }
      const page = await this.visit(seen.location);
      seen = await this.visit("/signin", {
        form_token: field(page.text, "form_token"), return_to: field(page.text, "return_to"),
        email: this.email, password: this.password,
      });
    }
    return seen;
  }

  /** Allows (or denies) what a program asks for at `url`; where the browser is sent then. */
  async decide(url, decision = "allow") {
    const asked = await this.#arrive(url);
    if (asked.location) return new URL(asked.location);
    const form = { form_token: field(asked.text, "form_token"), ticket: field(asked.text, "ticket"), decision };
    const back = await this.visit("/consent", form);
    return new URL(back.location);
  }

  /** Allows (or denies) what a program without a browser asks for, by the link that it shows. */
  async decideDevice(url, decision = "allow") {
    const asked = await this.#arrive(url);
    const form = { form_token: field(asked.text, "form_token"), user_code: field(asked.text, "user_code"), decision };
    const told = await this.visit("/device", form);
    if (told.status !== 200) throw new Error(`the device page answered ${told.status}`);
  }
}

/** The code of the error that `work` ends with, or "none". */
export async function refusal(work) {
  try {
    await (typeof work === "function" ? work() : work);
    return "none";
  } catch (error) {
    return error.error ?? error.code ?? error.cause?.error ?? error.cause?.code ?? String(error);
  }
}
