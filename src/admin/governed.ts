/** Applications that come from a central server: what may be changed here all the same. */
import { fieldsBetween } from "../fleet/difference.ts";
import type { Tx } from "./context.ts";
import { Problem } from "./problem.ts";
import { appliedDocument } from "./site-document.ts";

/** What the document of the central server says, and what would move its channels. Nodes, rollouts and files are the site's own. */
const CENTRALS: ReadonlySet<string> = new Set(["application", "package", "channel", "floor", "group", "upstream"]);

/** Of a group: whether its updates are on, and what safe mode has stopped here, with the reason why somebody lets them go on. */
const SITES_OWN = /^(policy_updates_enabled|updates_stopped(_by|\..*)?|reason)$/;

interface Change {
  readonly subject: string;
  readonly id: string;
  readonly applicationId?: string | null;
  readonly before: object | null;
  readonly after: object | null;
}

/**
 * To be asked of every change that a person makes.
 * @throws Problem 409 when it is to be made at the central server
 */
export async function checkIsOurs(tx: Tx, { subject, id, applicationId, before, after }: Change): Promise<void> {
  if (!CENTRALS.has(subject) || !applicationId) return;
  // One that was there before can go.
  if (subject === "upstream" && after === null) return;
  const row = await tx.selectFrom("central").select(["url", "applications"]).executeTakeFirst();
  if (row === undefined || !(JSON.parse(row.applications) as string[]).includes(applicationId)) return;
  const isSwitch =
    subject === "group" &&
    before !== null &&
    after !== null &&
    fieldsBetween(before, after).every(({ field }) => SITES_OWN.test(field));
  const where = `the configuration of this application comes from ${row.url}: change it there`;
  if (!isSwitch) {
    throw new Problem(409, `${where}. Here, rollouts can be steered, and a group's updates turned off`);
  }
  const turnsOn = "policy_updates_enabled" in after && after.policy_updates_enabled === true;
  if (turnsOn && !(await isOnAtCentral(tx, id))) {
    throw new Problem(409, `${where}. The group's updates are turned off at the central server`);
  }
}

/** With which payloads of the application are to be signed where it comes from; null: without one, or it comes from nowhere else. */
export async function centralsKey(tx: Tx, applicationId: string): Promise<string | null> {
  const applications = (await appliedDocument(tx))?.fleet.applications ?? [];
  return applications.find(({ id }) => id === applicationId)?.payload_key ?? null;
}

async function isOnAtCentral(tx: Tx, groupId: string): Promise<boolean> {
  const applications = (await appliedDocument(tx))?.fleet.applications ?? [];
  const groups = applications.flatMap(({ groups = [] }) => groups);
  return groups.find(({ id }) => id === groupId)?.policy?.updates_enabled !== false;
}
