/**
 * The fleet as a file: applications with their packages, channels, floors and groups. What it does not name is left alone,
 * and so are fields that it leaves out; a new group gets the policy of `FIRST_POLICY`.
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { ARCH, type Arch } from "../rollout/model/arch.ts";
import { BUILD_METADATA, PACKAGE_TYPE, VERSION_SCHEMES } from "../rollout/model/configuration.ts";
import { freezesSchema, strategyObject, strategySchema, windowsSchema } from "./strategy.ts";

const ARCH_NAMES = ["all", "amd64", "aarch64", "x86"] as const;
const TYPE_NAMES = ["flatcar", "docker", "rkt", "other"] as const;
export const archSchema = z.enum(ARCH_NAMES);
const arch = archSchema;

const id = z.uuid().optional();
const text = z.string().max(10_000).optional();

/** Checked further where they are written: these are the fields of the API. */
const packageInFile = z.strictObject({
  version: z.string().max(255),
  arch,
  /** A number: one that has no name. */
  type: z
    .union([
      z.enum(TYPE_NAMES),
      z
        .int()
        .min(TYPE_NAMES.length + 1)
        .max(1_000),
    ])
    .optional(),
  url: z.string().max(2048).optional(),
  filename: z.string().max(100).nullable().optional(),
  description: text.nullable(),
  size: z.union([z.string(), z.int().nonnegative()]).nullable().optional(),
  /** SHA-1, base64. */
  hash: z.string().nullable().optional(),
  flatcar_action: z
    .strictObject({
      /** Base64. */
      sha256: z.string(),
      event: z.string().optional(),
      chromeos_version: z.string().optional(),
      needs_admin: z.boolean().optional(),
      is_delta: z.boolean().optional(),
      disable_payload_backoff: z.boolean().optional(),
      metadata_signature_rsa: z.string().optional(),
      metadata_size: z.string().optional(),
      deadline: z.string().optional(),
    })
    .optional(),
  /** Where nodes get its files: first from this server, or only from it. */
  hosting: z.enum(["first", "only"]).optional(),
  extra_files: z
    .array(
      z.strictObject({
        name: z.string(),
        size: z.union([z.string(), z.int().nonnegative()]).optional(),
        /** SHA-1, base64. */
        hash: z.string().optional(),
        /** SHA-256, hexadecimal. */
        hash256: z.string().optional(),
      }),
    )
    .max(1_000)
    .optional(),
  /** Names of channels of its architecture that must not point to it. */
  channels_blacklist: z.array(z.string()).max(1_000).optional(),
});

const channelInFile = z.strictObject({
  id,
  name: z.string().min(1).max(25),
  arch,
  color: z.string().min(1).max(25).optional(),
  /** The version that it points to; null: none. */
  package: z.string().max(255).nullable().optional(),
  floors: z
    .array(z.strictObject({ version: z.string().max(255), reason: z.string().max(500).nullable().optional() }))
    .max(1_000)
    .optional(),
});

const policyInFile = z.strictObject({
  updates_enabled: z.boolean().optional(),
  safe_mode: z.boolean().optional(),
  office_hours: z.boolean().optional(),
  timezone: z.string().optional(),
  period_interval: z.string().optional(),
  max_updates_per_period: z.int().optional(),
  update_timeout: z.string().optional(),
});

const groupInFile = (strategy: z.ZodType) =>
  z.strictObject({
    id,
    name: z.string().min(1).max(50),
    description: text,
    /** Null: the group's own id. */
    track: z.string().max(256).nullable().optional(),
    channel: z.strictObject({ name: z.string(), arch }).nullable().optional(),
    policy: policyInFile.optional(),
    strategy: strategy.nullable().optional(),
    maintenance_windows: windowsSchema.optional(),
    freezes: freezesSchema.optional(),
  });

const fleetOf = (strategy: z.ZodType) =>
  z.strictObject({
    applications: z
      .array(
        z.strictObject({
          id,
          name: z.string().min(1).max(50),
          description: text,
          product_id: z.string().max(155).nullable().optional(),
          /** Payloads must be signed with it: RSA, PEM; null: whoever has signed them. */
          payload_key: z.string().max(10_000).nullable().optional(),
          /** What its versions are: MAJOR.MINOR.PATCH, or four numbers. */
          version_scheme: z.enum(VERSION_SCHEMES).optional(),
          /** Whether versions that differ in build metadata alone count as the same, or are ordered by the date in it. */
          build_metadata: z.enum(BUILD_METADATA).optional(),
          packages: z.array(packageInFile).max(100_000).optional(),
          channels: z.array(channelInFile).max(10_000).optional(),
          groups: z.array(groupInFile(strategy)).max(10_000).optional(),
        }),
      )
      .max(1_000),
  });

/** As people write it: a strategy may be a preset's name. */
export const fleetSchema = fleetOf(strategySchema);
/** As it is exported. */
export const fleetObject = fleetOf(strategyObject).meta({ id: "Fleet" });

export type FleetDocument = z.output<typeof fleetSchema>;
export type ApplicationInFile = FleetDocument["applications"][number];
export type PackageInFile = z.output<typeof packageInFile>;
export type ChannelInFile = z.output<typeof channelInFile>;
export type GroupInFile = NonNullable<ApplicationInFile["groups"]>[number];

/** Policies of new groups: no limits, as the field's incumbent starts with. */
export const FIRST_POLICY = {
  updates_enabled: true,
  safe_mode: false,
  office_hours: false,
  timezone: "Europe/Berlin",
  period_interval: "1 minutes",
  max_updates_per_period: 999_999,
  update_timeout: "60 minutes",
} as const;
export const FIRST_COLOR = "#14b9d6";

export const archNumber = (name: (typeof ARCH_NAMES)[number]): Arch => ARCH[name];
export const archName = (number: number): (typeof ARCH_NAMES)[number] => ARCH_NAMES[number] ?? "all";
type PackageTypeInFile = (typeof TYPE_NAMES)[number] | number;
export const typeNumber = (type: PackageTypeInFile): number => (typeof type === "number" ? type : PACKAGE_TYPE[type]);
export const typeName = (number: number): PackageTypeInFile => TYPE_NAMES[number - 1] ?? number;

/** @throws Error with one line for each thing that is wrong, and where */
export function readFleetFile(file: string): FleetDocument {
  const parsed = fleetSchema.safeParse(parse(readFileSync(file, "utf8")));
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map(({ path, message }) => `${file}: ${path.join(".")}: ${message}`);
  throw new Error(lines.join("\n"));
}

/** For editors. */
export function fleetJsonSchema(): object {
  return {
    ...z.toJSONSchema(fleetSchema, { target: "draft-2020-12", io: "input", unrepresentable: "any" }),
    title: "A Turnout fleet",
    description: "Applications, packages, channels, floors and groups, for `turnout plan` and `turnout apply`",
  };
}
