import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { aFolder } from "../afterwards.ts";
import { aTurnout, FLATCAR, STABLE_CHANNEL, STABLE_GROUP, type TestTurnout } from "../e2e/turnout.ts";
import { asking } from "./asking.ts";

let server: TestTurnout;
beforeAll(async () => {
  server = await aTurnout();
});
afterAll(() => server.close());

const { turnout, done, json, refused } = asking(() => server.url);

const SHA256 = "b0659228619a4e117775743bf53513ab5c4dee6272cfcef429a2141ab0c920ff";
const payload = ["--url", "https://u.example/", "--filename", "update.gz", "--size", "501234567", "--sha256", SHA256];
const aPackage = (version: string, ...more: string[]) =>
  json("packages", "create", version, "--arch", "amd64", ...payload, ...more);

describe("turnout apps", () => {
  it("makes, shows, lists, changes and deletes applications, by name, product id or id", async () => {
    const made = await json("apps", "create", "Lab", "--product-id", "io.example.lab", "--clone-from", FLATCAR);
    expect(made).toMatchObject({ name: "Lab", product_id: "io.example.lab" });
    expect(made.groups).toHaveLength(10);
    expect(await done("apps", "list")).toMatch(/^APPLICATION +ID +PRODUCT ID +NODES\nLab +\S+ +io\.example\.lab +0\n/);
    expect((await json("apps", "list")).totalCount).toBe(2);
    for (const name of ["lab", "IO.example.lab", made.id]) {
      const shown = await done("apps", "show", name);
      expect(shown).toMatch(/^application +Lab\nid +\S+\nproduct-id +io\.example\.lab\n/);
      expect(shown).toMatch(/^Stable \(AMD64\) +stable +stable \(amd64\) +- +on$/m);
    }
    expect(await done("apps", "set", "Lab", "--description", "where it is tried")).toMatch(
      /product-id +io\.example\.lab/,
    );
    expect(await json("apps", "set", "Lab", "--name", "Attic", "--product-id", "none")).toMatchObject({
      name: "Attic",
      product_id: null,
      description: "where it is tried",
    });
    expect(await refused("apps", "delete", "Attic")).toContain(
      "nothing was changed: say --yes where nobody can be asked",
    );
    expect(await done("apps", "delete", "Attic", "--yes")).toBe('deleted application "Attic"\n');
    expect(await refused("apps", "show", "Attic")).toContain(
      'no application "Attic"; there are: "Flatcar Container Linux"',
    );
    expect(await refused("groups", "list", "--app", made.id)).toContain('there are: "Flatcar Container Linux"');
    expect(await refused("apps", "set", FLATCAR)).toContain("name at least one thing to change");
    const lab = await json("apps", "create", "Lab", "--version-scheme", "four-part");
    expect(lab).toMatchObject({ version_scheme: "four-part", build_metadata: "ignore" });
    const other = ["--url", "https://u.example/", "--type", "other", "--app", "Lab"];
    expect(await refused("packages", "create", "4230.2.1", "--arch", "amd64", ...other)).toContain(
      "must be four numbers",
    );
    expect((await json("packages", "create", "1.3.36.102", "--arch", "amd64", ...other)).version).toBe("1.3.36.102");
    expect(await refused("apps", "set", "Lab", "--build-metadata", "order")).toContain(
      "versions of four numbers have none",
    );
    expect(await done("apps", "show", "Lab")).toMatch(/^version-scheme +four-part\nbuild-metadata +ignore$/m);
    await done("apps", "delete", "Lab", "--yes");
    expect(await refused("apps", "create", "Other", "--product-id", "no")).toContain(
      "product_id: must be a reverse-domain",
    );
  });
});

