import type { LookupAddress } from "node:dns";
import { describe, expect, it } from "vitest";
import { checkedLookup, isPrivate, refusalOf } from "../src/target.ts";

const rule = (privateTargets: boolean) => ({ privateTargets, allowedBy: "a word" });

const OWN = [
  "127.0.0.1",
  "127.255.255.254",
  "0.0.0.0",
  "10.1.2.3",
  "100.64.0.1",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.1.1",
  "224.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::127.0.0.1",
  "::ffff:127.0.0.1",
  "::ffff:a00:1",
  "::ffff:0:10.0.0.1",
  "64:ff9b::10.0.0.1",
  "64:ff9b:1::1",
  "2002:7f00:1::",
  "2001:0:4136:e378::1",
  "fc00::1",
  "fd00:ec2::254",
  "fe80::1",
  "fe80::1%eth0",
  "febf::1",
  "fec0::1",
  "ff02::1",
  "not an address",
];
const PUBLIC = [
  "8.8.8.8",
  "172.15.255.255",
  "172.32.0.1",
  "100.63.255.255",
  "100.128.0.1",
  "169.253.255.255",
  "192.167.255.255",
  "223.255.255.255",
  "2606:4700::1111",
  "::ffff:8.8.8.8",
  "64:ff9b::8.8.8.8",
  "2001:4860:4860::8888",
];

describe("private addresses", () => {
  it.each(OWN)("%s is one", (address) => expect(isPrivate(address)).toBe(true));
  it.each(PUBLIC)("%s is none", (address) => expect(isPrivate(address)).toBe(false));
});

describe("a URL", () => {
  it.each([
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://[::1]:8000/",
    "http://[::ffff:10.0.0.1]/",
    "https://[fe80::1]/",
    "https://192.168.0.1:8443/hook",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://receiver.localhost/",
  ])("that leads to this machine or network is refused, however it is written: %s", (text) => {
    expect(refusalOf(new URL(text), rule(false))).toMatch(/is no target: private, loopback and link-local/);
    expect(refusalOf(new URL(text), rule(true))).toBeNull();
  });

  it.each([
    "https://hooks.example.org/x",
    "http://8.8.8.8/",
    "https://[2606:4700::1111]/",
    "http://localhost.example/",
  ])("that leads elsewhere, or to a name, is not: %s", (text) =>
    expect(refusalOf(new URL(text), rule(false))).toBeNull(),
  );
});

describe("the look-up of a socket", () => {
  const looked = (addresses: LookupAddress[], { all = true, privateTargets = false } = {}) =>
    new Promise((done) => {
      const lookup = checkedLookup(async () => addresses, rule(privateTargets));
      lookup("hooks.example.org", { all }, (error, address, family) => done(error?.message ?? [address, family]));
    });
  const outside = { address: "8.8.8.8", family: 4 };
  const inside = { address: "::ffff:10.0.0.7", family: 6 };

  it("hands back what was checked, all of it or the first", async () => {
    expect(await looked([outside])).toEqual([[outside], undefined]);
    expect(await looked([outside], { all: false })).toEqual(["8.8.8.8", 4]);
  });

  it("fails when any address of the name is private, unless that is allowed", async () => {
    expect(await looked([outside, inside])).toMatch(/^hooks\.example\.org \(::ffff:10\.0\.0\.7\) is no target/);
    expect(await looked([inside], { privateTargets: true })).toEqual([[inside], undefined]);
  });

  it("fails when the name has no address, or can't be resolved", async () => {
    expect(await looked([])).toBe("hooks.example.org has no address");
    const lookup = checkedLookup(async () => {
      throw new Error("ENOTFOUND");
    }, rule(false));
    expect(await new Promise((done) => lookup("x", {}, (error) => done(error?.message)))).toBe("ENOTFOUND");
  });
});
