/** Rollouts, to be looked at: one package going out to one group. */
import type { Router } from "express";
import type { Selectable } from "kysely";
import { z } from "zod";
import type { StrategyDocument } from "../rollout/strategy.ts";
import type { Tables } from "../store/tables.ts";
import { type AdminContext, type Db, timestamp } from "./context.ts";
import { countOf, findApplication, findGroup } from "./lookups.ts";
import { pageQuery, rangeOf } from "./paging.ts";
import { notFound, onlyMethods, validated } from "./problem.ts";

export function rolloutRoutes(router: Router, { store }: AdminContext): void {
  router
    .route("/apps/:app/groups/:group/rollouts")
    .get(async (request, response) => {
      const page = validated(z.object(pageQuery), request.query);
      const application = await findApplication(store.read, request.params.app);
      const group = await findGroup(store.read, application, request.params.group);
      const { limit, offset } = rangeOf(page);
      const rows = await rolloutsOf(store.read, group.no)
        .orderBy("rollouts.no", "desc")
        .limit(limit)
        .offset(offset)
        .execute();
      const all = store.read.selectFrom("rollouts").where("group_no", "=", group.no);
      const totalCount = await countOf(all.select((eb) => eb.fn.countAll().as("count")));
      response.json({ totalCount, count: rows.length, rollouts: rows.map((row) => toRollout(row, group.id)) });
    })
    .all(onlyMethods("GET"));

  router
    .route("/apps/:app/groups/:group/rollouts/:rollout")
    .get(async (request, response) => {
      const application = await findApplication(store.read, request.params.app);
      const group = await findGroup(store.read, application, request.params.group);
      const id = request.params.rollout;
      const row = await rolloutsOf(store.read, group.no).where("rollouts.id", "=", id.toLowerCase()).executeTakeFirst();
      if (row === undefined) throw notFound("rollout", id);
      const history = await store.read
        .selectFrom("rollout_history")
        .selectAll()
        .where("rollout_no", "=", row.no)
        .orderBy("no")
        .execute();
      response.json({
        ...toRollout(row, group.id),
        history: history.map(({ at, from_state, to_state, actor, reason, counters }) => ({
          created_ts: timestamp(at),
          from_state,
          to_state,
          actor,
          reason,
          counters: JSON.parse(counters),
        })),
      });
    })
    .all(onlyMethods("GET"));
}

function rolloutsOf(db: Db, groupNo: number) {
  return db
    .selectFrom("rollouts")
    .innerJoin("rollout_counters", "rollout_counters.rollout_no", "rollouts.no")
    .innerJoin("packages", "packages.no", "rollouts.package_no")
    .selectAll("rollout_counters")
    .selectAll("rollouts")
    .select(["packages.id as package_id", "packages.version"])
    .where("rollouts.group_no", "=", groupNo);
}

type RolloutRow = Selectable<Tables["rollouts"]> &
  Selectable<Tables["rollout_counters"]> & { package_id: string; version: string };

function toRollout(row: RolloutRow, groupId: string) {
  const { granted, downloading, downloaded, installed, complete, failed, timed_out, rolled_back, lost, withdrawn } =
    row;
  const inFlight = granted + downloading + downloaded + installed;
  return {
    id: row.id,
    group_id: groupId,
    package_id: row.package_id,
    version: row.version,
    state: row.state,
    stages: (JSON.parse(row.strategy) as StrategyDocument).stages ?? [{ percent: 100 }],
    created_ts: timestamp(row.created_at),
    state_ts: timestamp(row.state_at),
    counters: {
      granted: inFlight + complete + failed + timed_out + rolled_back + lost + withdrawn,
      in_flight: inFlight,
      complete,
      failed,
      timed_out,
      rolled_back,
      lost,
      withdrawn,
    },
  };
}
