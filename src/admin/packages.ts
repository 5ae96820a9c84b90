/** Packages: one version of an application for one architecture, with its files and hashes. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { compareVersions } from "../rollout/version.ts";
import { versionOrderOf } from "../store/version-order.ts";
import { checkStaysComplete } from "./completeness.ts";
import type { Tx } from "./context.ts";
import { type ApplicationRow, findApplication, findPackage, type PackageRow } from "./lookups.ts";
import { type Audit, type Operation, operation } from "./operation.ts";
import { checkPackage, columnsOf, type PackageBody, packageBody, writeParts } from "./package-bodies.ts";
import { type PackageObject, packageObject, toPackages } from "./package-objects.ts";
import { cut, listOrNullOf, orNull, pageQuery } from "./paging.ts";
import { notFound, Problem } from "./problem.ts";

const TAG = "packages";

const listPackages = operation({
  id: "listPackages",
  method: "get",
  path: "/apps/:app/packages",
  tag: TAG,
  summary: "The application's packages, the highest version first",
  role: "viewer",
  query: z.object({ ...pageQuery, searchVersion: z.string().max(255).default("") }),
  answer: listOrNullOf("packages", packageObject),
  async handle({ read, params, query: { searchVersion, ...page } }) {
    const application = await findApplication(read, params.app);
    const rows = await read.selectFrom("packages").selectAll().where("application_no", "=", application.no).execute();
    const order = versionOrderOf(application);
    const found = rows
      .filter(({ version }) => version.includes(searchVersion))
      .sort((a, b) => compareVersions(b.version, a.version, order) || a.arch - b.arch);
    const packages = await toPackages(read, cut(found, page));
    return { totalCount: found.length, count: packages.length, packages: orNull(packages) };
  },
});

const postPackage = operation({
  id: "createPackage",
  method: "post",
  path: "/apps/:app/packages",
  tag: TAG,
  summary: "Add a package; nothing is offered before a channel points to it",
  description: "What a Flatcar package lacks is in `missing`. It may come later; until then it is offered to nobody.",
  role: "admin",
  body: packageBody,
  answer: packageObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) =>
      createPackage(tx, await findApplication(tx, call.params.app), call.body, now, audit),
    ),
});

const getPackage = operation({
  id: "getPackage",
  method: "get",
  path: "/apps/:app/packages/:package",
  tag: TAG,
  summary: "One package, with its files and hashes",
  role: "viewer",
  answer: packageObject,
  async handle(call) {
    const application = await findApplication(call.read, call.params.app);
    const row = await findPackage(call.read, application, call.params.package);
    const [found] = await toPackages(call.read, [row]);
    if (found === undefined) throw notFound("package", call.params.package);
    call.tag(stateOf(found));
    return found;
  },
});

const putPackage = operation({
  id: "updatePackage",
  method: "put",
  path: "/apps/:app/packages/:package",
  tag: TAG,
  summary: "Change a package: what the body leaves out is cleared, but for its action and hosting",
  description: "Its architecture and application never change.",
  role: "admin",
  body: packageBody,
  answer: packageObject,
  handle: (call) =>
    call.configure(async (tx, now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const before = await findPackage(tx, application, call.params.package);
      call.expect(stateOf(await shown(tx, before.no)));
      const after = await updatePackage(tx, application, before, call.body, now, audit);
      call.tag(stateOf(after));
      return after;
    }),
});

const removePackage = operation({
  id: "deletePackage",
  method: "delete",
  path: "/apps/:app/packages/:package",
  tag: TAG,
  summary: "Delete a package; a channel that points to it is left without one",
  role: "admin",
  answer: null,
  handle: (call) =>
    call.configure(async (tx, _now, audit) => {
      const application = await findApplication(tx, call.params.app);
      const row = await findPackage(tx, application, call.params.package);
      call.expect(stateOf(await shown(tx, row.no)));
      await deletePackage(tx, row, audit);
    }),
});

export const packageOperations: readonly Operation[] = [
  listPackages,
  postPackage,
  getPackage,
  putPackage,
  removePackage,
];

export async function createPackage(
  tx: Tx,
  application: ApplicationRow,
  body: PackageBody,
  now: number,
  audit: Audit,
): Promise<PackageObject> {
  await checkPackage(tx, application, body, null);
  const { no } = await tx
    .insertInto("packages")
    .values({ id: randomUUID(), application_no: application.no, arch: body.arch, created_at: now, ...columnsOf(body) })
    .returning("no")
    .executeTakeFirstOrThrow();
  await writeParts(tx, no, body, now);
  const made = await shown(tx, no);
  await audit({ ...subject(made), before: null, after: stateOf(made) });
  return made;
}

export async function updatePackage(
  tx: Tx,
  application: ApplicationRow,
  row: PackageRow,
  body: PackageBody,
  now: number,
  audit: Audit,
): Promise<PackageObject> {
  const before = await shown(tx, row.no);
  await checkPackage(tx, application, { ...body, arch: row.arch }, row);
  await tx.updateTable("packages").set(columnsOf(body)).where("no", "=", row.no).execute();
  await writeParts(tx, row.no, body, now);
  const after = await shown(tx, row.no);
  await checkStaysComplete(tx, row, before.missing, after.missing);
  await audit({ ...subject(after), before: stateOf(before), after: stateOf(after) });
  return after;
}

export async function deletePackage(tx: Tx, row: PackageRow, audit: Audit): Promise<void> {
  const before = await shown(tx, row.no);
  const floor = await tx
    .selectFrom("channel_floors")
    .select("channel_no")
    .where("package_no", "=", row.no)
    .executeTakeFirst();
  if (floor !== undefined) {
    throw new Problem(409, `package ${row.version} is a floor of a channel; take that away first`);
  }
  await tx.updateTable("channels").set({ package_no: null }).where("package_no", "=", row.no).execute();
  await tx.deleteFrom("packages").where("no", "=", row.no).execute();
  await audit({ ...subject(before), before: stateOf(before), after: null });
}

function subject({ id, application_id: applicationId }: PackageObject) {
  return { subject: "package", id, applicationId };
}

/** What a person has set of it: for the audit log, and to tell whether it has changed. */
function stateOf({
  id: _,
  created_ts: __,
  flatcar_action: action,
  extra_files: files,
  missing: ___,
  floor_reason: ____,
  ...state
}: PackageObject): object {
  return {
    ...state,
    flatcar_action: action && { ...action, id: undefined, created_ts: undefined },
    extra_files: files?.map(({ name, size, hash, hash256 }) => ({ name, size, hash, hash256 })) ?? null,
  };
}

async function shown(tx: Tx, no: number): Promise<PackageObject> {
  const row = await tx.selectFrom("packages").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
  const [found] = await toPackages(tx, [row]);
  if (found === undefined) throw notFound("package", row.id);
  return found;
}
