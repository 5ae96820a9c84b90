/**
 * Files that were here before their application's payload key was set or changed: whether they are signed with it. Those that
 * aren't stay on the disk, and their packages are offered to nobody. What is still to be looked at is in the database.
 */
import { ACTIVITY, SEVERITY } from "../rollout/model/activity.ts";
import { noteActivity } from "../store/activity.ts";
import { moveRevision } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import { PayloadReader, readPayloadKey } from "./format.ts";
import { type Judgement, judge, type Reading } from "./stored.ts";
import { isPayload } from "./wanted.ts";

export interface LookAgainOptions {
  readonly store: Store;
  readonly reading: Reading;
  readonly now: () => number;
  readonly onRefused: (file: string, why: string) => void;
  readonly onError: (error: unknown) => void;
  /** What happens to a content that was found damaged on the way. */
  readonly onDamaged: (content: { readonly sha256: string; readonly checked_at: number }, why: string) => Promise<void>;
}

/** One file after another; answers how many were judged. */
export async function lookAgain(options: LookAgainOptions): Promise<number> {
  const { store, reading, onDamaged, onError } = options;
  let judged = 0;
  for (const file of await filesToCheck(store)) {
    if (reading.isStopping()) break;
    try {
      const judgement = await judgementOf(file, reading);
      if (judgement.kind === "stopped") break;
      if (judgement.kind === "damaged") await onDamaged(file, judgement.why);
      else await conclude(options, file, judgement.kind === "refused" ? judgement.why : null);
      judged += 1;
    } catch (error) {
      onError(error); // the next one may be read all the same
    }
  }
  return judged;
}

/** Damaged ones are looked at as they come in again. */
function filesToCheck({ read }: Store) {
  return read
    .selectFrom("hosted_files")
    .innerJoin("payloads", "payloads.no", "hosted_files.payload_no")
    .innerJoin("packages", "packages.no", "hosted_files.package_no")
    .innerJoin("applications", "applications.no", "packages.application_no")
    .select(["hosted_files.package_no", "hosted_files.name", "hosted_files.payload_no", "payloads.sha256"])
    .select(["payloads.checked_at", "packages.type", "packages.filename", "packages.version"])
    .select(["packages.application_no", "applications.payload_key"])
    .where("hosted_files.look_again", "=", 1)
    .where("payloads.state", "=", "stored")
    .orderBy("hosted_files.package_no")
    .orderBy("hosted_files.name")
    .execute();
}

type FileToCheck = Awaited<ReturnType<typeof filesToCheck>>[number];

async function judgementOf(file: FileToCheck, reading: Reading): Promise<Judgement> {
  if (file.payload_key === null || !isPayload(file, file.name)) return { kind: "good" };
  return judge(file.sha256, new PayloadReader(readPayloadKey(file.payload_key)), reading);
}

/** @param why null: it is signed with the key */
async function conclude(
  { store, now, onRefused }: LookAgainOptions,
  file: FileToCheck,
  why: string | null,
): Promise<void> {
  const isNews = await store.write(async (tx) => {
    const present = await tx
      .selectFrom("hosted_files")
      .innerJoin("packages", "packages.no", "hosted_files.package_no")
      .innerJoin("applications", "applications.no", "packages.application_no")
      .select(["hosted_files.payload_no", "hosted_files.refused", "applications.payload_key"])
      .where("hosted_files.package_no", "=", file.package_no)
      .where("hosted_files.name", "=", file.name)
      .executeTakeFirst();
    // Another file by now, or another key: that is for the next time.
    if (present?.payload_no !== file.payload_no || present.payload_key !== file.payload_key) return false;
    await tx
      .updateTable("hosted_files")
      .set({ look_again: 0, refused: why })
      .where("package_no", "=", file.package_no)
      .where("name", "=", file.name)
      .execute();
    if ((why === null) === (present.refused === null)) return false;
    await moveRevision(tx);
    if (why !== null) await noteActivity(tx, ACTIVITY.payloadRefused, SEVERITY.error, file, now());
    return why !== null;
  });
  if (isNews && why !== null) onRefused(`${file.version}/${file.name}`, why);
}
