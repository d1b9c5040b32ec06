// Imports that the page can't resolve, before any file of Selvedge is requested: an import map that is no JSON, that
// comes after the module or lacks the name, and a script with imports that is no module. The browser's own words decide
// where there is a browser, and what the markup says where there is none. An import that runs later is a warning: code
// may handle its failure, or never come to it.
import type { Change, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import {
  dynamicImports,
  importMaps,
  isAddressOfMap,
  isBare,
  isClassic,
  isModule,
  isOfShims,
  isOwnName,
  leadingImports,
  mappedAddress,
  recordOf,
  scriptTags,
} from "../markup.ts";
import type { ImportMap, ScriptTag } from "../markup.ts";
import { bare, nameOf, pathOf } from "../urls.ts";
import { codesOf, documentOf, filesOf, isServed, isUnbuilt, lines, namesPackage, notBuilt } from "./facts.ts";

/** Messages of browsers for a specifier that does not resolve: Chromium's, Firefox's, Safari's. */
const UNRESOLVED = [
  /Failed to resolve module specifier ["'`]([^"'`]+)["'`]/,
  /The specifier [\u201c"']([^\u201d"']+)[\u201d"'] was a bare specifier/,
  /Module name, ["']([^"']+)["'] does not resolve/,
] as const;
/** Messages of browsers for module code in a classic script. */
const NO_MODULE =
  /import statement outside a module|import\.meta'? outside a module|import declarations may only appear|import\.meta may only appear|unexpected token 'export'|await is only valid in async functions and the top level/i;
/** Place of the package's module, as the documents have it. */
const USUAL = "/selvedge/selvedge.min.js";

/** Finds imports that can't be resolved, where no engine was started. */
export function imports(evidence: Evidence): Diagnosis[] {
  const document = documentOf(evidence);
  if (document === undefined || evidence.browser?.hasStarted === true || !namesPackage(evidence)) return [];
  const tags = scriptTags(textOf(document.answer), evidence.url);
  // `types` names sources that no browser reads.
  if (tags.some((tag) => isModule(tag) && isUnbuilt(fileOf(tag, evidence)))) return [];
  const found = [...unreadMaps(tags, evidence), ...classics(tags, evidence)];
  return found.length > 0 ? found : unresolved(tags, evidence);
}

/** Whether a syntax error is one that `imports` names. */
export function isOfImports({ message }: { readonly message: string }): boolean {
  return NO_MODULE.test(message) || /\bJSON\b|import ?map/i.test(message);
}

function unreadMaps(tags: readonly ScriptTag[], evidence: Evidence): Diagnosis[] {
  return importMaps(tags).flatMap(({ text, fault, isShim }): Diagnosis[] => {
    if (fault === null || isShim) return [];
    return [
      {
        id: "import-map-invalid",
        severity: "error",
        message: `The page's import map is not JSON (${fault}): the browser ignores it, and the app does not start.`,
        evidence: [
          `import map: ${short(text)}`,
          ...lines(evidence, /import ?map|JSON|module specifier|bare specifier/i),
        ],
        changes: [repaired(text)],
      },
    ];
  });
}

/** Returns what an import map that is no JSON means: its parts, where quotes, commas and comments alone are wrong. */
function repaired(text: string): Change {
  const plain = text.replaceAll(
    /("(?:[^"\\\n]|\\.)*")|'([^'\\\n]*)'|\/\*[^]*?\*\/|\/\/[^\n]*|([A-Za-z_$][\w$]*)(?=\s*:)/g,
    (_, text?: string, single?: string, name?: string) => {
      const other = single ?? name;
      return text ?? (other === undefined ? "" : JSON.stringify(other));
    },
  );
  try {
    const json = recordOf(JSON.parse(plain.replaceAll(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, "$1")));
    const { imports, ...rest } = json;
    return { kind: "import-map", imports: recordOf(imports) as Readonly<Record<string, string>>, rest };
  } catch {
    return { kind: "import-map", imports: pairsOf(text) };
  }
}

