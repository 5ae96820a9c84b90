import { describe, expect, it } from "vitest";
import { Batches } from "../../src/checkin/batch.ts";
import { StoreUnavailable } from "../../src/store/store.ts";

/** A writer that finishes its batches when it is told to. */
function aWriter() {
  const begun: {
    requests: readonly number[];
    finish: (answers?: readonly string[]) => void;
    fail: (error: Error) => void;
  }[] = [];
  const run = (requests: readonly number[]) =>
    new Promise<readonly string[]>((resolve, reject) => {
      begun.push({
        requests,
        finish: (answers) => resolve(answers ?? requests.map((n) => `answer ${n}`)),
        fail: reject,
      });
    });
  return { begun, run };
}
const turn = () => new Promise((done) => setImmediate(done));

describe("group commit", () => {
  it("lets requests of one moment share a batch, and gathers the next while that is written", async () => {
    const { begun, run } = aWriter();
    const sizes: number[] = [];
    const batches = new Batches<number, string>({
      run,
      maxBatch: 10,
      maxWaiting: 100,
      onBatch: (size) => sizes.push(size),
    });
    const first = [1, 2].map((n) => batches.submit(n));
    await turn();
    const second = [3, 4, 5].map((n) => batches.submit(n));
    await turn();
    expect(begun.map(({ requests }) => requests)).toEqual([[1, 2]]);
    begun[0]?.finish();
    expect(await Promise.all(first)).toEqual(["answer 1", "answer 2"]);
    await turn();
    expect(begun[1]?.requests).toEqual([3, 4, 5]);
    begun[1]?.finish();
    expect(await Promise.all(second)).toEqual(["answer 3", "answer 4", "answer 5"]);
    expect(sizes).toEqual([2, 3]);
    const late = batches.submit(6);
    await turn();
    begun[2]?.finish();
    expect(await late).toBe("answer 6");
  });

  it("tells a few at a time, so that others get their turn, and the next batch does not wait for it", async () => {
    const { begun, run } = aWriter();
    const batches = new Batches<number, string>({ run, maxBatch: 20, maxWaiting: 100 });
    let told = 0;
    const all = Array.from({ length: 20 }, async (_, n) => {
      await batches.submit(n);
      told += 1;
    });
    await turn();
    const next = batches.submit(20);
    begun[0]?.finish();
    const toldByTurn: number[] = [];
    while (told < 20) {
      await turn();
      toldByTurn.push(told);
    }
    expect(toldByTurn).toEqual([8, 16, 20]);
    expect(begun[1]?.requests).toEqual([20]);
    begun[1]?.finish();
    await Promise.all([...all, next]);
  });

  it("bounds a batch, and what may wait", async () => {
    const { begun, run } = aWriter();
    const batches = new Batches<number, string>({ run, maxBatch: 2, maxWaiting: 3 });
    const taken = [1, 2, 3].map((n) => batches.submit(n));
    await expect(batches.submit(4)).rejects.toBeInstanceOf(StoreUnavailable);
    await turn();
    expect(begun[0]?.requests).toEqual([1, 2]);
    begun[0]?.finish();
    await taken[0];
    await turn();
    begun[1]?.finish();
    expect(await taken[2]).toBe("answer 3");
  });

  it("fails all requests of a batch that fails, and goes on with the next", async () => {
    const { begun, run } = aWriter();
    const batches = new Batches<number, string>({ run, maxBatch: 10, maxWaiting: 100 });
    const lost = Promise.allSettled([1, 2].map((n) => batches.submit(n)));
    await turn();
    const next = batches.submit(3);
    begun[0]?.fail(new StoreUnavailable("full"));
    expect((await lost).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await turn();
    begun[1]?.finish();
    expect(await next).toBe("answer 3");
    const short = batches.submit(4);
    await turn();
    begun[2]?.finish([]);
    await expect(short).rejects.toThrow("without an answer");
  });
});
