import { expect, it } from "vitest";
import { type Readers, sqliteReaders } from "../../src/store/sqlite/readers.ts";
import { type SqlSession, StoreUnavailable } from "../../src/store/store.ts";
import { afterwards } from "../afterwards.ts";
import { aDatabase } from "./in-process.ts";

const HOURS = 3_600_000;

async function readers(threads: number, patienceMs: number): Promise<Readers> {
  const database = await aDatabase();
  const made = sqliteReaders({
    path: database.path,
    threads,
    patienceMs,
    onDeath: (error) => expect.unreachable(error.message),
  });
  afterwards(() => database.close());
  afterwards(() => made.close());
  return made;
}

const one = async (session: SqlSession) => (await session.query("SELECT 1 AS one", [])).rows;

it("one thread serves who comes, one after another, in their order", async () => {
  const two = await readers(2, HOURS);
  const first = await two.acquire();
  const later = [two.acquire(), two.acquire()] as const;
  expect(await one(first)).toEqual([{ one: 1 }]);
  await two.release(first);
  expect(await later[0]).toBe(first);
  await two.release(first);
  expect(await later[1]).toBe(first);
});

it("whoever has waited long gets a thread of their own, up to the limit", async () => {
  const two = await readers(2, 1);
  const first = await two.acquire();
  const second = await two.acquire();
  expect(second).not.toBe(first);
  expect(await one(second)).toEqual([{ one: 1 }]);
  const third = two.acquire();
  await two.release(second);
  expect(await third).toBe(second);
  const fourth = two.acquire();
  await two.release(first);
  expect(await fourth).toBe(first);
});

it("closing turns away whoever waits", async () => {
  const two = await readers(2, HOURS);
  await two.acquire();
  const waiting = expect(two.acquire()).rejects.toBeInstanceOf(StoreUnavailable);
  await two.close();
  await waiting;
});
