/** What every resource of the admin API works with. */
import type { Duplex } from "node:stream";
import type { Response } from "express";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import type { Payloads } from "../payloads/payloads.ts";
import type { Store } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";
import type { Principal } from "./auth/principal.ts";

export type Db = Kysely<Tables>;
export type Tx = Transaction<Tables>;

export interface AdminContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly payloads: Payloads;
  /** The connections that bring a file now: these may take longer than other requests. */
  readonly uploading: WeakSet<Duplex>;
  /** One that brings nothing for so long is cut off. */
  readonly uploadStallMs: number;
}

/** Set by the router once it knows who asks. */
export function setPrincipal(response: Response, principal: Principal): void {
  response.locals.principal = principal;
}

export function principalOf(response: Response): Principal {
  // Only `setPrincipal` writes it, before any route runs.
  return response.locals.principal as Principal;
}

/** Fields that our answers have and nobody can set: clients send whole objects back, so they are taken and ignored. */
export function readOnly<K extends string>(...names: K[]): Record<K, z.ZodOptional<z.ZodUnknown>> {
  const fields = names.map((name) => [name, z.unknown().optional()] as const);
  return Object.fromEntries(fields) as Record<K, z.ZodOptional<z.ZodUnknown>>; // the keys are the names, by construction
}

export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
