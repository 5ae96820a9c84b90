/**
 * One thing that the API can do, declared once: where it is, who may, what it takes and what it answers. From these
 * declarations come the routes, the checks of who may do it, and the OpenAPI document.
 */
import type { Request, Response } from "express";
import type { z } from "zod";
import { clientAddress } from "../address.ts";
import type { Payloads } from "../payloads/payloads.ts";
import { type AuditEntry, appendAudit } from "../store/audit.ts";
import { settleConfiguration } from "../store/rollouts.ts";
import type { Principal, TokenRole } from "./auth/principal.ts";
import type { AdminContext, Db, Tx } from "./context.ts";
import { etagOf, matches } from "./etag.ts";
import { checkIsOurs } from "./governed.ts";
import { Problem } from "./problem.ts";

export type Method = "get" | "post" | "put" | "delete";

/** The names in a path like `/apps/:app/groups/:group`. */
type ParamsOf<P extends string> = P extends `${string}:${infer Name}/${infer Rest}`
  ? { readonly [K in Name]: string } & ParamsOf<`/${Rest}`>
  : P extends `${string}:${infer Name}`
    ? { readonly [K in Name]: string }
    : unknown;

/** Where an operation is confined when whoever asks may not do everything everywhere. */
export type Confinement =
  /** To the application, and if it changes something the group, that the path names. */
  | "path"
  /** It shows only what is in the caller's scope by itself. */
  | "filters"
  /** It concerns the server as a whole: not for those who are confined. */
  | "everywhere"
  /** To the application that this finds. */
  | ((db: Db, params: Readonly<Record<string, string>>) => Promise<{ readonly applicationId: string }>);

export interface Declaration<P extends string, Q, B, A> {
  /** Unique; what generated clients call it. */
  readonly id: string;
  readonly method: Method;
  readonly path: P;
  readonly tag: string;
  /** One line. */
  readonly summary: string;
  readonly description?: string;
  readonly role: TokenRole;
  /** By default `path`. */
  readonly confined?: Confinement;
  /** It is asked with POST, but changes nothing. */
  readonly readsOnly?: true;
  readonly query?: z.ZodType<Q>;
  readonly body?: z.ZodType<B>;
  /** Its body is a file, handed on as it comes in: `call.stream`. Nothing of it is read before. */
  readonly streamed?: true;
  /** Headers that it reads, beyond those of every operation. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A body may be left out. */
  readonly bodyOptional?: true;
  /** Who has it as it is (`If-None-Match`) is answered 304. It tells its version with `call.tag`. */
  readonly conditional?: true;
  /** 200 by default; 204 without an answer. */
  readonly status?: 201 | 202;
  readonly answer: z.ZodType<unknown, A> | null;
  readonly handle: (call: Call<ParamsOf<P>, Q, B>) => Promise<A>;
}

/** With its types forgotten: what is mounted and described. */
export interface Operation extends Omit<Declaration<string, unknown, unknown, unknown>, "handle"> {
  readonly handle: (call: Call<never, never, never>) => Promise<unknown>;
}

export function operation<P extends string, Q = Record<string, never>, B = undefined, A = void>(
  declaration: Declaration<P, Q, B, A>,
): Operation {
  return declaration as unknown as Operation; // `mount` hands it only what these very schemas have let through
}

