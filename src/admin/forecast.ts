/** What a rollout would do: forecast, with nothing changed. */
import { type ForecastRequest, forecastObject, forecastSchema, MAX_NODES, madeUpNodes, planOf, toForecastView } from "../forecast/document.ts"; // biome-ignore format: one line
import { Forecaster } from "../forecast/forecaster.ts";
import type { ForecastNode, Plan } from "../forecast/scenario.ts";
import { isHosted, mostDownloads } from "../rollout/downloads.ts";
import type { Group } from "../rollout/model/configuration.ts";
import type { DownloadLimits } from "../rollout/model/server.ts";
import { NotPossible } from "../rollout/run.ts";
import { sharedAfter } from "../rollout/shared-id.ts";
import { compareVersions } from "../rollout/version.ts";
import { labelsOf } from "../store/care.ts";
import { loadFleet, loadPackages, toArch } from "../store/fleet.ts";
import { strategyOf } from "../store/rollouts.ts";
import { versionOrderOf } from "../store/version-order.ts";
import type { Db } from "./context.ts";
import { countOf, findApplication, findGroup } from "./lookups.ts";
import { type Operation, operation } from "./operation.ts";
import { invalid, notFound } from "./problem.ts";
import { checkVersion } from "./version-schemes.ts";

/** Of nodes that are read and handed on at a time. */
const PORTION = 5_000;

export function forecastOperations(options: { readonly downloads: DownloadLimits }): readonly Operation[] {
  const forecaster = new Forecaster();
  const simulateRollout = operation({
    id: "simulateRollout",
    method: "post",
    path: "/apps/:app/groups/:group/rollouts/simulate",
    tag: "rollouts",
    summary: "What a rollout would do: the engine itself on virtual time, over the group's nodes or made-up ones",
    role: "viewer",
    readsOnly: true,
    body: forecastSchema,
    bodyOptional: true,
    answer: forecastObject,
    async handle(call) {
      const { body, read, params, now } = call;
      const application = await findApplication(read, params.app);
      const row = await findGroup(read, application, params.group);
      if (body.version !== undefined) checkVersion("version", body.version, application);
      if (body.from_version !== undefined) checkVersion("from_version", body.from_version, application);
      const group = (await loadFleet(read)).groupByNo.get(row.no);
      if (group === undefined) throw notFound("group", params.group);
      const version = versionOf(body, group);
      const plan = planOf(body, {
        version,
        order: versionOrderOf(application),
        strategy: await strategyOf(read, group.no),
        policy: { ...group.policy, updatesEnabled: group.policy.updatesEnabled && group.updatesStopped === null },
        mostDownloads: await mostDownloadsOf(read, group, version, options.downloads),
        now,
      });
      checkBelow(body, plan);
      const since = now - plan.strategy.activeWithinMs;
      const nodes = body.nodes === undefined ? await nodesOf(read, group, since, now) : madeUpNodes(body, plan);
      return toForecastView(await forecaster.run(plan, nodes, call.left));
    },
  });
  return [simulateRollout];
}

/** By the application's own order, and also where the version is the channel's. */
function checkBelow({ from_version: from }: ForecastRequest, { version, versionOrder: order }: Plan): void {
  if (from === undefined || compareVersions(from, version, order) < 0) return;
  throw invalid("from_version", `is not below ${version}: there is nothing to update`);
}

function versionOf({ version }: ForecastRequest, group: Group): string {
  const wanted = version ?? group.channel?.package?.version;
  if (wanted !== undefined) return wanted;
  throw new NotPossible(
    `group "${group.name}" has nothing to roll out: its channel points to no package; give version`,
  );
}

/** Null: nodes get the files of this version elsewhere, or there is no limit. */
async function mostDownloadsOf(
  db: Db,
  { channel, applicationNo, policy }: Group,
  version: string,
  limits: DownloadLimits,
): Promise<number | null> {
  const ofVersion = [...(await loadPackages(db)).values()].filter(
    (one) => one.applicationNo === applicationNo && one.version === version,
  );
  const wanted = ofVersion.find(({ arch }) => arch === channel?.arch) ?? ofVersion[0];
  return wanted === undefined || !isHosted(wanted) ? null : mostDownloads(limits, wanted, policy);
}

/** The group's nodes that are still there, in portions. Those that are held, or are several machines, would get nothing. */
async function nodesOf(
  db: Db,
  group: Group,
  since: number,
  now: number,
): Promise<AsyncIterable<readonly ForecastNode[]>> {
  const active = db
    .selectFrom("nodes")
    .leftJoin("seen", "seen.node_no", "nodes.no")
    .where("group_no", "=", group.no)
    .where("nodes.held", "is", null)
    .where((eb) => eb.or([eb("nodes.shared_at", "is", null), eb("nodes.shared_at", "<=", sharedAfter(now))]))
    .where((eb) => eb(eb.fn.coalesce("seen.at", "nodes.created_at"), ">", since));
  const count = await countOf(active.select((eb) => eb.fn.countAll().as("count")));
  if (count === 0)
    throw new NotPossible(
      `group "${group.name}" has no nodes that are there and not held; give nodes: how many to make up`,
    );
  if (count > MAX_NODES) {
    throw invalid(
      "nodes",
      `the group has ${count}, and a forecast takes ${MAX_NODES}: say how many to make up instead`,
    );
  }
  return (async function* () {
    for (let after = 0; ; ) {
      const rows = await active
        .select([
          "nodes.no",
          "nodes.id",
          "nodes.oem",
          "nodes.arch",
          "nodes.version",
          "nodes.alias",
          "nodes.machine_alias",
          "nodes.labels",
        ])
        .where("nodes.no", ">", after)
        .orderBy("nodes.no")
        .limit(PORTION)
        .execute();
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last.no;
      yield rows.map(({ id, oem, arch, version, alias, machine_alias: machineAlias, labels }) => ({
        id,
        oem,
        arch: toArch(arch),
        version,
        alias: alias || machineAlias,
        labels: labelsOf(labels),
      }));
    }
  })();
}
