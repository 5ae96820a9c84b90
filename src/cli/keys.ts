/** `turnout keys`: the key pair that mirrors are signed with. */
import { Command } from "commander";
import { makeKeys, pemOf, readPublicKeys } from "../mirror/keys.ts";
import { acting, jsonOption } from "./api.ts";
import { printJson } from "./terminal.ts";

interface Options {
  readonly json?: true;
}

export function keysCommand(): Command {
  return new Command("keys")
    .description("the key pair (Ed25519) that mirrors are signed with")
    .addCommand(
      new Command("create")
        .description(
          "make a pair: mirror.key.pem signs and stays secret, mirror.pub.pem goes to where mirrors are imported",
        )
        .requiredOption("--out <dir>", "where to; made if missing")
        .addOption(jsonOption())
        .action(acting(create)),
    )
    .addCommand(
      new Command("show")
        .description("which key a file holds; of a private one its public half")
        .argument("<file>", "mirror.pub.pem or mirror.key.pem")
        .addOption(jsonOption())
        .action(acting(show)),
    );
}

async function create({ out, json }: Options & { readonly out: string }): Promise<void> {
  const { privateFile, publicFile, fingerprint } = makeKeys(out);
  if (json) return printJson({ private_key: privateFile, public_key: publicFile, fingerprint });
  process.stdout.write(
    `private  ${privateFile}  (keep it: who has it can write mirrors that your sites trust)\n` +
      `public   ${publicFile}  (for the sites that import)\n` +
      `SHA-256  ${fingerprint}\n`,
  );
}

async function show(file: string, { json }: Options): Promise<void> {
  const keys = readPublicKeys(file).map(({ key, fingerprint }) => ({ fingerprint, public_key: pemOf(key) }));
  if (json) return printJson(keys);
  for (const { fingerprint, public_key: pem } of keys) process.stdout.write(`SHA-256  ${fingerprint}\n${pem}`);
}
