// Passkeys: asks the device, and sends what it answers to the node. Where a browser knows no passkeys the buttons stay hidden; everything else on
// these pages works without this file.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

async function send(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", accept: "application/json" }, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail ?? "It could not be done.");
  return told;
}

/** Options of WebAuthn with bytes in place of their base64url. */
function read(options) {
  const known = (list) => list?.map((it) => ({ ...it, id: bytes(it.id) }));
  options.challenge = bytes(options.challenge);
  if (options.user) options.user.id = bytes(options.user.id);
  options.excludeCredentials = known(options.excludeCredentials);
  options.allowCredentials = known(options.allowCredentials);
  return options;
}

/** What a device answered, with base64url in place of bytes. */
function written(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response };
}

async function add(area) {
  const { options, ticket } = await send("/api/auth/passkeys/offer", {});
  const credential = written(await navigator.credentials.create({ publicKey: read(options) }));
  const name = area.querySelector("input").value;
  const told = await send("/api/auth/passkeys", { ticket, name, credential });
  const codes = document.querySelector("[data-codes]");
  if (!told.backup_codes || !codes) return window.location.assign(area.dataset.returnTo);
  // They are shown once, and only the page that asked has them.
  for (const code of told.backup_codes) {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("code"), { textContent: code }));
    codes.querySelector("ul").append(item);
  }
  area.hidden = true;
  codes.hidden = false;
  codes.querySelector("h2").focus();
}

async function signIn(area) {
  const { options, ticket } = await send("/api/auth/passkeys/question", { second_step: area.dataset.passkey === "second-step" });
  const credential = written(await navigator.credentials.get({ publicKey: read(options) }));
  await send("/api/auth/passkeys/answer", { ticket, credential });
  window.location.assign(area.dataset.returnTo);
}

for (const area of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  area.hidden = false;
  const failure = area.querySelector("[role=alert]");
  area.addEventListener("submit", async (event) => {
    event.preventDefault();
    failure.hidden = true;
    try {
      await (area.dataset.passkey === "add" ? add(area) : signIn(area));
    } catch (error) {
      failure.textContent = error.name === "NotAllowedError" ? "The device did not answer, or it was not allowed." : error.message;
      failure.hidden = false;
    }
  });
}
