/** An Omaha server as upstream, asked as a syncer asks: it answers all floors and the target. Source: NEBRASKA.md §4. */
import { randomUUID } from "node:crypto";
import { fileAt, type Http, hangUp, shown, textOf } from "./http.ts";
import { FLATCAR, type Places, readAnswer } from "./omaha-answer.ts";
import { probe } from "./probe.ts";
import { SourceFailed } from "./release.ts";
import type { Question, Upstream } from "./upstream.ts";

const SYNCER = "CoreOSUpdateEngine-0.1.0.0";
/** A real answer has some 10 KiB. */
const MAX_ANSWER_BYTES = 2 ** 20;
/** By the numbers of the admin API: the os's `arch`, and what stands behind its version. */
const ARCHES = [
  ["all", "x86_64"],
  ["x64", "x86_64"],
  ["arm", "aarch64"],
  ["x86", "i686"],
] as const;

export interface OmahaUpstreamOptions {
  /** e.g. https://public.update.flatcar-linux.net/v1/update/ */
  readonly url: string;
  readonly privateAddresses: boolean;
  readonly http: Http;
  /** UUID of whoever asks: the same each time, since servers like Nebraska keep a line for each that they see. */
  readonly asker: string;
}

export function omahaUpstream({ url, privateAddresses, http, asker }: OmahaUpstreamOptions): Upstream {
  let places: Places = new Map();
  return {
    async releases(question, signal) {
      const appId = appIdOf(question);
      const limit = AbortSignal.any([signal, AbortSignal.timeout(http.answerMs)]);
      const answer = await http.ask(url, {
        method: "POST",
        headers: { "Content-Type": "text/xml", Accept: "text/xml" },
        body: requestOf(appId, asker, question),
        privateAddresses,
        signal: limit,
      });
      if (answer.status !== 200) {
        hangUp(answer);
        throw new SourceFailed(`${shown(new URL(url))} answers ${answer.status}`);
      }
      const text = await textOf(url, answer, MAX_ANSWER_BYTES, limit);
      const found = readAnswer(text, { appId, arch: question.arch, order: question.order });
      places = found.places;
      return found;
    },
    probe: (file, { url }, signal) => probe(http, { url, privateAddresses }, file, signal),
    bytesOf: (release) => ({
      sourcesOf: ({ name, sizeBytes }) =>
        (places.get(release) ?? [release.url]).map((codebase) => {
          const place = `${codebase}${name}`;
          return { place, open: (from, signal) => fileAt(http, place, from, sizeBytes, { privateAddresses, signal }) };
        }),
    }),
  };
}

/** Every server knows Flatcar by its UUID, in braces; other applications by their own name, if they have one. */
function appIdOf({ applicationId, productId }: Question): string {
  return productId === null || applicationId === FLATCAR ? `{${applicationId}}` : productId;
}

function requestOf(appId: string, asker: string, { track, arch, have }: Question): string {
  const [name, machine] = ARCHES[arch] ?? ARCHES[1];
  // In braces: so syncers are told from nodes, which write theirs without.
  const app =
    `<app appid="${escaped(appId)}" version="${escaped(have)}" track="${escaped(track)}" bootid="{${randomUUID()}}"` +
    ` machineid="{${asker}}" multi_manifest_ok="true"><updatecheck></updatecheck></app>`;
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<request protocol="3.0" version="${SYNCER}" updaterversion="${SYNCER}" installsource="scheduler" ismachine="1">` +
    `<os platform="CoreOS" version="Chateau" sp="${escaped(have)}_${machine}" arch="${name}"></os>${app}</request>`
  );
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
