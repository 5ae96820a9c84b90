/** Why no answer came, in words that a person who runs servers can do something with. */

/** By the code of the system, of TLS, or of the HTTP client. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody takes connections there",
  ECONNRESET: "the connection broke off",
  EPIPE: "the connection broke off",
  UND_ERR_SOCKET: "the connection broke off",
  EHOSTUNREACH: "there is no way to that address",
  ENETUNREACH: "there is no way to that address",
  ETIMEDOUT: "no connection came about in time",
  UND_ERR_CONNECT_TIMEOUT: "no connection came about in time",
  UND_ERR_HEADERS_TIMEOUT: "no answer began in time",
  UND_ERR_BODY_TIMEOUT: "nothing more came for too long",
  ENOTFOUND: "the name has no address",
  EAI_AGAIN: "the name can't be looked up now",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS there: is it http:// rather than https://?",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is by no known authority: NODE_EXTRA_CA_CERTS adds one",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is by no known authority: NODE_EXTRA_CA_CERTS adds one",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate is by no known authority: NODE_EXTRA_CA_CERTS adds one",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is by no known authority: NODE_EXTRA_CA_CERTS adds one",
};

/** On one line. */
export function reasonOf(error: unknown): string {
  // Node tries every address of a name, and then says nothing but that all of them failed.
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? String(error.code) : "";
  if (Object.hasOwn(WORDS, code)) return `${WORDS[code]} (${code})`;
  return error.message.replace(/\s+/g, " ").trim();
}