/** Returns the names and addresses that a text has. */
function pairsOf(text: string): Record<string, string> {
  const pairs = text.matchAll(/["']?([@\w][\w@/.-]*)["']?\s*:\s*["']([^"'\n]+)["']/g);
  const found = [...pairs].map(([, name = "", address = ""]) => [name, address] as const);
  return found.length === 0 ? { selvedge: USUAL } : Object.fromEntries(found);
}

/** Scripts with import statements that lack type="module". */
function classics(tags: readonly ScriptTag[], evidence: Evidence): Diagnosis[] {
  const { browser, files } = evidence;
  const moduleErrors = (browser?.scriptErrors ?? []).filter((x) => NO_MODULE.test(x.message));
  if (browser !== null && moduleErrors.length === 0) return [];
  const wrong = tags.find((tag) => {
    if (!isClassic(tag)) return false;
    const { url, text } = tag;
    if (url === null) return leadingImports(text).length > 0;
    const file = files.find((x) => bare(x.url) === bare(url));
    const isTold = moduleErrors.some((x) => bare(x.url) === bare(url));
    return isTold || (file !== undefined && isServed(file) && leadingImports(textOf(file.answer)).length > 0);
  });
  if (wrong === undefined) return [];
  const { url, text } = wrong;
  const name = url === null ? "A script in the page" : `The script ${pathOf(url)}`;
  return [
    {
      id: "script-not-module",
      severity: "error",
      message: `${name} has import statements and no type="module": the browser does not run it.`,
      evidence: [
        url === null ? `inline script: ${short(text)}` : `<script src="${pathOf(url)}"> without type="module"`,
        ...moduleErrors.slice(0, 1).map((x) => `${x.url}:${x.line}: ${x.message}`),
      ],
      changes: [{ kind: "module", script: url === null ? null : pathOf(url) }],
    },
  ];
}

/** Bare names that no import map resolves for the module that imports them. */
function unresolved(tags: readonly ScriptTag[], evidence: Evidence): Diagnosis[] {
  const maps = importMaps(tags).filter((x) => !x.isShim);
  const seen = (evidence.browser === null ? unmapped(tags, maps, evidence) : unresolvedNames(tags, evidence)).filter(
    isBare,
  );
  const names = [...new Set([...seen, ...later(tags, maps, evidence)])];
  const [first] = names;
  if (first === undefined) return [];
  const { bundler } = evidence.stack;
  const isBuilt = maps.length === 0 && evidence.project !== null && bundler !== null && bundler !== "importmap";
  if (isBuilt && seen.length > 0)
    return [
      notBuilt(`The page imports "${first}", a name that ${bundler} replaces`, [
        ...lines(evidence, /module specifier|bare specifier|does not resolve/i),
        `${evidence.project.folder}: ${bundler}`,
      ]),
    ];
  const importer = tags.find((x) => isModule(x) && leadingImports(codeOf(x, evidence)).includes(first));
  const at = importer?.url ?? importer?.base ?? evidence.url;
  const map = maps.find((x) => mappedAddress([x], first, at) !== null);
  const address = mappedAddress(maps, first);
  const isWrong = address !== null && !isAddressOfMap(address);
  const added = Object.fromEntries(
    names.map((name) => {
      const given = mappedAddress(maps, name);
      return [name, given === null ? usualAddress(name, evidence) : isAddressOfMap(given) ? given : `./${given}`];
    }),
  );
  const cause = isWrong
    ? `the import map's address "${address}" does not begin with "/", "./" or "../"`
    : map !== undefined
      ? "the import map comes after the module that needs it"
      : address !== null
        ? "the import map has the name in scopes alone, which are of other modules"
        : maps.length > 0
          ? "the import map does not have the name"
          : "the page has no import map, and no bundler has replaced the name";
  return [
    {
      id: "import-unresolved",
      severity: seen.length > 0 ? "error" : "warning",
      message:
        seen.length > 0
          ? `The page imports "${first}", which the browser can't resolve: ${cause}.`
          : `Code imports "${first}" when it is used, and nothing resolves it: ${cause}.`,
      evidence: [
        ...(map === undefined ? [] : [`import map: ${short(map.text)}`]),
        ...lines(evidence, /module specifier|bare specifier|does not resolve|import ?map/i),
        ...(evidence.browser === null || seen.length === 0 ? [`${evidence.url}: import … "${first}"`] : []),
      ],
      changes: [isBuilt ? { kind: "build" } : mapWith(maps, added)],
    },
  ];
}

/** Names that the browser could not resolve: this package's, and others of a module that imports this package. */
function unresolvedNames(tags: readonly ScriptTag[], evidence: Evidence): string[] {
  const names = (evidence.browser?.console ?? []).flatMap((text) => {
    const [, name] = UNRESOLVED.map((x) => x.exec(text)).find((x) => x !== null) ?? [];
    return name === undefined ? [] : [name];
  });
  const codes = [...tags.map((x) => x.text), ...filesOf(evidence, "script").map((x) => textOf(x.answer))];
  const ours = codes.map(leadingImports).filter((x) => x.some(isOwnName));
  return names.filter((name) => isOwnName(name) || ours.some((x) => x.includes(name)));
}

function fileOf({ url }: ScriptTag, { files }: Evidence): SiteFile | undefined {
  return files.find((x) => url !== null && bare(x.url) === bare(url));
}

function codeOf(tag: ScriptTag, evidence: Evidence): string {
  const file = fileOf(tag, evidence);
  if (tag.url === null) return tag.text;
  return file !== undefined && isServed(file) ? textOf(file.answer) : "";
}

/** Names of this package that modules of the markup import, and that no map before them has. */
function unmapped(tags: readonly ScriptTag[], maps: readonly ImportMap[], evidence: Evidence): string[] {
  return tags.flatMap((tag, index) => {
    if (!isModule(tag)) return [];
    // A module of its own file is fetched while the rest of the markup is read.
    const before = tag.url === null ? maps.filter((x) => x.index < index) : maps;
    return leadingImports(codeOf(tag, evidence)).filter((name) => {
      const address = mappedAddress(before, name, tag.url ?? tag.base);
      return isOwnName(name) && (address === null || !isAddressOfMap(address));
    });
  });
}

/** Names of this package that code imports once it is used, and that no map has. */
function later(tags: readonly ScriptTag[], maps: readonly ImportMap[], evidence: Evidence): string[] {
  // es-module-shims resolves the names of its own modules.
  if (tags.some(isOfShims)) return [];
  const codes = codesOf(evidence);
  // Code may write the map itself.
  if (codes.some((x) => x.includes("importmap"))) return [];
  return codes.flatMap(dynamicImports).filter((name) => isOwnName(name) && mappedAddress(maps, name) === null);
}

/**
 * Makes one import map of the page's maps, with these addresses: the first map's word on a name counts.
 * @param isLost - whether an address leads nowhere; default: none does
 */
export function mapWith(
  maps: readonly ImportMap[],
  added: Readonly<Record<string, string>>,
  isLost: (address: string) => boolean = () => false,
): Change {
  const isKept = ([, address]: readonly [string, unknown]): boolean =>
    typeof address !== "string" || (isAddressOfMap(address) && !isLost(address));
  // The last assignment stands: the first map's.
  const jsons: Readonly<Record<string, unknown>>[] = maps
    .filter((x) => !x.isShim)
    .flatMap(({ json }) => (json === null ? [] : [json]));
  const all = jsons.reverse().flatMap((x) => Object.entries(x));
  const rest: Record<string, unknown> = {};
  let imports: Readonly<Record<string, string>> = {};
  const keep = (names: unknown): Record<string, string> =>
    Object.fromEntries(Object.entries(recordOf(names)).filter(isKept)) as Record<string, string>;
  for (const [key, value] of all)
    if (key === "imports") imports = { ...imports, ...keep(value) };
    else if (key === "scopes") {
      const scopes: Record<string, unknown> = { ...recordOf(rest[key]) };
      for (const [prefix, names] of Object.entries(recordOf(value)))
        scopes[prefix] = { ...recordOf(scopes[prefix]), ...keep(names) };
      rest[key] = scopes;
    } else rest[key] = { ...recordOf(rest[key]), ...recordOf(value) };
  return { kind: "import-map", imports: { ...imports, ...added }, rest };
}

/** Returns the address of a name: that of the package's module where it was found, else the documents' place. */
function usualAddress(name: string, evidence: Evidence): string {
  if (name !== "selvedge")
    return isOwnName(name) ? `/selvedge/${nameOf(`http://x/${name}`)}.js` : `<address of ${name}>`;
  return moduleOf(evidence) ?? USUAL;
}

/** Returns the path of the package's module that is served; null where none was found. */
export function moduleOf(evidence: Evidence): string | null {
  const found = filesOf(evidence, "script").find(
    (x) => isServed(x) && /^(?:selvedge(?:\.min)?|index)\.m?js$/.test(nameOf(x.url)) && hasPackage(textOf(x.answer)),
  );
  return found === undefined ? null : pathOf(found.url);
}

function hasPackage(text: string): boolean {
  return text.includes("selvedge.error") || /\bcreateEngine\b/.test(text);
}

function short(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ").slice(0, 120);
}
