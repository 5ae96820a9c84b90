/** The configuration, read whole into the engine's snapshot. A few hundred rows; read again only when its revision moves. */
import type { Kysely, Selectable } from "kysely";
import { buildFleet } from "../rollout/fleet.ts";
import { archName } from "../rollout/health.ts";
import { parseInterval } from "../rollout/interval.ts";
import { missingOf } from "../rollout/missing.ts";
import type { Arch } from "../rollout/model/arch.ts";
import type {
  Application,
  Channel,
  FlatcarAction,
  Floor,
  Group,
  Package,
  PackageFile,
  UpdatesStop,
} from "../rollout/model/configuration.ts";
import type { Fleet } from "../rollout/model/fleet.ts";
import type { ClosedSlice, Completion, Finished, Rollout, RolloutState } from "../rollout/model/rollout.ts";
import { readStrategy, type StrategyDocument } from "../rollout/strategy.ts";
import { compareVersions } from "../rollout/version.ts";
import { type FreezeDocument, readFreeze, readWindow, type WindowDocument } from "../rollout/windows.ts";
import { fits, type JudgedFile, loadHosted } from "./hosted.ts";
import type { Tables } from "./tables.ts";
import { versionOrderOf } from "./version-order.ts";

export interface FleetParts {
  readonly applications: readonly Application[];
  readonly groups: readonly Group[];
  readonly rollouts: readonly Rollout[];
  readonly completions: readonly Completion[];
  readonly packages: Iterable<Package>;
}

export async function loadFleet(db: Kysely<Tables>): Promise<Fleet> {
  const { revision } = await db.selectFrom("meta").select("revision").executeTakeFirstOrThrow();
  return buildFleet(revision, await loadParts(db));
}

export async function loadParts(db: Kysely<Tables>): Promise<FleetParts> {
  const applications = await db.selectFrom("applications").selectAll().orderBy("no").execute();
  const packages = await loadPackages(db);
  const channels = await loadChannels(db, packages);
  const groups = await db.selectFrom("groups").selectAll().orderBy("no").execute();
  const rollouts = await db.selectFrom("rollouts").selectAll().where("present", "=", 1).orderBy("no").execute();
  return {
    applications: applications.map((row) => ({
      no: row.no,
      id: row.id,
      productId: row.product_id,
      name: row.name,
      versionOrder: versionOrderOf(row),
    })),
    groups: groups.map((row) => toGroup(row, channels)),
    rollouts: rollouts.flatMap((row) => {
      const target = packages.get(row.package_no);
      return target === undefined ? [] : [toRollout(row, target)];
    }),
    packages: packages.values(),
    completions: await loadCompletions(
      db,
      rollouts.flatMap((row) => (row.state === "scheduled" ? (packages.get(row.package_no)?.version ?? []) : [])),
    ),
  };
}

/** Of these versions, what was completed when it was superseded. One that its gate has halted since was not. */
async function loadCompletions(db: Kysely<Tables>, versions: readonly string[]): Promise<Completion[]> {
  if (versions.length === 0) return [];
  const rows = await db
    .selectFrom("rollouts")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .innerJoin("rollout_history as completed", "completed.rollout_no", "rollouts.no")
    .innerJoin("rollout_history as superseded", "superseded.rollout_no", "rollouts.no")
    .select(["rollouts.group_no", "rollouts.package_no", "packages.version"])
    .select((eb) => eb.fn.max("completed.at").as("at"))
    .where("packages.version", "in", versions)
    .where("rollouts.state", "=", "superseded")
    .where("rollouts.undoes", "is", null)
    .where("completed.to_state", "=", "completed")
    .where("completed.from_state", "!=", "completed")
    .where("superseded.to_state", "=", "superseded")
    .where("superseded.from_state", "=", "completed")
    .groupBy(["rollouts.no", "rollouts.group_no", "rollouts.package_no", "packages.version"])
    .execute();
  return rows.map((row) => ({ groupNo: row.group_no, packageNo: row.package_no, version: row.version, at: row.at }));
}

