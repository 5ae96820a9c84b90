/** The API's own description: `openapi.json` for tools, `docs` for people. Open to everybody: it tells nothing of the fleet. */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import express, { Router } from "express";
import { openApiDocument } from "./openapi.ts";
import type { Operation } from "./operation.ts";

const require = createRequire(import.meta.url);
const SWAGGER_UI = dirname(require.resolve("swagger-ui-dist/package.json"));

/** The page of swagger-ui-dist loads this script for its settings. */
const INITIALIZER = `window.onload = () => {
  window.ui = SwaggerUIBundle({
    url: "../openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    presets: [SwaggerUIBundle.presets.apis],
  });
};
`;

export function documentation(operations: readonly Operation[], version: string): Router {
  const router = Router();
  // Made when somebody asks: it takes a tenth of a second, and megabytes that most servers never need.
  let document: string | null = null;
  router.get("/openapi.json", (_request, response) => {
    document ??= JSON.stringify(openApiDocument(operations, version), null, 2);
    response.type("application/json").send(document);
  });
  router.get("/docs", (request, response, next) => {
    if (request.originalUrl.split("?")[0]?.endsWith("/")) next();
    else response.redirect(301, `${request.baseUrl}/docs/`);
  });
  router.get("/docs/swagger-initializer.js", (_request, response) => {
    response.type("text/javascript").send(INITIALIZER);
  });
  router.use("/docs", express.static(SWAGGER_UI, { index: "index.html", redirect: false }));
  return router;
}
