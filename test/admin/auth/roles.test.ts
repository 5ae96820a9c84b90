import { describe, expect, it } from "vitest";
import { type Claims, namesIn, principalFrom, type RoleMapping } from "../../../src/admin/auth/roles.ts";
import { seal, unseal } from "../../../src/admin/auth/sealed.ts";

describe("a claim's names", () => {
  const of = (claims: Claims, path: string) => namesIn(claims, path);

  it("are a list's texts, a text alone, or an object's keys", () => {
    expect(of({ groups: ["a", 7, null, "b"] }, "groups")).toEqual(["a", "b"]);
    expect(of({ groups: "admins" }, "groups")).toEqual(["admins"]);
    expect(of({ groups: { admins: { org: "x" } } }, "groups")).toEqual(["admins"]);
    for (const value of [undefined, null, 7, true]) expect(of({ groups: value }, "groups")).toBeNull();
  });

  it("are found by a path, whose names may have dots themselves", () => {
    const claims = {
      realm_access: { roles: ["a"] },
      resource_access: { "turnout.example.org": { roles: ["b"] } },
      "https://example.org/roles": ["c"],
      "x.y": ["whole"],
      x: { y: ["in parts"] },
    };
    expect(of(claims, "realm_access.roles")).toEqual(["a"]);
    expect(of(claims, "resource_access.turnout.example.org.roles")).toEqual(["b"]);
    expect(of(claims, "https://example.org/roles")).toEqual(["c"]);
    expect(of(claims, "x.y")).toEqual(["whole"]);
    for (const path of ["realm_access.", ".roles", "__proto__", "constructor.name", "roles"]) {
      expect(of(claims, path), path).toBeNull();
    }
  });
});

describe("a role", () => {
  const mapping: RoleMapping = {
    claim: "groups",
    names: { viewer: ["staff"], operator: ["release"], admin: ["root", "release-admins"] },
  };

  it("is the highest that one of the names gives", () => {
    const roleOf = (...groups: string[]) => principalFrom({ sub: "1", groups }, mapping).role;
    expect(roleOf("staff", "root")).toBe("admin");
    expect(roleOf("release", "staff")).toBe("operator");
    expect(roleOf("staff", "Root")).toBe("viewer");
  });

  it("is refused to who has none, by name", () => {
    expect(() => principalFrom({ sub: "1", email: "a@example.org", groups: [] }, mapping)).toThrow(
      'user "a@example.org" has no role here: the claim "groups" is [], and none of it is in TURNOUT_OIDC_ADMIN_ROLES',
    );
  });

  it("belongs to whom people know by a name, and the provider by its subject", () => {
    const who = (claims: Claims) => principalFrom({ groups: ["root"], sub: "42", ...claims }, mapping);
    expect(who({ name: "Ada L.", email: "ada@example.org", preferred_username: "ada" })).toMatchObject({
      kind: "user",
      id: "42",
      name: "ada",
    });
    expect(who({ name: "Ada L.", email: "ada@example.org" }).name).toBe("ada@example.org");
    expect(who({ preferred_username: "", name: 7 }).name).toBe("42");
  });
});

it("a sealed text is opened with its secret only, and as it was", () => {
  const sealed = seal("an ID token", "secret");
  expect(sealed).not.toBe(seal("an ID token", "secret"));
  expect(unseal(sealed, "secret")).toBe("an ID token");
  expect(() => unseal(sealed, "Secret")).toThrow();
  const altered = Buffer.from(sealed, "base64url");
  altered[altered.length - 1] = (altered.at(-1) ?? 0) ^ 1;
  expect(() => unseal(altered.toString("base64url"), "secret")).toThrow();
  expect(() => unseal("", "secret")).toThrow();
});
