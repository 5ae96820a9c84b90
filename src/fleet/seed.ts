/** The fleet that a new server starts with, from a file. */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { ARCH } from "../rollout/model.ts";
import { SYSTEM, settleConfiguration } from "../store/rollouts.ts";
import type { Store } from "../store/store.ts";

const archName = z.enum(["all", "amd64", "aarch64", "x86"]);
const fleetFile = z.strictObject({
  applications: z.array(
    z.strictObject({
      id: z.uuid(),
      name: z.string().min(1),
      description: z.string().default(""),
      channels: z.array(
        z.strictObject({ id: z.uuid(), name: z.string().min(1), arch: archName, color: z.string().min(1) }),
      ),
      groups: z.array(
        z.strictObject({
          id: z.uuid(),
          name: z.string().min(1),
          description: z.string().default(""),
          track: z.string().min(1),
          channel: z.strictObject({ name: z.string(), arch: archName }),
        }),
      ),
    }),
  ),
});

/** Policies of the first groups: no limits, as the field's incumbent starts with. */
const FIRST_POLICY = {
  policy_updates_enabled: 1,
  policy_safe_mode: 0,
  policy_office_hours: 0,
  policy_timezone: "Europe/Berlin",
  policy_period_interval: "1 minutes",
  policy_max_updates_per_period: 999_999,
  policy_update_timeout: "60 minutes",
} as const;

/** @returns whether anything was made: nothing is when there is any application already. */
export async function seedFleet(store: Store, file: string, now: number): Promise<boolean> {
  const present = await store.read.selectFrom("applications").select("no").limit(1).executeTakeFirst();
  if (present !== undefined) return false;
  const { applications } = readFleetFile(file);
  await store.write(async (tx) => {
    for (const { id, name, description, channels, groups } of applications) {
      const application = await tx
        .insertInto("applications")
        .values({ id, name, description, product_id: null, created_at: now })
        .returning("no")
        .executeTakeFirstOrThrow();
      const channelNos = new Map<string, number>();
      for (const channel of channels) {
        const { no } = await tx
          .insertInto("channels")
          .values({
            id: channel.id,
            application_no: application.no,
            name: channel.name,
            color: channel.color,
            arch: ARCH[channel.arch],
            package_no: null,
            created_at: now,
          })
          .returning("no")
          .executeTakeFirstOrThrow();
        channelNos.set(`${channel.name} ${channel.arch}`, no);
      }
      for (const group of groups) {
        const channelNo = channelNos.get(`${group.channel.name} ${group.channel.arch}`);
        if (channelNo === undefined) {
          throw new Error(
            `${file}: group "${group.name}" follows ${group.channel.name}/${group.channel.arch}: there is no such channel`,
          );
        }
        await tx
          .insertInto("groups")
          .values({
            id: group.id,
            application_no: application.no,
            name: group.name,
            description: group.description,
            channel_no: channelNo,
            track: group.track,
            ...FIRST_POLICY,
            created_at: now,
          })
          .execute();
      }
    }
    await settleConfiguration(tx, SYSTEM, now);
  });
  return true;
}

function readFleetFile(file: string): z.infer<typeof fleetFile> {
  const parsed = fleetFile.safeParse(parse(readFileSync(file, "utf8")));
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map(({ path, message }) => `${file}: ${path.join(".")}: ${message}`);
  throw new Error(lines.join("\n"));
}
