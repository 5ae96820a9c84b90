import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { aSession } from "../admin/auth/session-row.ts";
import { aFolder } from "../afterwards.ts";
import { FLATCAR, STABLE_GROUP } from "../e2e/turnout.ts";
import { type World, worlds } from "../notify/world.ts";
import { caught, type Surroundings } from "./caught.ts";

let world: World;
worlds((made) => {
  world = made;
});
beforeEach(async () => {
  await world.start();
});

const turnout = (args: readonly string[], surroundings: Surroundings = {}) =>
  caught(args, { ...surroundings, environment: { TURNOUT_SERVER: world.server.url } });
async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await turnout(args);
  expect([code, err], args.join(" ")).toEqual([0, ""]);
  return out;
}
const json = async (...args: string[]) => JSON.parse(await done(...args, "--json"));
async function refused(...args: string[]): Promise<string> {
  const { code, out, err } = await turnout(args);
  expect([code, out], args.join(" ")).toEqual([1, ""]);
  expect(err).toMatch(/^turnout: [^\n]+\n$/);
  return err;
}

function aFile(text: string): string {
  const folder = aFolder();
  writeFileSync(join(folder, "secret"), text);
  return join(folder, "secret");
}

describe("turnout webhooks", () => {
  const create = (...more: string[]) => ["webhooks", "create", "pager", "--url", world.receiver.url, ...more];

  it("makes one, whose secret it prints this once, alone on the standard output", async () => {
    expect(await done("webhooks", "list")).toBe("no webhooks\n");
    expect(await turnout(create("--events", "rollout-halted", "node-lost"))).toEqual({
      code: 0,
      out: expect.stringMatching(/^turnout_hook_[\w-]{43}\n$/),
      err: 'webhook "pager": its secret is not shown again\n',
    });
    expect(await done("webhooks", "list")).toMatch(
      /^WEBHOOK +URL +EVENTS +STATE +WAITING\npager +http:\S+ +rollout-halted, node-lost +on +0\n$/,
    );
    const shown = await done("webhooks", "show", "pager");
    expect(shown).toMatch(/^events +rollout-halted, node-lost\napplications +all\ngroups +all\nenabled +on\n/m);
    expect(shown).toMatch(/^last success +-\nlast failure +-\nresting until +-\n$/m);
    expect((await json("webhooks", "list")).webhooks).toMatchObject([{ name: "pager" }]);
    expect(await refused(...create())).toContain('there is a webhook "pager" already');
    expect(await refused("webhooks", "create", "other")).toContain("say where to: --url URL");
    expect(await refused("webhooks", "create", "other", "--url", "ftp://x")).toContain("url: must be a URL such as");
    expect(await refused("webhooks", "show", "nix")).toContain('there is no webhook "nix"; there are: "pager"');
    expect((await turnout(create("--events", "all-of-it"))).code).toBe(2);
  });

  it("signs with a secret from a file, which is not printed", async () => {
    const out = await done(...create("--secret-file", aFile("a-secret-of-my-own-0001\n"), "--enabled", "off"));
    expect(out).toMatch(/^webhook +pager\n[\s\S]*^enabled +off$/m);
    expect(out).not.toContain("a-secret-of-my-own");
    expect(await refused("webhooks", "set", "pager", "--secret-file", aFile("short"))).toContain(
      "secret: must have at least 16 characters",
    );
    expect(await refused("webhooks", "set", "pager", "--secret-file", "/nowhere")).toContain("--secret-file: ENOENT");
    const { secret_ts: before } = await json("webhooks", "show", "pager");
    world.server.clock.move({ minutes: 1 });
    const changed = await json("webhooks", "set", "pager", "--secret-file", aFile("another-secret-0001"));
    expect(Date.parse(changed.secret_ts)).toBeGreaterThan(Date.parse(before));
  });

  it("changes what is named, and nothing else; all is no confinement", async () => {
    const made = await json(...create("--events", "node-failed", "--group", "Stable (AMD64)"));
    expect(made).toMatchObject({ groups: [STABLE_GROUP], applications: [FLATCAR] });
    const shown = await done("webhooks", "show", made.id);
    expect(shown).toMatch(/^applications +Flatcar Container Linux\ngroups +Stable \(AMD64\)$/m);
    const { secret: _, ...rest } = made;
    expect(await json("webhooks", "set", "pager", "--enabled", "off")).toEqual({ ...rest, enabled: false });
    expect(await json("webhooks", "set", "pager", "--name", "bell", "--events", "all", "--group", "all")).toMatchObject(
      {
        name: "bell",
        events: [],
        groups: null,
        applications: [FLATCAR],
      },
    );
    expect((await json("webhooks", "set", "bell", "--app", "all")).applications).toBeNull();
    await done("apps", "create", "Lab", "--clone-from", FLATCAR);
    const lab = await json("webhooks", "set", "bell", "--app", "Lab", "--group", "Beta (ARM)");
    // Groups bring their application along.
    expect(await json("webhooks", "set", "bell", "--group", STABLE_GROUP)).toMatchObject({ applications: [FLATCAR] });
    expect(lab.applications).not.toContain(FLATCAR);
    expect(await refused("webhooks", "set", "bell")).toContain("name at least one thing to change");
    expect(await refused("webhooks", "set", "bell", "--group", "nix")).toContain('no group "nix"');
    expect(await refused("webhooks", "delete", "bell")).toContain("say --yes where nobody can be asked");
    expect(await done("webhooks", "delete", "bell", "--yes")).toBe('deleted webhook "bell"\n');
    expect(await done("webhooks", "list")).toBe("no webhooks\n");
  });

  it("tries one, lists what it was told, and sends that again", async () => {
    await turnout(create());
    expect(await done("webhooks", "deliveries", "pager")).toBe("no such deliveries\n");
    expect(await done("webhooks", "test", "pager")).toMatch(/^delivery [\da-f-]{36} is on its way; /);
    world.receiver.answer = 503;
    await world.tell();
    expect(await done("webhooks", "deliveries", "pager")).toMatch(
      /^WHEN +EVENT +STATE +TRIES +ANSWER +DELIVERY\n.+ test +waiting +1 +it answered 503; next try \d{4}-.+ UTC +\S+\n$/,
    );
    expect(await done("webhooks", "list")).toMatch(/ on, 1 failure +1\n$/);
    expect(await done("webhooks", "show", "pager")).toMatch(/^last failure +\d{4}-.+ UTC: it answered 503$/m);
    world.receiver.answer = 200;
    const { deliveries } = await json("webhooks", "deliveries", "pager", "--state", "waiting");
    const id: string = deliveries[0].id;
    expect(await done("webhooks", "retry", "pager", id)).toBe(`delivery ${id} is sent again\n`);
    await world.tell();
    expect(await done("webhooks", "deliveries", "pager", "--state", "delivered")).toMatch(
      / delivered +1 +200 +[\da-f-]{36}\n$/,
    );
    expect((await json("webhooks", "retry", "pager", id, id)).count).toBe(2);
    expect(await refused("webhooks", "retry", "pager", "nix")).toContain("delivery not found: nix");
    const second = (await json("webhooks", "test", "pager")).id;
    const few = await turnout(["webhooks", "deliveries", "pager", "--limit", "1"]);
    expect(few).toMatchObject({ code: 0, out: expect.stringContaining(second), err: "there are more: set --limit\n" }); // biome-ignore format: one line
    await done("webhooks", "set", "pager", "--enabled", "off");
    expect(await refused("webhooks", "test", "pager")).toContain('"pager" is turned off');
  });
});

