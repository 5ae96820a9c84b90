/**
 * The shape of a strategy, of maintenance windows and of freezes as they come in: from the API's JSON, from a file's YAML.
 * Source: ROLLOUTS.md, "Stages".
 */
import { z } from "zod";
import { notADuration, parseDuration } from "../rollout/interval.ts";
import { PRESET_NAMES, PRESETS, readRampStart, type StrategyDocument } from "../rollout/strategy.ts";
import { isRangeOfAny, rangeRule } from "../rollout/version-range.ts";
import { checkFreeze, readWindow } from "../rollout/windows.ts";
import { someLabels } from "./labels.ts";

const MAX_STAGES = 50;
/** Each `*` multiplies what matching may cost. */
const MAX_STARS = 4;

/** `over: 0s` is a duration, too. */
export const duration = z
  .string()
  .max(100)
  .refine((text) => parseDuration(text) !== null, { error: ({ input }) => notADuration(String(input)) });

const percent = z.number().min(0).max(100);

/** What picks nodes out. */
export const matchFields = {
  oem: z.array(z.string().max(64)).min(1).optional(),
  version: z
    .string()
    .max(255)
    // Of which of the two kinds it has to be, its application says.
    .refine(isRangeOfAny, { error: ({ input }) => rangeRule(String(input), "semver") })
    .optional(),
  id: z.array(z.string().min(1).max(128)).min(1).max(10_000).optional(),
  alias: z
    .string()
    .min(1)
    .max(256)
    .refine((pattern) => pattern.split("*").length - 1 <= MAX_STARS, `may have ${MAX_STARS} stars at most`)
    .optional(),
};

const match = z
  .strictObject({ ...matchFields, labels: someLabels.optional() })
  .refine(
    (names) => Object.values(names).some((one) => one !== undefined),
    "name at least one of oem, version, id, alias, labels",
  );

export const stageFields = {
  percent: percent.optional(),
  match: match.optional(),
  over: duration.optional(),
  bake: duration.optional(),
  approval: z.enum(["manual", "auto"]).optional(),
  max_duration: duration.optional(),
};

const stage = z
  .strictObject(stageFields)
  .refine((one) => one.percent !== undefined || one.match !== undefined, "needs percent, match or both");

/** The share of everybody may not fall: a node that a stage includes is in every later one. */
const stages = z
  .array(stage)
  .min(1)
  .max(MAX_STAGES)
  .superRefine((list, context) => {
    let highest = 0;
    for (const [index, one] of list.entries()) {
      if (one.match !== undefined || one.percent === undefined) continue;
      if (one.percent < highest) {
        const message = `is less than the ${highest} % of an earlier stage: shares can only rise`;
        context.addIssue({ code: "custom", path: [index, "percent"], message });
      }
      highest = Math.max(highest, one.percent);
    }
  });

const health = z.strictObject({
  max_failure_percent: z.number().min(0).max(100).optional(),
  min_finished: z.number().int().min(1).max(1_000_000).optional(),
  max_lost: z.number().int().min(0).max(1_000_000_000).nullish(),
  on_breach: z.enum(["halt", "pause", "ask", "watch"]).optional(),
  slices: z.array(z.enum(["oem", "arch"])).optional(),
  silence: z
    .union([z.literal("off"), z.strictObject({ max_percent: z.number().min(0).max(100).optional() })], {
      error: 'write "off", or e.g. { max_percent: 5 }',
    })
    .optional(),
});

/** Fewer than one node would never begin. */
const ramp = z.strictObject({
  start: z
    .union([z.number().int().min(1).max(1_000_000_000), z.string().max(20).superRefine(saying(readRampStart))])
    .optional(),
  grow: z.number().min(0).max(1_000).optional(),
});

export const strategyFields = {
  stages: stages.optional(),
  ramp: ramp.nullish(),
  health: health.nullish(),
  max_in_flight: z.number().int().min(1).max(2_000_000_000).nullish(),
  retry: z.strictObject({ after: duration.optional(), max: z.number().int().min(1).max(100).optional() }).optional(),
  on_demand: z.enum(["skip-stages", "no"]).optional(),
  after: z
    .array(z.strictObject({ group: z.string().min(1).max(256), bake: duration.optional() }))
    .max(20)
    .optional(),
  seed: z.string().max(256).nullish(),
  active_within: duration.optional(),
  watch_after: duration.optional(),
};

/** A strategy as it is kept and shown: without a preset's name. */
export const strategyObject = z.strictObject(strategyFields).meta({ id: "Strategy" });

/** A preset is written out; what stands beside it wins. */
export const strategySchema = z
  .strictObject({ preset: z.enum(PRESET_NAMES).optional(), ...strategyFields })
  .transform(
    ({ preset, ...written }): StrategyDocument => (preset === undefined ? written : { ...PRESETS[preset], ...written }),
  );

const WINDOW_DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

export const windowsSchema = z
  .array(
    z
      .strictObject({
        days: z.array(z.enum(WINDOW_DAYS)).min(1).optional().describe("On which it opens; absent: every day."),
        from: z
          .string()
          .describe('When it opens, "22:30", or on which day as well, "Fri 22:00"; then days is left out.'),
        to: z
          .string()
          .optional()
          .describe(
            'When it closes: the next "04:00", "24:00" or "Mon 06:00". The same as from is a whole day, or week.',
          ),
        length: z.string().max(100).optional().describe('In place of to: for how long, e.g. "1h30m"; 7 days at most.'),
      })
      .superRefine(saying(readWindow)),
  )
  .max(100);

export const freezesSchema = z
  .array(
    z
      .strictObject({ from: z.string(), to: z.string(), reason: z.string().max(1_000).optional() })
      .superRefine(saying((freeze) => checkFreeze(freeze, "UTC"))),
  )
  .max(1_000);

/** A reader's complaint as the schema's. */
function saying<T>(read: (value: T) => unknown) {
  return (value: T, context: z.RefinementCtx): void => {
    try {
      read(value);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    }
  };
}
