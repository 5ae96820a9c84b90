/** Nodes that are in a group for another architecture, and what would help them. */
import { z } from "zod";
import { findGroup } from "../rollout/fleet.ts";
import { archName } from "../rollout/health.ts";
import { WITHIN } from "../store/census.ts";
import { loadFleet, toArch } from "../store/fleet.ts";
import { type OtherArchitecture, otherArchitectures } from "../store/other-architectures.ts";
import { groupOf } from "./instances.ts";
import { type Operation, operation } from "./operation.ts";
import { notFound } from "./problem.ts";

const listOtherArchitectures = operation({
  id: "listOtherArchitectures",
  method: "get",
  path: "/apps/:app/groups/:group/other_architectures",
  tag: "statistics",
  summary: "The nodes of a group, seen within a day, that nothing fits which the group has, and what would help them",
  description:
    "Nodes of old have the id of a group for their track, whatever their architecture. Those that will follow another group with their next check are left out.",
  role: "viewer",
  answer: z.object({
    architectures: z.array(
      z.object({
        arch: z.int(),
        /** Whether people have put them there; else they came by their track. */
        by_hand: z.boolean(),
        instances: z.int(),
        /** One of them. */
        instance_id: z.string(),
        text: z.string(),
      }),
    ),
  }),
  async handle({ read, params, now }) {
    const { application, group: row } = await groupOf(read, params);
    const fleet = await loadFleet(read);
    const group = fleet.groupByNo.get(row.no);
    if (group === undefined) throw notFound("group", params.group);
    const { channel, track } = group;
    if (channel === null) return { architectures: [] };
    const found = await otherArchitectures(read, row.no, channel.arch, now - WITHIN["1d"]);
    const stay = found.filter(({ arch, byHand }) => {
      const byTrack = { track: group.id, arch: toArch(arch), syncer: false };
      return byHand || findGroup(fleet, application.no, null, byTrack) === group;
    });
    return {
      architectures: stay.map((one) => ({
        arch: one.arch,
        by_hand: one.byHand,
        instances: one.nodes,
        instance_id: one.example,
        text: advice(one, archName(channel.arch), track),
      })),
    };
  },
});

export const otherArchitectureOperations: readonly Operation[] = [listOtherArchitectures];

function advice({ arch, byHand, nodes, example }: OtherArchitecture, isFor: string, track: string): string {
  const name = archName(toArch(arch));
  const which = `${nodes} of its nodes ${nodes === 1 ? "is" : "are"} ${name} (e.g. ${example}), and it is for ${isFor}`;
  return byHand
    ? `${which}: a person has put such nodes there, and has to move them elsewhere or back by their track`
    : `${which}: nothing fits them before there is a group with the track "${track}" and a channel for ${name}`;
}
