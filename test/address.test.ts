import { describe, expect, it } from "vitest";
import { plainAddress } from "../src/address.ts";

describe("an address from a proxy", () => {
  it.each([
    ["198.51.100.5", "198.51.100.5"],
    ["198.51.100.5:5000", "198.51.100.5"],
    ["2001:db8::7", "2001:db8::7"],
    ["[2001:db8::7]:4711", "2001:db8::7"],
    ["[2001:db8::7]", "2001:db8::7"],
    ["2001:DB8:0:0::7", "2001:db8::7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["::FFFF:C000:207", "192.0.2.7"],
    ["[::ffff:192.0.2.7]:80", "192.0.2.7"],
    ["fe80::1%eth0", "fe80::1"],
  ])("%s is one: %s", (text, address) => {
    expect(plainAddress(text)).toBe(address);
  });

  it.each([
    "",
    "unknown",
    "_hidden",
    "localhost",
    "198.51.100",
    "198.51.100.256",
    "198.051.100.5",
    "198.51.100.5:",
    "198.51.100.5:http",
    "198.51.100.5:123456",
    "198.51.100.5/24",
    "[198.51.100.5]:80",
    "[2001:db8::7",
    "2001:db8::7]:80",
    "[2001:db8::7]80",
    "<script>",
  ])("%j is none", (text) => {
    expect(plainAddress(text)).toBeNull();
  });
});