describe("turnout packages", () => {
  it("adds, shows, lists, changes and deletes packages, hashes written either way", async () => {
    const made = await aPackage("4230.2.1", "--hash", "0c30c53b1ac73e642cf415b88b26b069eb0f9c3d", "--extra-files",
      `name=oem-azure.gz,size=12345,hash256=${SHA256}`, "name=oem-vmware.gz"); // biome-ignore format: one line
    expect(made).toMatchObject({
      size: "501234567",
      hash: "DDDFOxrHPmQs9BW4iyawaesPnD0=",
      flatcar_action: { sha256: Buffer.from(SHA256, "hex").toString("base64") },
      extra_files: [
        { name: "oem-azure.gz", size: "12345", hash256: SHA256 },
        { name: "oem-vmware.gz", size: "0" },
      ],
    });
    await done("packages", "create", "4230.2.1", "--arch", "arm64", ...payload);
    await aPackage("4081.2.0");
    expect((await done("packages", "list")).split("\n").map((line) => line.slice(0, 18).trimEnd())).toEqual(
      ["VERSION   ARCH", "4230.2.1  amd64", "4230.2.1  aarch64", "4081.2.0  amd64", ""]); // biome-ignore format: one line
    expect((await json("packages", "list", "--search", "42")).packages).toHaveLength(2);
    expect(await refused("packages", "show", "4230.2.1")).toContain(
      "several packages 4230.2.1, for amd64, aarch64: say which with --arch",
    );
    const shown = await done("packages", "show", "4230.2.1", "--arch", "amd64");
    expect(shown).toMatch(
      /^package +4230\.2\.1 \(amd64\)\n[\s\S]*^extra-file +name=oem-azure\.gz,size=12345,hash256=/m,
    );
    expect(await json("packages", "show", made.id)).toEqual(made);

    const changed = await json("packages", "set", "4230.2.1", "--arch", "amd64", "--description", "notes", "--extra-files", "none", "--channels-blacklist", "beta"); // biome-ignore format: one line
    const { created_ts: _, id: __, ...action } = made.flatcar_action;
    expect(changed).toMatchObject({ description: "notes", size: made.size, hash: made.hash, flatcar_action: action });
    expect([changed.extra_files, changed.channels_blacklist.length]).toEqual([null, 1]);
    expect((await json("packages", "set", made.id, "--channels-blacklist", "none")).channels_blacklist).toBeNull();
    expect(await done("packages", "delete", "4230.2.1", "--arch", "aarch64", "-y")).toBe(
      "deleted package 4230.2.1 (aarch64)\n",
    );
  });

  it("says what a package lacks that another tool has made, and adds it", async () => {
    const url = "https://updates.example.org/5000.0.0/";
    const body = { type: 1, arch: 1, version: "5000.0.0", url, filename: "", size: "", flatcar_action: { sha256: "" } };
    await server.api("POST", `/apps/${FLATCAR}/packages`, body);
    const lacks = "filename, size and flatcar_action.sha256";
    expect(await done("packages", "list", "--search", "5000")).toMatch(new RegExp(`^5000\\.0\\.0 .* ${lacks}$`, "m"));
    expect(await done("packages", "show", "5000.0.0")).toMatch(new RegExp(`^incomplete +it lacks ${lacks};`, "m"));
    const point = ["channels", "set", "stable", "--arch", "amd64", "--package", "5000.0.0"];
    expect(await refused(...point)).toContain(`package 5000.0.0 is incomplete: it lacks ${lacks}`);
    const filled = ["--filename", "a.gz", "--size", "12", "--sha256", SHA256];
    expect(await done("packages", "set", "5000.0.0", ...filled)).not.toContain("incomplete");
    await done(...point);
    await done("channels", "set", "stable", "--arch", "amd64", "--package", "none");
    await done("packages", "delete", "5000.0.0", "-y");
  });

  it("says what a package needs, and what an option can't be", async () => {
    expect(await refused("packages", "create", "1.0.0", "--arch", "amd64", "--url", "https://u.example/")).toContain(
      "a flatcar package needs --filename, --size, --sha256",
    );
    expect(await refused("packages", "create", "1.0", "--arch", "amd64", ...payload)).toContain(
      "version: must be a semantic version",
    );
    for (const [option, value, why] of [
      ["--sha256", SHA256.slice(1), "Write the SHA-256 in hexadecimal or base64."],
      ["--size", "big", "Write a whole number."],
      ["--arch", "riscv", "Allowed choices are all, amd64, aarch64, x86."],
      ["--type", "flat", "Allowed choices are flatcar, docker, rkt, other."],
      ["--extra-files", "azure.gz", "write KEY=VALUE; the keys are name, size, hash, hash256"],
      ["--extra-files", "size=1", "A file needs at least name=NAME."],
    ] as const) {
      const { code, err } = await turnout("packages", "create", "1.0.0", option, value);
      expect(code, option).toBe(2);
      expect(err).toMatch(/^turnout: [^\n]+\(see turnout packages create --help\)\n$/);
      expect(err).toContain(why);
    }
    expect((await turnout("packages", "create", "1.0.0", ...payload)).err).toContain(
      "required option '--arch <arch>' not specified",
    );
  });
});

