// An authenticator app.
import { createHmac } from "node:crypto";

/** RFC 4648, 6, without padding. */
function base32(letters) {
  const bits = [...letters.replaceAll(" ", "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}

/** What an app shows (RFC 6238) in the step that is so many after the one it was set up in. */
export function app(letters) {
  const [key, began] = [base32(letters), Math.floor(Date.now() / 30_000)];
  return (steps) => {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(began + steps));
    const tag = createHmac("sha1", key).update(counter).digest();
    const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
    return String(number % 1_000_000).padStart(6, "0");
  };
}
