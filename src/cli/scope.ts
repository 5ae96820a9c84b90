/** Applications and groups that something is confined to. */
import type { Api } from "./api.ts";
import { appPath, groupAnywhere, idOf } from "./naming.ts";

export interface Scoped {
  readonly app?: readonly string[] | undefined;
  readonly group?: readonly string[] | undefined;
  readonly arch?: number | undefined;
}

/** Their ids. Groups are looked for in the applications that are named, or in all. @throws ApiError */
export async function scopeFrom(
  api: Api,
  { app, group, arch }: Scoped,
): Promise<{ applications?: string[]; groups?: string[] }> {
  const scope: { applications?: string[]; groups?: string[] } = {};
  if (app !== undefined) scope.applications = [];
  for (const name of app ?? []) scope.applications?.push(idOf(await appPath(api, name)));
  if (group !== undefined) scope.groups = [];
  for (const name of group ?? []) {
    const found = await groupAnywhere(api, name, { arch, lasting: true }, scope.applications ?? null);
    scope.groups?.push(found.id);
  }
  return scope;
}
