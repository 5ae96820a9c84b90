/** What Turnout is measured against: an Express handler that parses the same XML with fast-xml-parser and answers a constant. */
import type { AddressInfo } from "node:net";
import express from "express";
import { XMLParser } from "fast-xml-parser";

const ANSWER = `<?xml version="1.0" encoding="UTF-8"?>
<response protocol="3.0" server="reference"><daystart elapsed_seconds="0"></daystart><app appid="{e96281a6-d1af-4bde-9a0a-97b76e56dc57}" status="ok"><ping status="ok"></ping><updatecheck status="noupdate"></updatecheck><event status="ok"></event></app></response>`;

const parser = new XMLParser({ ignoreAttributes: false });
const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.text({ type: () => true, limit: "64kb" }));
app.post("/v1/update/", (request, response) => {
  const { request: omaha } = parser.parse(request.body);
  if (omaha === undefined) response.status(400).end();
  else response.type("text/xml").send(ANSWER);
});
const server = app.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo; // listening on TCP, it is one
  process.stdout.write(`reference listening on http://127.0.0.1:${port}\n`);
});
