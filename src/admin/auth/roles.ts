/** From what the identity provider says of somebody to who they are here, and what they may do. */
import { Problem } from "../problem.ts";
import { EVERYWHERE, type Principal, ROLES, type Role } from "./principal.ts";

/** What a token, or the provider's answer about a user, says. */
export type Claims = Readonly<Record<string, unknown>>;

export interface RoleMapping {
  /** Where the provider says which roles or groups somebody has, e.g. `groups` or `realm_access.roles`. */
  readonly claim: string;
  /** The provider's names for each role of ours. */
  readonly names: Readonly<Record<Role, readonly string[]>>;
}

/** @throws Problem 403, which says where it looked, when no role of ours is among theirs. */
export function principalFrom(claims: Claims, mapping: RoleMapping): Principal {
  const held = namesIn(claims, mapping.claim);
  const role = ROLES.toReversed().find((one) => mapping.names[one].some((name) => held?.includes(name)));
  const subject = String(claims.sub); // every token that was let through has one
  const name = nameIn(claims) ?? subject;
  if (role === undefined) throw new Problem(403, `user "${name}" has no role here: ${lookedAt(mapping.claim, held)}`);
  return { kind: "user", name, id: subject, role, scope: EVERYWHERE };
}

/** Whether there is no need to ask for more: it says which roles somebody has, and what to call them. */
export function saysEnough(claims: Claims, { claim }: RoleMapping): boolean {
  return namesIn(claims, claim) !== null && nameIn(claims) !== null;
}

/**
 * The names that a claim holds: a list's texts, a text alone, or an object's keys; null: there is no such claim.
 * @param path names separated by dots, each of which may have dots itself, as `https://example.org/roles` has.
 */
export function namesIn(claims: Claims, path: string): readonly string[] | null {
  const value = valueAt(claims, path);
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.filter((one) => typeof one === "string");
  return typeof value === "object" && value !== null ? Object.keys(value) : null;
}

function valueAt(value: unknown, path: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const own = new Map(Object.entries(value));
  if (own.has(path)) return own.get(path);
  for (let dot = path.indexOf("."); dot !== -1; dot = path.indexOf(".", dot + 1)) {
    const found = valueAt(own.get(path.slice(0, dot)), path.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What people call them; `sub` is often a number. */
function nameIn(claims: Claims): string | null {
  const names = [claims.preferred_username, claims.email, claims.name];
  const name = names.find((one) => typeof one === "string" && one !== "");
  return name === undefined ? null : String(name).slice(0, 256);
}

function lookedAt(claim: string, held: readonly string[] | null): string {
  if (held === null) return `the identity provider did not send the claim "${claim}" (TURNOUT_OIDC_ROLES_CLAIM)`;
  return (
    `the claim "${claim}" is ${JSON.stringify(held).slice(0, 1_000)}, ` +
    "and none of it is in TURNOUT_OIDC_ADMIN_ROLES, TURNOUT_OIDC_OPERATOR_ROLES or TURNOUT_OIDC_VIEWER_ROLES"
  );
}
