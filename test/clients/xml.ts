/** Reads a document for the client models: in document order, by another way than the server's own reader. */
import { XMLParser, XMLValidator } from "fast-xml-parser";

export interface XmlElement {
  readonly name: string;
  /** In document order. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
}

const ATTRIBUTES = ":@";
const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: "",
  parseAttributeValue: false,
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
});

/** The root element; null when the text is not well-formed. */
export function readXml(text: string): XmlElement | null {
  if (XMLValidator.validate(text) !== true) return null;
  const roots = elements(parser.parse(text));
  return roots.length === 1 ? (roots[0] ?? null) : null;
}

function elements(nodes: unknown): XmlElement[] {
  if (!Array.isArray(nodes)) return [];
  return nodes.flatMap((node: unknown) => {
    if (typeof node !== "object" || node === null) return [];
    const record = new Map<string, unknown>(Object.entries(node));
    const name = [...record.keys()].find((key) => key !== ATTRIBUTES);
    if (name === undefined || name === "#text") return [];
    const attributes = Object.entries(record.get(ATTRIBUTES) ?? {}).map(([key, value]): [string, string] => [
      key,
      String(value),
    ]);
    return [{ name, attributes: new Map(attributes), children: elements(record.get(name)) }];
  });
}

export function childrenNamed(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.filter((child) => child.name === name);
}

/** Every element at a path below a root, as XPath `/a/b/c` finds them: in document order, over all parents. */
export function atPath(root: XmlElement | null, ...path: readonly string[]): readonly XmlElement[] {
  const [first, ...rest] = path;
  if (root === null || root.name !== first) return [];
  return rest.reduce<readonly XmlElement[]>(
    (found, name) => found.flatMap((element) => childrenNamed(element, name)),
    [root],
  );
}
