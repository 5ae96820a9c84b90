/** An upstream with a certificate of an authority of one's own, behind an HTTP proxy: a real process, since Node reads it at its start. */
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { expect, it } from "vitest";
import { aFolder, afterwards } from "../afterwards.ts";
import { aProcess, apiClient, FLATCAR, STABLE_CHANNEL } from "../e2e/turnout.ts";
import { answerOf, aVersion, MAIN, manifestOf, OEM, send, type Upstream } from "./world.ts";

const NAME = "updates.example.org";
const one = aVersion("4230.2.1", 64);

it.skipIf(spawnSync("openssl", ["version"]).status !== 0)("is asked and downloaded from through a tunnel", async () => {
  const folder = aFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", `/CN=${NAME}`, "-addext", `subjectAltName=DNS:${NAME}`];
  const made = [
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-keyout",
    key,
    "-out",
    cert,
    ...subject,
  ];
  execFileSync("openssl", made, { stdio: "ignore" });

  let downgrades = false;
  const upstream = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    request.resume();
    if (downgrades) return void response.writeHead(307, { Location: `http://${NAME}/v1/update/` }).end();
    if (request.method === "POST") response.end(answerOf(`https://${NAME}/4230.2.1/`, manifestOf(one)));
    else send(request.url?.endsWith(OEM) ? one.oem : one.payload, request, response);
  });
  const tunnels: string[] = [];
  const proxy = createServer().on("connect", (request, client) => {
    tunnels.push(String(request.url));
    const server = connect((upstream.address() as AddressInfo).port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      server.pipe(client).pipe(server);
    });
    for (const end of [client, server]) end.on("error", () => undefined);
  });
  for (const server of [upstream, proxy]) {
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    afterwards(() => {
      server.closeAllConnections();
      server.close();
    });
  }

  const { port } = proxy.address() as AddressInfo;
  const environment = { TURNOUT_SYNC_PROXY: `http://127.0.0.1:${port}`, TURNOUT_DISK_RESERVE: "0" };
  const { url, child, ended } = await aProcess(join(folder, "data"), { ...environment, NODE_EXTRA_CA_CERTS: cert });
  afterwards(() => ended);
  afterwards(() => child.kill("SIGTERM"));
  const api = apiClient(url);
  const { id } = await api<{ id: string }>("POST", `/apps/${FLATCAR}/upstreams`, {
    url: `https://${NAME}/v1/update/`,
    track: "stable",
    channel_id: STABLE_CHANNEL,
    policy: "follow",
  });
  await api("POST", `/apps/${FLATCAR}/upstreams/${id}/check`);
  const state = async () => (await api<Upstream>("GET", `/apps/${FLATCAR}/upstreams/${id}`)).state;
  await expect.poll(async () => (await state()).last_success_ts, { interval: 50, timeout: 20_000 }).not.toBeNull();
  expect(await state()).toMatchObject({ last_error: null, moved_to: "4230.2.1" });
  expect(new Set(tunnels)).toEqual(new Set([`${NAME}:443`]));
  downgrades = true;
  await api("POST", `/apps/${FLATCAR}/upstreams/${id}/check`);
  await expect
    .poll(async () => (await state()).last_error, { interval: 50, timeout: 20_000 })
    .toBe(`https://${NAME}/v1/update/ redirects from https to http, which is not followed`);
  const file = await fetch(`${url}/payloads/${FLATCAR}/amd64/4230.2.1/${MAIN}`);
  expect(Buffer.from(await file.arrayBuffer()).equals(one.payload)).toBe(true);
});