describe("turnout channels", () => {
  it("makes, lists, moves and deletes channels, each of its architecture", async () => {
    expect(await refused("channels", "set", "stable", "--package", "4230.2.1")).toContain(
      'several channels "stable", for amd64, aarch64: say which with --arch',
    );
    expect(await refused("channels", "set", "stable", "--arch", "arm64", "--package", "4230.2.1")).toContain(
      'no package "4230.2.1" for aarch64; there are: 4230.2.1 (amd64), 4081.2.0 (amd64)',
    );
    const moved = await json("channels", "set", "stable", "--arch", "amd64", "--package", "4230.2.1");
    expect(moved).toMatchObject({
      id: STABLE_CHANNEL,
      name: "stable",
      color: "#14b9d6",
      package: { version: "4230.2.1" },
    });
    expect(await done("channels", "list")).toMatch(/^stable \(amd64\) +4230\.2\.1 +e06064ad/m);
    expect(await done("rollouts", "list", "--group", STABLE_GROUP)).toMatch(/4230\.2\.1 +running/);
    const nightlies = ["4845.0.0+nightly-20261006-2100", "4845.0.0+nightly-20261007-2100"] as const;
    for (const version of nightlies) await aPackage(version);
    const beta = ["channels", "set", "beta", "--arch", "amd64", "--package"];
    expect((await turnout(...beta, nightlies[0])).err).toBe("");
    expect(await turnout(...beta, nightlies[1])).toMatchObject({
      code: 0,
      err: expect.stringContaining(`Nodes that run ${nightlies[0]} count as having ${nightlies[1]} already`),
    });
    const fleet = join(aFolder(), "fleet.json");
    const channels = [{ name: "beta", arch: "amd64", package: nightlies[0] }];
    writeFileSync(fleet, JSON.stringify({ applications: [{ name: "Flatcar Container Linux", channels }] }));
    expect((await turnout("plan", "-f", fleet)).err).toContain(`count as having ${nightlies[0]} already`);
    expect((await turnout("apply", "-f", fleet, "--yes")).err).toContain(`count as having ${nightlies[0]} already`);
    await done("channels", "set", "beta", "--arch", "amd64", "--package", "none");
    for (const version of nightlies) await done("packages", "delete", version, "--yes");
    expect(await done("channels", "create", "nightly", "--arch", "amd64", "--package", "4081.2.0")).toMatch(
      /^package +4081\.2\.0$/m,
    );
    expect(await json("channels", "set", "nightly", "--package", "none", "--color", "red")).toMatchObject({
      package: null,
      color: "red",
    });
    expect(await done("channels", "show", "nightly")).toMatch(
      /^channel +nightly \(amd64\)\nid +\S+\ncolor +red\npackage +none\n/,
    );
    expect((await json("channels", "delete", "nightly", "--yes")).name).toBe("nightly");
    expect(await refused("channels", "show", "nightly")).toMatch(
      /no channel "nightly"; there are: alpha \(amd64\), alpha \(aarch64\), /,
    );
  });

  it("has floors: added with a reason, listed, removed", async () => {
    const floor = (...args: string[]) => ["channels", "floor", ...args, "--arch", "amd64"];
    expect(await done(...floor("list", "stable"))).toBe("channel stable (amd64) has no floors\n");
    expect(await done(...floor("add", "stable", "4081.2.0", "--reason", "the disk's layout"))).toBe(
      "4081.2.0 is a floor of channel stable (amd64)\n",
    );
    expect(await done(...floor("list", "stable"))).toMatch(
      /^VERSION +PACKAGE +REASON\n4081\.2\.0 +\S+ +the disk's layout\n$/,
    );
    expect(await refused("packages", "delete", "4081.2.0", "--yes")).toContain("is a floor of a channel");
    expect(await json(...floor("add", "stable", "4081.2.0"))).toMatchObject({
      status: "ok",
      channel_id: STABLE_CHANNEL,
    });
    expect((await json(...floor("list", "stable"))).packages).toMatchObject([
      { version: "4081.2.0", floor_reason: null },
    ]);
    expect((await json(...floor("remove", "stable", "4081.2.0"))).version).toBe("4081.2.0");
    expect(await refused(...floor("remove", "stable", "4081.2.0"))).toContain("floor not found");
  });
});