describe("turnout sessions", () => {
  it("lists who is logged in, and logs out whoever is named without doubt", async () => {
    expect(await done("sessions", "list")).toBe("nobody is logged in\n");
    const { store } = world.server.turnout;
    const [first, second] = [
      await aSession(store, world.server.clock.now()),
      await aSession(store, world.server.clock.now()),
    ];
    expect(await done("sessions", "list")).toMatch(
      /^WHO +ROLE +FROM +LOGIN +LAST USED +ENDS +SESSION\nada +viewer +192\.0\.2\.1 .+ UTC +[\da-f-]{36}\n/,
    );
    expect((await json("sessions", "list")).totalCount).toBe(2);
    const several = await refused("sessions", "revoke", "ada");
    expect(several).toContain('"ada" has several sessions: ');
    expect(several).toContain(`${first} ("ada" from 192.0.2.1)`);
    expect(await done("sessions", "revoke", first)).toBe('"ada" is logged out\n');
    expect(await json("sessions", "revoke", "ada")).toMatchObject({ id: second });
    expect(await refused("sessions", "revoke", "ada")).toContain('there is no session "ada"');
  });
});

it("tables of webhooks, deliveries and sessions fit into 80 columns", async () => {
  await aSession(world.server.turnout.store, world.server.clock.now());
  await world.aWebhook();
  await world.test();
  world.receiver.answer = 503;
  await world.tell();
  for (const args of [
    ["webhooks", "list"],
    ["webhooks", "show", "pager"],
    ["webhooks", "deliveries", "pager"],
    ["sessions", "list"],
  ]) {
    const { out, err } = await turnout(args, { columns: 80 });
    expect(err).toBe("");
    for (const line of out.split("\n")) expect(line.length, `${args.join(" ")}: ${line}`).toBeLessThanOrEqual(80);
  }
});
