import { expect, it } from "vitest";
import { SessionThread } from "../../src/store/sqlite/session-thread.ts";
import { StoreUnavailable } from "../../src/store/store.ts";

/** Dies of the first question. */
const DYING = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from "node:worker_threads";
    parentPort.once("message", () => { throw new Error("out of memory"); });
  `)}`,
);
const SILENT = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from "node:worker_threads";
    parentPort.on("message", () => undefined);
  `)}`,
);

it("a thread that died answers nothing more: whoever still asks is told why it died", async () => {
  const deaths: string[] = [];
  const thread = new SessionThread(DYING, "dying", "", (error) => deaths.push(error.message));
  await expect(thread.query("SELECT 1", [])).rejects.toThrow("out of memory");
  await expect(thread.query("ROLLBACK", [])).rejects.toThrow("out of memory");
  expect(deaths).toEqual(["out of memory"]);
});

it("a thread that was closed takes no more questions, and leaves none open", async () => {
  const thread = new SessionThread(SILENT, "silent", "", (error) => expect.unreachable(error.message));
  const open = expect(thread.query("SELECT 1", [])).rejects.toBeInstanceOf(StoreUnavailable);
  const closed = thread.close();
  await open;
  await expect(thread.query("ROLLBACK", [])).rejects.toBeInstanceOf(StoreUnavailable);
  await closed;
});
