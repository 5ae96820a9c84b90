/** `GET /config`: what a console has to know before anybody is logged in, in the ecosystem's names. Open to everybody. */
import type { RequestHandler } from "express";
import type { ProviderSettings } from "./auth/provider.ts";
import { sendJson } from "./json.ts";

export interface ConfigurationOptions {
  readonly version: string;
  readonly mode: "token" | "oidc" | "none";
  /** Null unless the mode is `oidc`. */
  readonly provider: ProviderSettings | null;
  readonly publicUrl: () => string;
}

/**
 * Source: NEBRASKA.md, 3.6. Texts that say nothing are empty, and those of a provider null where there is none; `noop` is what
 * the ecosystem calls no authentication.
 */
export function configuration({ version, mode, provider, publicUrl }: ConfigurationOptions): RequestHandler {
  return (_request, response) => {
    const auth = (page: string) => (provider === null ? "" : `${publicUrl()}/auth/${page}`);
    const config = {
      access_management_url: "",
      auth_mode: mode === "none" ? "noop" : mode,
      header_style: "light",
      login_url: auth("login"),
      logo: "",
      nebraska_version: version,
      oidc_audience: provider?.audience ?? null,
      oidc_client_id: provider?.clientId ?? null,
      oidc_issuer_url: provider?.issuer ?? null,
      oidc_logout_url: auth("logout") || null,
      oidc_scopes: provider?.scopes ?? null,
      title: "Turnout",
    };
    sendJson(response, Object.fromEntries(Object.entries(config).flatMap(inBothSpellings)));
  };
}

/** That API's server writes these names with underscores, its published description in camel case: both find theirs. */
function inBothSpellings([name, value]: [string, unknown]): [string, unknown][] {
  return [
    [name, value],
    [name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()), value],
  ];
}
