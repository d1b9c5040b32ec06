// Tags of a page's markup and imports of its scripts, as far as the checks need them. Comments, templates and elements
// whose content is text hold no tags.
import { parse } from "es-module-lexer/js";

/** One `<script>` of a page. */
export interface ScriptTag {
  /** Attribute values by lower-case name. */
  readonly attributes: ReadonlyMap<string, string>;
  /** Text between the tags. */
  readonly text: string;
  /** Address of an external script; null for an inline one. */
  readonly url: string | null;
  /** Address that relative ones of the markup begin at. */
  readonly base: string;
}

const ATTRIBUTES = `((?:[^>"']|"[^"]*"|'[^']*')*)`;
const SCRIPT = new RegExp(`<script\\b${ATTRIBUTES}>([^]*?)</script\\s*>`, "gi");

/** Comments, scripts, elements whose content is text to a browser that runs scripts, and tags of templates. */
const PARTS = new RegExp(
  "<!--[^]*?-->|<script\\b[^]*?</script\\s*>|" +
    `<(textarea|title|style|xmp|iframe|noembed|noframes|noscript)\\b${ATTRIBUTES}>[^]*?</\\1\\s*>|` +
    `<(/?)template\\b${ATTRIBUTES}>`,
  "gi",
);

/** Returns the markup of which a browser makes elements of the page; what scripts hold stays as it is. */
function liveMarkup(html: string): string {
  let kept = "";
  let at = 0;
  let depth = 0;
  for (const { 0: part, 3: slash, 4: attributes = "", index } of html.matchAll(PARTS)) {
    if (depth === 0) kept += html.slice(at, index) + (/^<script/i.test(part) ? part : "");
    at = index + part.length;
    if (slash === "/") depth = Math.max(depth - 1, 0);
    // A declarative shadow root is part of the page.
    else if (slash === "" && (depth > 0 || !/\bshadowrootmode\b/i.test(attributes))) depth += 1;
  }
  return depth === 0 ? kept + html.slice(at) : kept;
}

/** Returns the attributes of the tags of a name. */
export function tagsOf(html: string, name: string): ReadonlyMap<string, string>[] {
  const tags = liveMarkup(html).matchAll(new RegExp(`<${name}\\b${ATTRIBUTES}>`, "gi"));
  return [...tags].map(([, attributes = ""]) => attributesOf(attributes));
}

/** Returns the scripts of a page at an address. */
export function scriptTags(html: string, page: string): ScriptTag[] {
  const base =
    tagsOf(html, "base")
      .find((x) => x.has("href"))
      ?.get("href") ?? page;
  const from = URL.canParse(base, page) ? new URL(base, page).href : page;
  return [...liveMarkup(html).matchAll(SCRIPT)].map(([, given = "", text = ""]) => {
    const attributes = attributesOf(given);
    const src = attributes.get("src");
    const url = src !== undefined && URL.canParse(src, from) ? new URL(src, from).href : null;
    return { attributes, text, url, base: from };
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

/** Whether a browser runs a script, or es-module-shims does: others, such as `text/plain`, are data. */
export function isCode(tag: ScriptTag): boolean {
  return isClassic(tag) || isModule(tag) || isOfShims(tag);
}

/** Whether a script is one that es-module-shims runs or reads in place of the browser. */
export function isOfShims({ attributes }: ScriptTag): boolean {
  return /^(?:module|importmap)-shim$/i.test(attributes.get("type")?.trim() ?? "");
}

/** One import map of a page. */
export interface ImportMap {
  /** Place among the page's scripts. */
  readonly index: number;
  readonly text: string;
  /** Addresses as the map has them, by name; null where the map is not JSON. */
  readonly imports: ReadonlyMap<string, string> | null;
  /** Addresses by name for modules of a place: each with the address that those of its modules begin with. */
  readonly scopes: readonly (readonly [prefix: string, imports: ReadonlyMap<string, string>])[];
  /** The map as it is written; null where it is not JSON. */
  readonly json: Readonly<Record<string, unknown>> | null;
  /** Whether es-module-shims reads it, for its own modules; the browser does not. */
  readonly isShim: boolean;
  /** Reason for which it is not read; null where it is. */
  readonly fault: string | null;
}

/** Returns the import maps among a page's scripts. */
export function importMaps(tags: readonly ScriptTag[]): ImportMap[] {
  return tags.flatMap((tag, index): ImportMap[] => {
    const { attributes, text, url, base } = tag;
    if (!/^importmap(?:-shim)?$/i.test(attributes.get("type")?.trim() ?? "") || url !== null) return [];
    const isShim = isOfShims(tag);
    try {
      const json = recordOf(JSON.parse(text));
      const scopes = Object.entries(recordOf(json["scopes"])).flatMap(([prefix, imports]) =>
        URL.canParse(prefix, base) ? [[new URL(prefix, base).href, addressesOf(imports)] as const] : [],
      );
      return [{ index, text, imports: addressesOf(json["imports"]), scopes, json, isShim, fault: null }];
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      return [{ index, text, imports: null, scopes: [], json: null, isShim, fault }];
    }
  });
}

/** Returns a value of JSON as an object; an empty one for others. */
export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function addressesOf(value: unknown): ReadonlyMap<string, string> {
  return new Map(Object.entries(recordOf(value)).filter((x): x is [string, string] => typeof x[1] === "string"));
}

/** Returns all names of an import map and their addresses, those of scopes too. */
export function namesOf({ imports, scopes }: ImportMap): (readonly [name: string, address: string])[] {
  return [...(imports ?? []), ...scopes.flatMap(([, names]) => [...names])];
}

/**
 * Returns the address that import maps have for a specifier: the first map's that has one; null without one.
 * @param importer - address of the module that imports it; without one, scopes of all modules count
 */
export function mappedAddress(maps: readonly ImportMap[], specifier: string, importer?: string): string | null {
  const isWithin = (prefix: string): boolean =>
    importer === undefined || prefix === importer || (prefix.endsWith("/") && importer.startsWith(prefix));
  const scopes = maps.flatMap((x) => x.scopes).filter(([prefix]) => isWithin(prefix));
  const scoped = scopes.sort(([a], [b]) => b.length - a.length).map(([, names]) => names);
  const imports = maps.flatMap((x) => x.imports ?? []);
  for (const names of importer === undefined ? [...imports, ...scoped] : [...scoped, ...imports]) {
    const address = addressIn(names, specifier);
    if (address !== null) return address;
  }
  return null;
}

function addressIn(names: ReadonlyMap<string, string>, specifier: string): string | null {
  const prefixes = [...names.keys()].filter((x) => x.endsWith("/") && specifier.startsWith(x));
  const prefix = prefixes.sort((a, b) => b.length - a.length)[0];
  const address = names.get(specifier);
  if (address !== undefined || prefix === undefined) return address ?? null;
  return `${names.get(prefix) ?? ""}${specifier.slice(prefix.length)}`;
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