/** A request that has passed all checks. */
export class Call<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly who: Principal;
  readonly #context: AdminContext;
  readonly #operation: Operation;
  readonly #request: Request;
  readonly #response: Response;

  constructor(
    context: AdminContext,
    operation: Operation,
    request: Request,
    response: Response,
    who: Principal,
    given: { params: P; query: Q; body: B },
  ) {
    this.#context = context;
    this.#operation = operation;
    this.#request = request;
    this.#response = response;
    this.who = who;
    this.params = given.params;
    this.query = given.query;
    this.body = given.body;
  }

  get store() {
    return this.#context.store;
  }
  get read(): Db {
    return this.#context.store.read;
  }
  get now(): number {
    return this.#context.clock.now();
  }
  /** @throws Problem 400 when it is no such header. */
  get ifMatch(): string | undefined {
    const given = this.#request.headers["if-match"];
    if (given === undefined || /^\s*(\*|(W\/)?"[^"]*"(\s*,\s*(W\/)?"[^"]*")*)\s*$/.test(given)) return given;
    throw new Problem(400, 'If-Match: write the ETag that it was read with, e.g. "7"');
  }

  /** The body of an operation that is `streamed`. */
  get stream(): AsyncIterable<Buffer> {
    // Whoever stops reading still wants to answer.
    return this.#request.iterator({ destroyOnReturn: false });
  }
  /** A header of the request. */
  given(header: string): string | undefined {
    const value = this.#request.headers[header.toLowerCase()];
    return Array.isArray(value) ? value[0] : value;
  }
  get payloads(): Payloads {
    return this.#context.payloads;
  }

  /** Tells the version of what is answered, so that it can be changed only as long as it is still so. */
  tag(state: unknown): void {
    this.#response.set("ETag", etagOf(state));
  }

  /** @throws Problem 412 when the caller has seen none of these states. */
  expect(...present: readonly unknown[]): void {
    if (present.some((one) => matches(this.ifMatch, etagOf(one)))) return;
    throw new Problem(412, "it has changed since it was read (If-Match); read it again, and then decide");
  }

  header(name: string, value: string): void {
    this.#response.set(name, value);
  }

  /** Ends when the client has gone. */
  get left(): AbortSignal {
    const left = new AbortController();
    this.#response.once("close", () => left.abort());
    return left.signal;
  }

  /** One transaction, with what it says into the audit log, or nothing at all. */
  change<T>(work: Work<T>): Promise<T> {
    return this.#context.store.write(this.#audited(work));
  }

  /** A change of the configuration: `work` and all that follows from it (rollouts, revision), or nothing at all. */
  configure<T>(work: Work<T>): Promise<T> {
    return this.change(this.#settled(work));
  }

  /** The same for much at once: `work` may run more than once, on a copy of the configuration. */
  configureRehearsed<T>(work: Work<T>): Promise<T> {
    return this.#context.store.writeRehearsed(this.#audited(this.#settled(work)));
  }

  #audited<T>(work: Work<T>): (tx: Tx) => Promise<T> {
    const now = this.#context.clock.now();
    return (tx) => work(tx, now, (changed) => this.#audit(tx, changed, now));
  }

  #settled<T>(work: Work<T>): Work<T> {
    return async (tx, now, audit) => {
      const result = await work(tx, now, audit);
      await settleConfiguration(tx, this.who, now);
      return result;
    };
  }

  async #audit(tx: Tx, changed: Changed, now: number): Promise<void> {
    const before = changed.before === null ? null : JSON.stringify(changed.before);
    const after = changed.after === null ? null : JSON.stringify(changed.after);
    if (before !== null && before === after) return;
    await checkIsOurs(tx, changed);
    const entry: AuditEntry = {
      at: now,
      actorKind: this.who.kind,
      actor: this.who.name,
      actorId: this.who.id,
      address: clientAddress(this.#request),
      requestId: requestIdOf(this.#response),
      action: this.#operation.id,
      subject: changed.subject,
      subjectId: changed.id,
      applicationId: changed.applicationId ?? null,
      groupId: changed.groupId ?? null,
      before,
      after,
    };
    await appendAudit(tx, entry);
  }
}

/** What a change did to one thing. Equal states are no change, and are not written. */
export interface Changed {
  /** e.g. `group`. */
  readonly subject: string;
  readonly id: string;
  readonly applicationId?: string | null;
  readonly groupId?: string | null;
  /** null: it was made. */
  readonly before: object | null;
  /** null: it is gone. */
  readonly after: object | null;
}
export type Audit = (changed: Changed) => Promise<void>;
/** What happens within a transaction. */
type Work<T> = (tx: Tx, now: number, audit: Audit) => Promise<T>;

export function requestIdOf(response: Response): string {
  return String(response.getHeader("X-Request-Id") ?? "");
}
