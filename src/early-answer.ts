/** Answers that come before the request is there as a whole. */
import type { IncomingMessage, ServerResponse } from "node:http";

/** How much of a refused body, and for how long, is read and thrown away so that the client gets to see its answer. */
const LINGER_BYTES = 1024 * 1024;
const LINGER_MS = 2_000;

/**
 * Answers before the body is there; the answer's head says `Connection: close`. Closing at once would reset a connection that still brings data, and the client
 * would never see why it was refused; so the rest is thrown away for a while first.
 */
export function endAfterBody(request: IncomingMessage, response: ServerResponse, text: string): void {
  response.write(text);
  let left = LINGER_BYTES;
  const end = (): void => {
    clearTimeout(timer);
    request.pause();
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS).unref();
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) end();
  });
  request.on("end", end);
  request.on("error", end);
  request.on("close", end);
  request.resume();
}
