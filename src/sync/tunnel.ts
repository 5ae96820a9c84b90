/** Through an HTTP proxy to a server that speaks TLS: the proxy passes bytes on, and sees none of them. Source: RFC 9110, 9.3.6. */
import { request } from "node:http";
import { isIP } from "node:net";
import { connect } from "node:tls";
import type { buildConnector } from "undici";
import { reasonOf } from "./reasons.ts";

/** One try a connection: a proxy that hangs up is not asked again and again. */
export function tunnelThrough(proxy: string, timeoutMs: number): buildConnector.connector {
  const url = new URL(proxy);
  return ({ hostname, port }, done) => {
    const target = `${hostname}:${port || 443}`;
    const failed = (why: string) => done(new Error(`the proxy ${url.host} does not lead to ${target}: ${why}`), null);
    const asked = request(url, {
      method: "CONNECT",
      path: target,
      headers: { Host: target },
      agent: false,
      timeout: timeoutMs,
    });
    asked.once("timeout", () => asked.destroy(new Error("it took too long")));
    asked.once("error", (error) => failed(reasonOf(error)));
    asked.once("response", (answer) => {
      answer.destroy();
      failed(`it answers ${answer.statusCode}`);
    });
    asked.once("connect", ({ statusCode }, socket) => {
      if (statusCode !== 200) {
        socket.destroy();
        return failed(`it answers ${statusCode}`);
      }
      const servername = isIP(hostname) === 0 ? { servername: hostname } : {};
      const secure = connect({ socket, ALPNProtocols: ["http/1.1"], ...servername });
      const patience = setTimeout(() => secure.destroy(new Error("it took too long")), timeoutMs);
      const givenUp = (error: Error) => failed(reasonOf(error));
      secure.once("error", givenUp);
      secure.once("secureConnect", () => {
        clearTimeout(patience);
        secure.off("error", givenUp);
        done(null, secure);
      });
      secure.once("close", () => clearTimeout(patience));
    });
    asked.end();
  };
}
