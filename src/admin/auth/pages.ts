/** The few pages that a login needs, without scripts. */
import type { Response } from "express";

export interface Page {
  readonly status: number;
  readonly title: string;
  /** Plain text. */
  readonly text: string;
  readonly link?: { readonly url: string; readonly text: string };
  /** A button that posts to this page's own path. */
  readonly button?: string;
}

export function sendPage(response: Response, { status, title, text, link, button }: Page): void {
  const parts = [
    `<h1>${escaped(title)}</h1>`,
    `<p>${escaped(text)}</p>`,
    ...(button === undefined ? [] : [`<form method="post"><button>${escaped(button)}</button></form>`]),
    ...(link === undefined ? [] : [`<p><a href="${escaped(link.url)}">${escaped(link.text)}</a></p>`]),
  ];
  response
    .status(status)
    .type("html")
    .send(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)} · Turnout</title>
<style>
  :root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }
  body { max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; overflow-wrap: break-word; }
  h1 { font-size: 1.4rem; }
  button { font: inherit; padding: 0.4rem 1.2rem; }
</style>
${parts.join("\n")}
</html>
`);
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? "");
}