export async function loadPackages(db: Kysely<Tables>): Promise<Map<number, Package>> {
  const actions = new Map<number, FlatcarAction>();
  for (const row of await db.selectFrom("flatcar_actions").selectAll().execute())
    actions.set(row.package_no, toAction(row));
  const extraFiles = new Map<number, PackageFile[]>();
  for (const row of await db.selectFrom("package_files").selectAll().orderBy("no").execute()) {
    extraFiles.set(row.package_no, [...(extraFiles.get(row.package_no) ?? []), toFile(row)]);
  }
  const blacklists = new Map<number, number[]>();
  for (const row of await db.selectFrom("package_blacklist").selectAll().execute()) {
    blacklists.set(row.package_no, [...(blacklists.get(row.package_no) ?? []), row.channel_no]);
  }
  const hosted = await loadHosted(db);
  const packages = new Map<number, Package>();
  const rows = await db
    .selectFrom("packages")
    .innerJoin("applications", "applications.no", "packages.application_no")
    .selectAll("packages")
    .select(["applications.id as application_id", "applications.version_scheme", "applications.build_metadata"])
    .execute();
  for (const row of rows) {
    const files = filesOf(row, actions.get(row.no)?.sha256, extraFiles.get(row.no) ?? []);
    const { urls, known } = placesOf(row, files, hosted.get(row.no) ?? new Map());
    packages.set(row.no, {
      no: row.no,
      id: row.id,
      applicationNo: row.application_no,
      type: row.type,
      version: row.version,
      versionOrder: versionOrderOf(row),
      arch: toArch(row.arch),
      urls,
      files: known,
      action: actions.get(row.no) ?? null,
      missing: missingOf({ ...row, sha256: actions.get(row.no)?.sha256 ?? null }),
      blacklistedChannelNos: blacklists.get(row.no) ?? [],
    });
  }
  return packages;
}

type PackageRow = Selectable<Tables["packages"]>;

/** What a package says of its files, whatever is here of them. */
export async function declaredFiles(db: Kysely<Tables>, row: PackageRow): Promise<readonly PackageFile[]> {
  const action = await db
    .selectFrom("flatcar_actions")
    .select("sha256")
    .where("package_no", "=", row.no)
    .executeTakeFirst();
  const extra = await db
    .selectFrom("package_files")
    .selectAll()
    .where("package_no", "=", row.no)
    .orderBy("no")
    .execute();
  return filesOf(row, action?.sha256, extra.map(toFile));
}

/** The payload itself first. None when the package has no file name. */
function filesOf(
  { filename: name, size, hash }: PackageRow,
  sha256: string | undefined,
  extraFiles: readonly PackageFile[],
): readonly PackageFile[] {
  if (!name) return [];
  return [{ name, sizeBytes: Number(size ?? 0), sha1: hash || null, sha256: hexOf(sha256) }, ...extraFiles];
}

function toFile(row: Selectable<Tables["package_files"]>): PackageFile {
  return { name: row.name, sizeBytes: Number(row.size), sha1: row.hash || null, sha256: row.hash256 || null };
}

/**
 * Where nodes get the files: from here when all of them are here, else from the package's URL; nowhere when one of them is known
 * to be wrong, since the URL has the same. What is here is known to the byte, so that sizes and hashes that the package leaves out
 * are told, too.
 */
function placesOf(
  { application_id: applicationId, arch, version, url, hosting }: PackageRow & { readonly application_id: string },
  files: readonly PackageFile[],
  hosted: ReadonlyMap<string, JudgedFile>,
): { urls: readonly string[]; known: readonly PackageFile[] } {
  const isRefused = files.some((file) => {
    const here = hosted.get(file.name);
    return here !== undefined && here.refused !== null && fits(here, file);
  });
  const elsewhere = hosting === "only" || isRefused ? [] : [url];
  const known: PackageFile[] = [];
  for (const file of files) {
    const here = hosted.get(file.name);
    if (here === undefined || here.refused !== null || !fits(here, file)) return { urls: elsewhere, known: files };
    const hashes = { sha1: file.sha1 ?? base64Of(here.sha1), sha256: file.sha256 ?? here.sha256 };
    known.push({ name: file.name, sizeBytes: here.sizeBytes, ...hashes });
  }
  if (files.length === 0) return { urls: elsewhere, known };
  const here = `/${applicationId}/${archName(toArch(arch))}/${encodeURIComponent(version)}/`;
  return { urls: [here, ...elsewhere], known };
}

function base64Of(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}

async function loadChannels(db: Kysely<Tables>, packages: ReadonlyMap<number, Package>): Promise<Map<number, Channel>> {
  const floors = new Map<number, Floor[]>();
  for (const row of await db.selectFrom("channel_floors").selectAll().execute()) {
    const floor = packages.get(row.package_no);
    if (floor === undefined) continue;
    floors.set(row.channel_no, [...(floors.get(row.channel_no) ?? []), { package: floor, reason: row.reason }]);
  }
  const channels = new Map<number, Channel>();
  for (const row of await db.selectFrom("channels").selectAll().execute()) {
    channels.set(row.no, {
      no: row.no,
      id: row.id,
      applicationNo: row.application_no,
      name: row.name,
      arch: toArch(row.arch),
      package: row.package_no === null ? null : (packages.get(row.package_no) ?? null),
      floors: (floors.get(row.no) ?? []).sort(ascending),
    });
  }
  return channels;
}

