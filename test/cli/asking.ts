/** The command line asked of one server, and what is expected of it. */
import { expect } from "vitest";
import { caught } from "./caught.ts";

/** @param url of the server, once there is one */
export function asking(url: () => string) {
  const turnout = (...args: string[]) => caught(args, { environment: { TURNOUT_SERVER: url() } });

  /** What it prints, if it is done. */
  async function done(...args: string[]): Promise<string> {
    const { code, out, err } = await turnout(...args);
    expect([code, err], args.join(" ")).toEqual([0, ""]);
    return out;
  }

  const json = async (...args: string[]) => JSON.parse(await done(...args, "--json"));

  /** The one line that says why not. */
  async function refused(...args: string[]): Promise<string> {
    const { code, out, err } = await turnout(...args);
    expect([code, out], args.join(" ")).toEqual([1, ""]);
    expect(err).toMatch(/^turnout: [^\n]+\n$/);
    return err;
  }

  return { turnout, done, json, refused };
}
