// Letters, read where the node writes them.
import fs from "node:fs";
import path from "node:path";
import { asked } from "./stories.mjs";

/** What `found` makes of the newest letter to somebody about something that it makes anything of, once there is one. */
async function newest(to, subject, found) {
  for (let tries = 0; tries < 600; tries += 1) {
    const names = fs.existsSync(asked.outbox) ? fs.readdirSync(asked.outbox).filter((name) => name.endsWith(".eml")).sort() : [];
    for (const name of names.reverse()) {
      const letter = fs.readFileSync(path.join(asked.outbox, name), "utf8").replaceAll("=\r\n", "").replaceAll("=3D", "=");
      const made = letter.includes(`To: ${to}`) && letter.includes(`Subject: ${subject}`) && found(letter);
      if (made) return made;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no letter to ${to} about ${subject}`);
}

/** The newest letter to somebody about something. */
export const letter = (to, subject) => newest(to, subject, (text) => text);

/** The link in the newest letter to somebody about something; another one than `before`. */
export function link(to, subject, before = "") {
  return newest(to, subject, (text) => {
    const found = text.match(/http:\S+token=[0-9a-f]{64}/);
    return found && found[0] !== before && found[0];
  });
}
