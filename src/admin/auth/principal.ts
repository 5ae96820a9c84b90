/** Who asks, and what they may do. */
import type { Actor } from "../../store/rollouts.ts";

/** `viewer` reads, `operator` also steers rollouts and nodes, `admin` also changes the configuration and who may do what. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];
/** A `site` is a server that gets its configuration from this one. It may do that, report, and nothing else; nobody may in its stead. */
export const TOKEN_ROLES = [...ROLES, "site"] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

/** Where somebody may do it. */
export interface Scope {
  /** UUIDs; null: everywhere. */
  readonly applications: readonly string[] | null;
  /** UUIDs: only these groups, and what is in them, may be changed; null: all of the applications'. */
  readonly groups: readonly string[] | null;
}
export const EVERYWHERE: Scope = { applications: null, groups: null };

export interface Principal extends Actor {
  readonly kind: "token" | "user" | "anonymous";
  /** The token's UUID or the user's subject. */
  readonly id: string | null;
  readonly role: TokenRole;
  readonly scope: Scope;
  /** Which one, when it is a `site`. */
  readonly site?: string;
}

/** `TURNOUT_AUTH=none`: whoever can reach the port. */
export const ANONYMOUS: Principal = {
  kind: "anonymous",
  name: "anonymous",
  id: null,
  role: "admin",
  scope: EVERYWHERE,
};

export function hasRole({ role }: Principal, needed: TokenRole): boolean {
  if (role === "site" || needed === "site") return role === needed;
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
