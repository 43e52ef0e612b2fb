// Preloaded into every JavaScript client (`node --import`): connections that leave this machine fail at once, so that
// a client's telemetry or update check reaches nobody and a test never depends on the internet.
import dns from "node:dns";
import net from "node:net";

const isLoopback = (host) =>
  host === undefined || host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);

const refused = (host) =>
  Object.assign(new Error(`connections to ${host} are refused in tests: only loopback is allowed`), {
    code: "ECONNREFUSED",
  });

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  // net.connect hands over an array of its own; callers of the method give options, or port and host.
  const first = Array.isArray(given[0]) ? given[0][0] : given[0];
  const host = typeof first === "object" && first !== null ? first.host : given[1];
  if (typeof host === "string" && !isLoopback(host)) {
    process.nextTick(() => this.destroy(refused(host)));
    return this;
  }
  return connect.apply(this, given);
};

const lookup = dns.lookup;
dns.lookup = function (host, ...rest) {
  if (isLoopback(host)) return lookup.call(this, host, ...rest);
  process.nextTick(rest.at(-1), refused(host));
};
