/** A document from outside, as a tree. */
import { XMLParser } from "fast-xml-parser";
import { REFERENCES } from "../omaha/references.ts";
import { examine } from "../omaha/wellformed.ts";

export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly Element[];
}

export function childrenOf({ children }: Element, name: string): readonly Element[] {
  return children.filter((child) => child.name === name);
}

const PARSER = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: "",
  parseAttributeValue: false,
  parseTagValue: false,
  removeNSPrefix: true,
  entityDecoder: REFERENCES,
});

/** The root element; or what is wrong: it is no XML, or has what no answer needs (a DTD, entities, deep nesting). */
export function readXml(text: string): Element | string {
  const document = examine(text);
  if (!document.ok) return document.reason;
  let nodes: unknown;
  try {
    nodes = PARSER.parse(document.root);
  } catch {
    return "a name in it is not taken";
  }
  return elementsOf(nodes)[0] ?? "there is no element in it";
}

/** From the parser's own form, with `preserveOrder`: each node is an object with its name, and `:@` for attributes. */
function elementsOf(nodes: unknown): Element[] {
  if (!Array.isArray(nodes)) return [];
  return nodes.flatMap((node: Readonly<Record<string, unknown>>) => {
    const name = Object.keys(node).find((key) => key !== ":@");
    if (name === undefined || name === "#text") return [];
    const attributes = (node[":@"] ?? {}) as Record<string, string>; // texts: `parseAttributeValue` is off
    return [{ name, attributes: { ...attributes }, children: elementsOf(node[name]) }];
  });
}
