/** Going back: a rollout of the version before, for the nodes that took an aborted one. */
import { inWords } from "../rollout/missing.ts";
import type { Package } from "../rollout/model/configuration.ts";
import type { Rollout } from "../rollout/model/rollout.ts";
import { NotPossible } from "../rollout/run.ts";
import { PRESETS } from "../rollout/strategy.ts";
import { compareVersions } from "../rollout/version.ts";
import { loadPackages } from "../store/fleet.ts";
import { type Actor, createRollout } from "../store/rollouts.ts";
import type { Tx } from "./context.ts";

/**
 * Makes the rollout that takes `aborted` back.
 * @param to the version to go back to; null: the one that most of its nodes came from.
 * @throws NotPossible when there is no package to go back to
 */
export async function rollBack(
  tx: Tx,
  aborted: Rollout,
  to: string | null,
  reason: string,
  actor: Actor,
  now: number,
): Promise<void> {
  if (aborted.undoes !== null) throw new NotPossible("this rollout is itself a way back; it can only be aborted");
  const target = await packageBefore(tx, aborted, to);
  await createRollout(tx, {
    groupNo: aborted.groupNo,
    packageNo: target.no,
    strategy: PRESETS.hotfix,
    startAt: null,
    undoes: aborted.package.version,
    reason: `takes ${aborted.package.version} back: ${reason}`,
    actor,
    now,
  });
}

async function packageBefore(tx: Tx, aborted: Rollout, to: string | null): Promise<Package> {
  const { applicationNo, arch, version: bad, versionOrder: order } = aborted.package;
  const older = [...(await loadPackages(tx)).values()].filter(
    (one) => one.applicationNo === applicationNo && one.arch === arch && compareVersions(one.version, bad, order) < 0,
  );
  const lacking = older.find(({ version, missing }) => version === to && missing.length > 0);
  if (lacking !== undefined)
    throw new NotPossible(`package ${lacking.version} is incomplete: it lacks ${inWords(lacking.missing)}`);
  const candidates = older.filter(({ missing, files }) => missing.length === 0 && files.length > 0);
  const wanted = to === null ? await versionsBefore(tx, aborted) : [to];
  for (const version of wanted) {
    const target = candidates.find((one) => one.version === version);
    if (target !== undefined) return target;
  }
  const known = candidates.map(({ version }) => version).sort((a, b) => compareVersions(a, b, order));
  throw new NotPossible(
    `there is no package to go back to from ${bad}${wanted.length > 0 ? ` (${wanted.join(", ")})` : ""}; ` +
      (known.length === 0 ? "add the package of the version before" : `name one with "to": ${known.join(", ")}`),
  );
}

/** What its nodes ran before, the most common first. */
async function versionsBefore(tx: Tx, { no }: Rollout): Promise<string[]> {
  const rows = await tx
    .selectFrom("nodes")
    .select(["from_version", (eb) => eb.fn.countAll().as("nodes")])
    .where("rollout_no", "=", no)
    .groupBy("from_version")
    .execute();
  return rows.sort((a, b) => Number(b.nodes) - Number(a.nodes)).flatMap(({ from_version: version }) => version ?? []);
}
