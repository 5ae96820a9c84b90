/** The admin API's own functions, for those who change the configuration without a request: upstreams, imports. */
import type { Clock } from "../clock.ts";
import { inWords } from "../rollout/missing.ts";
import { PACKAGE_TYPE } from "../rollout/model/configuration.ts";
import { appendAudit } from "../store/audit.ts";
import { settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";
import { type Desk, type Editor, NotTaken, type Tx } from "../sync/editor.ts";
import type { Release } from "../sync/release.ts";
import { updateChannel } from "./channels.ts";
import { setFloor } from "./floors.ts";
import { checkIsOurs } from "./governed.ts";
import type { Audit } from "./operation.ts";
import { packageBody } from "./package-bodies.ts";
import { type PackageObject, toPackages } from "./package-objects.ts";
import { createPackage, updatePackage } from "./packages.ts";
import { Problem, validated } from "./problem.ts";

/** Whose doing it is, as the audit log has it. */
export interface Author {
  readonly kind: "token" | "user" | "anonymous" | "system";
  readonly name: string;
  readonly id: string | null;
  readonly address: string;
  readonly requestId: string;
}

export const SYNC: Author = { kind: "system", name: "sync", id: null, address: "", requestId: "" };
/** The central server, at a site. */
export const CENTRAL: Author = { kind: "system", name: "central", id: null, address: "", requestId: "" };

export function editor(store: Store, clock: Clock, author: Author): Editor {
  return {
    async change(action, work) {
      const now = clock.now();
      try {
        return await store.write(async (tx) => {
          let changed = false;
          const audit: Audit = async ({ subject, id, applicationId = null, groupId = null, ...states }) => {
            const before = states.before && JSON.stringify(states.before);
            const after = states.after && JSON.stringify(states.after);
            if (before !== null && before === after) return;
            if (author !== CENTRAL) await checkIsOurs(tx, { subject, id, applicationId, ...states });
            changed = true;
            const { kind: actorKind, name: actor, id: actorId, address, requestId } = author;
            const who = { actorKind, actor, actorId, address, requestId };
            const what = { subject, subjectId: id, applicationId, groupId, before, after };
            await appendAudit(tx, { at: now, action, ...who, ...what });
          };
          const result = await work(deskAt(tx, now, audit));
          if (changed) await settleConfiguration(tx, author, now);
          return result;
        });
      } catch (error) {
        if (error instanceof Problem && error.status < 500) throw new NotTaken(error.message, { cause: error });
        throw error;
      }
    },
  };
}

function deskAt(tx: Tx, now: number, audit: Audit): Desk {
  return {
    tx,
    now,
    audit,
    async createPackage(application, release) {
      mustBeComplete(await createPackage(tx, application, validated(packageBody, bodyOf(release)), now, audit));
    },
    async completePackage(application, row, release) {
      const [object] = await toPackages(tx, [row]);
      if (object === undefined) return;
      const present = validated(packageBody, object);
      const made = validated(packageBody, bodyOf(release));
      const known = present.extra_files ?? [];
      const added = (made.extra_files ?? []).filter(({ name }) => known.every((one) => one.name !== name));
      const filled = known.map((file) => {
        const theirs = made.extra_files?.find(({ name }) => name === file.name);
        if (theirs === undefined) return file;
        const size = Number(file.size ?? 0) > 0 ? file.size : theirs.size;
        return { ...file, size, hash: file.hash || theirs.hash, hash256: file.hash256 || theirs.hash256 };
      });
      const body = {
        ...present,
        filename: present.filename || made.filename,
        size: Number(present.size ?? 0) > 0 ? present.size : made.size,
        hash: present.hash || made.hash,
        flatcar_action: present.flatcar_action?.sha256 ? present.flatcar_action : made.flatcar_action,
        extra_files: [...filled, ...added],
      };
      mustBeComplete(await updatePackage(tx, application, row, body, now, audit));
    },
    async pointChannel(application, channelNo, packageId) {
      const channel = await channelByNo(tx, channelNo);
      const { name, color, arch } = channel;
      await updateChannel(tx, application, channel, { name, color, arch, package_id: packageId }, now, audit);
    },
    async setFloor(channelNo, packageNo, reason) {
      const floor = await tx.selectFrom("packages").selectAll().where("no", "=", packageNo).executeTakeFirstOrThrow();
      await setFloor(tx, await channelByNo(tx, channelNo), floor, reason, now, audit);
    },
  };
}

/** What comes from an upstream is whole, or is not taken. @throws Problem 409 */
function mustBeComplete({ version, missing }: PackageObject): void {
  if (missing.length > 0) throw new Problem(409, `package ${version} is incomplete: it lacks ${inWords(missing)}`);
}

function channelByNo(tx: Tx, no: number) {
  return tx.selectFrom("channels").selectAll().where("no", "=", no).executeTakeFirstOrThrow();
}

/** In the words of the API, so that it is checked as what a person writes. */
function bodyOf(release: Release): unknown {
  const { type, version, arch, url, onlyHere, description, payload, extraFiles, action } = release;
  return {
    type,
    version,
    arch,
    url,
    ...(onlyHere && { hosting: "only" }),
    description,
    filename: payload?.name ?? null,
    size: payload === null ? null : String(payload.sizeBytes),
    hash: payload?.sha1 ?? null,
    flatcar_action: type === PACKAGE_TYPE.flatcar && payload?.sha256 ? actionOf(payload.sha256, action) : null,
    extra_files: extraFiles.map(({ name, sizeBytes, sha1, sha256 }) => ({
      name,
      size: String(sizeBytes),
      hash: sha1,
      hash256: sha256,
    })),
  };
}

function actionOf(sha256: string, action: Release["action"]) {
  return {
    sha256: Buffer.from(sha256, "hex").toString("base64"),
    event: action.event,
    chromeos_version: action.chromeosVersion,
    needs_admin: action.needsAdmin,
    is_delta: action.isDelta,
    disable_payload_backoff: action.disablePayloadBackoff,
    metadata_signature_rsa: action.metadataSignatureRsa,
    metadata_size: action.metadataSize,
    deadline: action.deadline,
  };
}
