/** By what an application's versions are compared, as its row says it. */
import type { Selectable } from "kysely";
import type { BuildMetadata, VersionOrder, VersionScheme } from "../rollout/model/configuration.ts";
import { orderOf } from "../rollout/version.ts";
import type { Tables } from "./tables.ts";

type Said = Pick<Selectable<Tables["applications"]>, "version_scheme" | "build_metadata">;

export function versionOrderOf({ version_scheme: scheme, build_metadata: builds }: Said): VersionOrder {
  // Checked when they came in.
  return orderOf(scheme as VersionScheme, builds as BuildMetadata);
}
