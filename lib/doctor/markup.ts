// Tags of a page's markup and imports of its scripts, as far as the checks need them. Comments hold no tags.
import { parse } from "es-module-lexer/js";

/** One `<script>` of a page. */
export interface ScriptTag {
  /** Attribute values by lower-case name. */
  readonly attributes: ReadonlyMap<string, string>;
  /** Text between the tags. */
  readonly text: string;
  /** Address of an external script; null for an inline one. */
  readonly url: string | null;
}

const ATTRIBUTES = `((?:[^>"']|"[^"]*"|'[^']*')*)`;
const SCRIPT = new RegExp(`<script\\b${ATTRIBUTES}>([^]*?)</script\\s*>`, "gi");

/** Returns markup without its comments; what scripts hold stays as it is. */
export function withoutComments(html: string): string {
  return html.replaceAll(/<script\b[^]*?<\/script\s*>|<!--[^]*?-->/gi, (part) => (part.startsWith("<!--") ? "" : part));
}

/** Returns the attributes of the tags of a name. */
export function tagsOf(html: string, name: string): ReadonlyMap<string, string>[] {
  const tags = withoutComments(html).matchAll(new RegExp(`<${name}\\b${ATTRIBUTES}>`, "gi"));
  return [...tags].map(([, attributes = ""]) => attributesOf(attributes));
}

/** Returns the scripts of a page at an address. */
export function scriptTags(html: string, page: string): ScriptTag[] {
  const base =
    tagsOf(html, "base")
      .find((x) => x.has("href"))
      ?.get("href") ?? page;
  return [...withoutComments(html).matchAll(SCRIPT)].map(([, given = "", text = ""]) => {
    const attributes = attributesOf(given);
    const src = attributes.get("src");
    const from = URL.canParse(base, page) ? new URL(base, page).href : page;
    return { attributes, text, url: src !== undefined && URL.canParse(src, from) ? new URL(src, from).href : null };
  });
}

/** Whether a script is a classic one. */
export function isClassic({ attributes }: ScriptTag): boolean {
  return /^(?:(?:text|application)\/(?:x-)?(?:java|ecma)script)?$/i.test(attributes.get("type")?.trim() ?? "");
}

/** Whether a script is a module. */
export function isModule({ attributes }: ScriptTag): boolean {
  return attributes.get("type")?.trim().toLowerCase() === "module";
}

/** One import map of a page. */
export interface ImportMap {
  /** Place among the page's scripts. */
  readonly index: number;
  readonly text: string;
  /** Addresses as the map has them, by name; null where the map is not JSON. */
  readonly imports: ReadonlyMap<string, string> | null;
  /** Reason for which it is not read; null where it is. */
  readonly fault: string | null;
}

/** Returns the import maps among a page's scripts. */
export function importMaps(tags: readonly ScriptTag[]): ImportMap[] {
  return tags.flatMap(({ attributes, text, url }, index): ImportMap[] => {
    if (!/^importmap$/i.test(attributes.get("type")?.trim() ?? "") || url !== null) return [];
    try {
      const map: unknown = JSON.parse(text);
      const { imports = {} } = (map ?? {}) as { readonly imports?: Readonly<Record<string, unknown>> };
      const entries = Object.entries(imports).filter((x): x is [string, string] => typeof x[1] === "string");
      return [{ index, text, imports: new Map(entries), fault: null }];
    } catch (error) {
      return [{ index, text, imports: null, fault: error instanceof Error ? error.message : String(error) }];
    }
  });
}

/** Returns the address that import maps have for a specifier: the first map's that has one; null without one. */
export function mappedAddress(maps: readonly ImportMap[], specifier: string): string | null {
  for (const { imports } of maps) {
    const prefixes = [...(imports?.keys() ?? [])].filter((x) => x.endsWith("/") && specifier.startsWith(x));
    const prefix = prefixes.sort((a, b) => b.length - a.length)[0];
    const address = imports?.get(specifier);
    if (address !== undefined) return address;
    if (prefix !== undefined) return `${imports?.get(prefix) ?? ""}${specifier.slice(prefix.length)}`;
  }
  return null;
}

/** Whether an import map takes an address: a path that begins with "/", "./" or "../", or a whole URL. */
export function isAddressOfMap(address: string): boolean {
  return /^\.{0,2}\//.test(address) || URL.canParse(address);
}

/** Whether a specifier of an import is a bare name, which an import map alone resolves. */
export function isBare(specifier: string): boolean {
  return !/^\.{0,2}\//.test(specifier) && !URL.canParse(specifier);
}

/** Specifiers of the import statements with which a script begins: text further down may be a sample of code. */
export function leadingImports(code: string): string[] {
  const skipped = /(?:\s|\/\/[^\n]*(?:\n|$)|\/\*[^]*?\*\/|;)*/y;
  const statement = /import\b(?:[\w\s{},*$]*?\bfrom\b)?\s*["']([^"'\n]+)["']/y;
  const found: string[] = [];
  for (let at = 0; ;) {
    skipped.lastIndex = at;
    skipped.test(code);
    statement.lastIndex = skipped.lastIndex;
    const [, specifier] = statement.exec(code) ?? [];
    if (specifier === undefined) return found;
    found.push(specifier);
    at = statement.lastIndex;
  }
}

/** Specifiers that are plain texts of the `import()` calls of a script; none of one that can't be parsed. */
export function dynamicImports(code: string): string[] {
  // Parsing takes a second for 10 MB, and most scripts have no such call.
  if (!/\bimport\s*\(/.test(code)) return [];
  try {
    return parse(code)[0].flatMap(({ d, n }) => (d >= 0 && n !== undefined ? [n] : []));
  } catch {
    return [];
  }
}

/** Whether a specifier names this package, or a part of it. */
export function isOwnName(specifier: string): boolean {
  return /^selvedge(?:\/|$)/.test(specifier);
}

/** Whether imports of a script name this package. */
export function importsPackage(code: string): boolean {
  return [...leadingImports(code), ...dynamicImports(code)].some(isOwnName);
}

function attributesOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [, name = "", ...values] of text.matchAll(
    /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g,
  )) {
    const value = values.find((x) => x !== undefined) ?? "";
    const key = name.toLowerCase();
    if (!found.has(key))
      found.set(key, value.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&"));
  }
  return found;
}
