import { describe, expect, it } from "vitest";
import { readSettings } from "../../src/settings.ts";

describe("the settings of payloads", () => {
  it("have a default each", () => {
    expect(readSettings({})).toMatchObject({
      publicUrl: null,
      payloads: {
        token: null,
        login: null,
        downloads: 500,
        downloadsPerAddress: 100,
        downloadRate: null,
        sendfile: true,
        diskReserve: 1_073_741_824,
        scrubDays: 7,
        scrubRate: 16_777_216,
      },
    });
  });

  it("take sizes as people write them, and a public address with or without a slash", () => {
    const { publicUrl, payloads } = readSettings({
      TURNOUT_PUBLIC_URL: "https://updates.example.org/turnout/",
      TURNOUT_DOWNLOAD_RATE: "100MiB",
      TURNOUT_DISK_RESERVE: "512",
      TURNOUT_PAYLOAD_USER: "node",
      TURNOUT_PAYLOAD_PASSWORD: "long enough",
    });
    expect(publicUrl).toBe("https://updates.example.org/turnout");
    expect(payloads).toMatchObject({
      downloadRate: 104_857_600,
      diskReserve: 512,
      login: { user: "node", password: "long enough" },
    });
  });

  it.each([
    [{ TURNOUT_DISK_RESERVE: "much" }, /"much" is not a size; write e\.g\. "64 MiB"/],
    [{ TURNOUT_DOWNLOAD_RATE: "1 KiB" }, /at least 128 KiB/],
    [{ TURNOUT_PAYLOAD_TOKEN: "a/b" }, /part of the URL's path/],
    [{ TURNOUT_PAYLOAD_USER: "node" }, /set both, or none/],
    [{ TURNOUT_PAYLOAD_USER: "a:b", TURNOUT_PAYLOAD_PASSWORD: "12345678" }, /no colon/],
    [{ TURNOUT_PAYLOAD_USER: "a", TURNOUT_PAYLOAD_PASSWORD: "short" }, /at least 8 characters/],
  ])("that are wrong are named: %j", (environment, message) => {
    expect(() => readSettings(environment)).toThrow(message);
  });
});
