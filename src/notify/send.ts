/** One try to deliver: a signed POST, and what came of it. */
import { createHmac } from "node:crypto";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { checkedLookup, type Resolve, refusalOf, type TargetRule } from "../target.ts";

/** Of an answer's body, for the log. */
const MAX_RESPONSE_BYTES = 2_048;

export interface SendOptions {
  /** The whole of it: name, connection, answer. */
  readonly timeoutMs: number;
  readonly privateTargets: boolean;
  readonly resolve: Resolve;
  readonly userAgent: string;
  /** Ends every try: the server is stopping. */
  readonly stop: AbortSignal;
}

export interface Message {
  readonly url: string;
  readonly secret: string;
  readonly deliveryId: string;
  readonly event: string;
  /** JSON. */
  readonly body: string;
}

/** What came of a try. `status` is null when there was no answer, `error` when it was taken. */
export interface Result {
  readonly status: number | null;
  readonly error: string | null;
  readonly response: string | null;
}

export function deliveriesTo({ privateTargets }: { readonly privateTargets: boolean }): TargetRule {
  return { privateTargets, allowedBy: "TURNOUT_WEBHOOK_PRIVATE_TARGETS=yes" };
}

/** @returns `v1=` and the hexadecimal HMAC-SHA256, by the secret, over the timestamp, a dot, and the body. */
export function signatureOf(secret: string, timestamp: string, body: string): string {
  return `v1=${createHmac("sha256", secret).update(`${timestamp}.${body}`).digest("hex")}`;
}

/** Never rejects; null: it was broken off because the server stops. Redirects are not followed. */
export async function send(message: Message, now: number, options: SendOptions): Promise<Result | null> {
  const url = new URL(message.url);
  const refused = refusalOf(url, deliveriesTo(options));
  if (refused !== null) return { status: null, error: refused, response: null };
  const tooLate = AbortSignal.timeout(options.timeoutMs);
  try {
    const answer = await post(url, message, now, options, AbortSignal.any([tooLate, options.stop]));
    const status = answer.statusCode ?? 0;
    // The status is the answer: what follows is for the log, as far as it comes.
    const response = await beginningOf(answer);
    return { status, error: errorOf(status), response };
  } catch (error) {
    if (options.stop.aborted) return null;
    const why = tooLate.aborted ? `no answer within ${options.timeoutMs / 1000} seconds` : reasonOf(error);
    return { status: null, error: why, response: null };
  }
}

function post(url: URL, message: Message, now: number, options: SendOptions, signal: AbortSignal) {
  const { body } = message;
  const timestamp = String(Math.floor(now / 1000));
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = url.protocol === "https:" ? requestHttps : requestHttp;
  request(url, {
    method: "POST",
    agent: false, // a connection of its own, to an address that was checked just now
    lookup: checkedLookup(options.resolve, deliveriesTo(options)),
    signal,
    headers: {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
      "User-Agent": options.userAgent,
      "Turnout-Event": message.event,
      "Turnout-Delivery": message.deliveryId,
      "Turnout-Timestamp": timestamp,
      "Turnout-Signature": signatureOf(message.secret, timestamp, body),
    },
  })
    .on("response", resolve)
    .on("error", reject)
    .on("close", () => reject(new Error("the connection was closed without an answer")))
    .end(body);
  return promise;
}

/** Reads so much of the body and no more, then hangs up. */
async function beginningOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= MAX_RESPONSE_BYTES) break;
    }
  } catch {
    // It broke off, or was too slow.
  }
  answer.destroy();
  const text = Buffer.concat(chunks).subarray(0, MAX_RESPONSE_BYTES).toString("utf8");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no database or terminal wants to see them
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, "�").trim();
}

function errorOf(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  if (status >= 300 && status < 400) return `it answered ${status}; redirects are not followed`;
  return `it answered ${status}`;
}

/** Node tries every address of a name, and then says nothing but that all of them failed. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}
