/** Each request has an id, of the caller's own if it is a sensible one: the audit log has it, too. */
import { randomUUID } from "node:crypto";
import type { RequestHandler } from "express";

const REQUEST_ID = /^[\w.:-]{1,100}$/;

export const numbered: RequestHandler = (request, response, next) => {
  const given = request.headers["x-request-id"];
  response.set("X-Request-Id", typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID());
  next();
};
