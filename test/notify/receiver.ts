/** A receiver of webhooks on a real socket, that answers as the test wants. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test knows what was sent
  readonly body: any;
}

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** From now on. `hang`: no answer at all. */
  answer: number | "hang" | ((received: Received, response: ServerResponse) => void);
  /** The types of what was received, in order. */
  types(): string[];
  close(): Promise<void>;
}

export async function aReceiver(): Promise<Receiver> {
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => {
      const one = { path: request.url ?? "", headers: request.headers, text, body: JSON.parse(text) };
      receiver.received.push(one);
      const { answer } = receiver;
      if (typeof answer === "function") answer(one, response);
      else if (answer !== "hang") response.writeHead(answer).end(`answered ${answer}`);
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo; // it listens on a port
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/hook`,
    received: [],
    answer: 200,
    types: () => receiver.received.map(({ body }) => body.type),
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
  return receiver;
}