describe("turnout groups", () => {
  it("makes a group with a policy, and changes what is named and nothing else", async () => {
    const made = await json("groups", "create", "Canary", "--track", "canary", "--channel", "beta", "--arch", "amd64", "--safe-mode", "on",
      "--timezone", "UTC", "--maintenance-windows", "mon-thu 22:00-04:00", "sat,sun 00:00-23:59", "--freezes",
      "2026-12-20..2027-01-06 the holidays", "--preset", "careful"); // biome-ignore format: one line
    expect(made).toMatchObject({
      track: "canary",
      channel: { name: "beta", arch: 1 },
      policy_updates_enabled: true,
      policy_safe_mode: true,
      policy_timezone: "UTC",
      policy_max_updates_per_period: 999_999,
      maintenance_windows: [
        { days: ["mon", "tue", "wed", "thu"], from: "22:00", to: "04:00" },
        { days: ["sat", "sun"], from: "00:00", to: "23:59" },
      ],
      freezes: [{ from: "2026-12-20", to: "2027-01-06", reason: "the holidays" }],
    });
    const changed = await json("groups", "set", "canary", "--max-updates-per-period", "20", "--updates-enabled", "off");
    expect(changed).toEqual({ ...made, policy_max_updates_per_period: 20, policy_updates_enabled: false });
    const cleared = await json("groups", "set", "canary", "--maintenance-windows", "none", "--freezes", "none", "--strategy", "none",
      "--channel", "none", "--track", "none", "--name", "Cage", "--office-hours", "on", "--update-timeout", "2h", "--period-interval", "1 days",
      "--description", "for birds"); // biome-ignore format: one line
    expect(cleared).toMatchObject({ name: "Cage", track: made.id, channel_id: null, strategy: null, freezes: [] });
    // An architecture goes without saying where there is one already.
    await done("groups", "set", "Cage", "--channel", "beta", "--arch", "arm64");
    expect((await json("groups", "set", "Cage", "--channel", "stable")).channel).toMatchObject({
      name: "stable",
      arch: 2,
    });
    const shown = await done("groups", "show", "Cage");
    expect(shown).toMatch(
      /^group +Cage\n[\s\S]*^channel +stable \(aarch64\), which points to nothing\nupdates-enabled +off\nsafe-mode +on\n/m,
    );
    expect(shown).toMatch(
      /^maintenance-windows +-\nfreezes +-\nstrategy +100 %, starting slowly \(10\) \(the server's default\)\n/m,
    );
    expect(await done("groups", "list")).toMatch(/^Cage +\S+ +stable \(aarch64\) +- +off$/m);
    expect((await json("groups", "list")).groups).toHaveLength(11);
    expect(await done("groups", "delete", "Cage", "--yes")).toBe('deleted group "Cage"\n');
  });

  it("shows windows, freezes and strategies as they are written", async () => {
    const args = [
      "--maintenance-windows",
      "fri-mon 20:00-23:00",
      "06:00-07:00",
      "Fri 22:00 to Mon 06:00",
      "Thu 23:00 + 1h30m",
      "sat 00:00-00:00",
      "--freezes",
      "2026-12-20..2027-01-06",
      "--preset",
      "fast",
    ];
    const shown = await done("groups", "set", STABLE_GROUP, ...args);
    expect(shown).toMatch(
      /^maintenance-windows +fri-mon 20:00-23:00; 06:00-07:00; fri 22:00 to mon 06:00; thu 23:00 \+ 1h30m; sat 00:00-24:00$/m,
    );
    expect(shown).toMatch(/^freezes +2026-12-20\.\.2027-01-06$/m);
    expect(shown).toMatch(/^strategy +10 % \(1h\), 100 %$/m);
  });

  it("says what is wrong, and what would be right", async () => {
    const set = (...args: string[]) => ["groups", "set", STABLE_GROUP, ...args];
    expect(await refused("groups", "show", "nix")).toContain('there is no group "nix"; there are: ');
    expect(await refused("groups", "show", "stable")).toContain('several groups have the track "stable": ');
    expect(await refused(...set())).toContain("name at least one thing to change; --help lists them");
    expect(await refused(...set("--timezone", "Mars"))).toContain('must be a time zone\'s name, e.g. "Europe/Berlin"');
    expect(await refused(...set("--update-timeout", "soon"))).toContain(
      '"soon" is not an interval; write e.g. "15 minutes"',
    );
    expect(await refused(...set("--arch", "amd64"))).toContain("--arch goes with --channel");
    expect(await refused(...set("--preset", "fast", "--strategy", "x"))).toContain("exclude each other");
    expect(await refused("groups", "create", "New", "--channel", "stable")).toContain("say which with --arch");
    expect(await refused("groups", "create", "Beta (ARM)")).toContain('there is a group "Beta (ARM)" already');
    for (const [option, value, why] of [
      ["--safe-mode", "maybe", "Write on or off."],
      ["--maintenance-windows", "at night", 'Write days and times, e.g. "mon-thu 22:00-04:00"'],
      ["--maintenance-windows", "moon 22:00-04:00", '"moon" is no day; write e.g. mon, or mon-thu.'],
      ["--maintenance-windows", "fri 22:00 to moon 06:00", '"moon" is no day; write e.g. mon.'],
      ["--freezes", "2026", 'Write two days and why, e.g. "2026-12-20..2027-01-06 holidays".'],
      ["--max-updates-per-period", "-1", "Write a whole number."],
      ["--preset", "slow", "Allowed choices are guarded, careful, normal, fast, hotfix."],
    ] as const) {
      const { code, err } = await turnout(...set(option, value));
      expect([code, err]).toEqual([2, expect.stringContaining(why)]);
    }
  });

  it("refuses an edit that crosses another one, and keeps that", async () => {
    const real = globalThis.fetch;
    // Between the reading and the writing somebody else is faster.
    let reads = 0;
    globalThis.fetch = async (url, init) => {
      const response = await real(url, init);
      if (init?.method === "GET" && String(url).endsWith(`/groups/${STABLE_GROUP}`) && ++reads === 1) {
        await server.setPolicy({ description: "somebody else's" });
      }
      return response;
    };
    try {
      expect(await refused("groups", "set", STABLE_GROUP, "--description", "mine")).toContain(
        "it has changed since it was read",
      );
    } finally {
      globalThis.fetch = real;
    }
    expect((await json("groups", "show", STABLE_GROUP)).description).toBe("somebody else's");
  });
});