function ascending({ package: a }: Floor, { package: b }: Floor): number {
  return compareVersions(a.version, b.version, a.versionOrder);
}

function toGroup(row: Selectable<Tables["groups"]>, channels: ReadonlyMap<number, Channel>): Group {
  return {
    no: row.no,
    id: row.id,
    applicationNo: row.application_no,
    name: row.name,
    track: row.track,
    channel: row.channel_no === null ? null : (channels.get(row.channel_no) ?? null),
    policy: {
      updatesEnabled: row.policy_updates_enabled === 1,
      safeMode: row.policy_safe_mode === 1,
      officeHours: row.policy_office_hours === 1,
      timezone: row.policy_timezone,
      periodMs: toMilliseconds(row.policy_period_interval, `group ${row.id}: policy_period_interval`),
      maxUpdatesPerPeriod: row.policy_max_updates_per_period,
      updateTimeoutMs: toMilliseconds(row.policy_update_timeout, `group ${row.id}: policy_update_timeout`),
      // Checked when they came in.
      windows: (JSON.parse(row.maintenance_windows) as WindowDocument[]).map(readWindow),
      freezes: (JSON.parse(row.freezes) as FreezeDocument[])
        .map((freeze) => readFreeze(freeze, row.policy_timezone))
        .sort((a, b) => a.startsAt - b.startsAt),
    },
    updatesStopped: stopOf(row.updates_stopped),
  };
}

export function stopOf(text: string | null): UpdatesStop | null {
  return text === null ? null : (JSON.parse(text) as UpdatesStop); // written by `stopUpdates` alone
}

function toRollout(row: Selectable<Tables["rollouts"]>, target: Package): Rollout {
  return {
    no: row.no,
    id: row.id,
    groupNo: row.group_no,
    package: target,
    // What follows was written by us alone (store/rollouts.ts), from the very same types.
    strategy: readStrategy(JSON.parse(row.strategy) as StrategyDocument),
    seed: row.seed,
    undoes: row.undoes,
    groupNodes: row.group_nodes,
    revision: row.revision,
    state: row.state as RolloutState,
    stateAt: row.state_at,
    startAt: row.start_at,
    stage: row.stage,
    stageOpenedAt: row.stage_opened_at,
    awaitsNodes: row.awaits_nodes === 1,
    bakingSince: row.baking_since,
    awaitsApproval: row.awaits_approval === 1,
    pausedByGate: row.paused_by_gate === 1,
    closed: JSON.parse(row.closed) as ClosedSlice[],
    baseline: toBaseline(row.baseline),
  };
}

/** One from before fall-backs after success were counted has none of them. */
function toBaseline(text: string): Rollout["baseline"] {
  const cells = JSON.parse(text) as Record<string, Omit<Finished, "relapsed">>;
  return Object.fromEntries(Object.entries(cells).map(([cell, finished]) => [cell, { relapsed: 0, ...finished }]));
}

function toAction(row: Selectable<Tables["flatcar_actions"]>): FlatcarAction {
  return {
    event: row.event,
    chromeosVersion: row.chromeos_version,
    sha256: row.sha256,
    needsAdmin: row.needs_admin === 1,
    isDelta: row.is_delta === 1,
    disablePayloadBackoff: row.disable_payload_backoff === 1,
    metadataSignatureRsa: row.metadata_signature_rsa,
    metadataSize: row.metadata_size,
    deadline: row.deadline,
  };
}

/** The action's base64 SHA-256 is the payload's own: the same in hexadecimal for the clients that look there. */
function hexOf(sha256: string | undefined): string | null {
  const bytes = Buffer.from(sha256 ?? "", "base64");
  return bytes.length === 32 ? bytes.toString("hex") : null;
}

function toMilliseconds(interval: string, where: string): number {
  const milliseconds = parseInterval(interval);
  if (milliseconds === null) throw new Error(`${where}: "${interval}" is not an interval; write e.g. "15 minutes"`);
  return milliseconds;
}

export function toArch(number: number): Arch {
  return number === 1 || number === 2 || number === 3 ? number : 0;
}
