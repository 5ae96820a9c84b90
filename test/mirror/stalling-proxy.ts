/** A line that goes dead after so many bytes: whoever hangs on it can be killed at a known place. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface StallingProxy {
  readonly url: string;
  /** Where it leads. */
  to(url: string): void;
  /** After so many more bytes nothing goes through any more, in this direction; resolves when it is so far. */
  stallAfter(bytes: number, direction: "up" | "down"): Promise<void>;
  /** All that is open is cut, and the line is good again. */
  mend(): void;
  close(): void;
}

export async function aStallingProxy(): Promise<StallingProxy> {
  let target = 0;
  let stall: { left: number; direction: "up" | "down"; reached: () => void } | null = null;
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket, direction: "up" | "down") =>
    from.on("data", (chunk: Buffer) => {
      if (stall !== null && stall.direction === direction) {
        const given = chunk.subarray(0, Math.max(0, stall.left));
        stall.left -= chunk.length;
        if (given.length > 0) to.write(given);
        if (stall.left <= 0) stall.reached();
      } else to.write(chunk);
    });
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.end();
      });
    }
    pass(client, upstream, "up");
    pass(upstream, client, "down");
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo; // it listens on a port
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    to(url) {
      target = Number(new URL(url).port);
    },
    stallAfter: (left, direction) =>
      new Promise((reached) => {
        stall = { left, direction, reached };
      }),
    mend() {
      stall = null;
      cut();
    },
    close() {
      cut();
      server.close();
    },
  };
}
