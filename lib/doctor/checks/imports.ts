// Imports that the page can't resolve, before any file of Selvedge is requested: an import map that is no JSON, that
// comes after the module or lacks the name, and a script with imports that is no module. The browser's own words decide
// where there is a browser, and what the markup says where there is none.
import type { Evidence, Found, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import {
  dynamicImports,
  importMaps,
  isAddressOfMap,
  isBare,
  isClassic,
  isModule,
  isOwnName,
  leadingImports,
  mappedAddress,
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
export function imports(evidence: Evidence): Found[] {
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

function unreadMaps(tags: readonly ScriptTag[], evidence: Evidence): Found[] {
  return importMaps(tags).flatMap(({ text, fault }): Found[] => {
    if (fault === null) return [];
    return [
      {
        id: "import-map-invalid",
        severity: "error",
        message: `The page's import map is not JSON (${fault}): the browser ignores it, and the app does not start.`,
        evidence: [
          `import map: ${short(text)}`,
          ...lines(evidence, /import ?map|JSON|module specifier|bare specifier/i),
        ],
        changes: [{ kind: "import-map", imports: repaired(text) }],
      },
    ];
  });
}

/** Returns the names and addresses of an import map that is no JSON. */
function repaired(text: string): Record<string, string> {
  const pairs = text.matchAll(/["']?([@\w][\w@/.-]*)["']?\s*:\s*["']([^"'\n]+)["']/g);
  const found = [...pairs].map(([, name = "", address = ""]) => [name, address] as const);
  return found.length === 0 ? { selvedge: USUAL } : Object.fromEntries(found);
}

/** Scripts with import statements that lack type="module". */
function classics(tags: readonly ScriptTag[], evidence: Evidence): Found[] {
  const { browser, files } = evidence;
  const told = (browser?.scriptErrors ?? []).filter((x) => NO_MODULE.test(x.message));
  if (browser !== null && told.length === 0) return [];
  const wrong = tags.find((tag) => {
    if (!isClassic(tag)) return false;
    const { url, text } = tag;
    if (url === null) return leadingImports(text).length > 0;
    const file = files.find((x) => bare(x.url) === bare(url));
    const isTold = told.some((x) => bare(x.url) === bare(url));
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
        ...told.slice(0, 1).map((x) => `${x.url}:${x.line}: ${x.message}`),
      ],
      changes: [{ kind: "module", script: url === null ? null : pathOf(url) }],
    },
  ];
}

/** Bare names that no import map resolves for the module that imports them. */
function unresolved(tags: readonly ScriptTag[], evidence: Evidence): Found[] {
  const maps = importMaps(tags);
  const seen = evidence.browser === null ? unmapped(tags, maps, evidence) : told(tags, evidence);
  const names = [...new Set([...seen, ...later(maps, evidence)])].filter(isBare);
  const [first] = names;
  if (first === undefined) return [];
  const { bundler } = evidence.stack;
  if (maps.length === 0 && evidence.project !== null && bundler !== null && bundler !== "importmap")
    return [
      notBuilt(`The page imports "${first}", a name that ${bundler} replaces`, [
        ...lines(evidence, /module specifier|bare specifier|does not resolve/i),
        `${evidence.project.folder}: ${bundler}`,
      ]),
    ];
  const map = maps.find((x) => mappedAddress([x], first) !== null);
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
      : maps.length > 0
        ? "the import map does not have the name"
        : "the page has no import map, and no bundler has replaced the name";
  return [
    {
      id: "import-unresolved",
      severity: "error",
      message: `The page imports "${first}", which the browser can't resolve: ${cause}.`,
      evidence: [
        ...(map === undefined ? [] : [`import map: ${short(map.text)}`]),
        ...lines(evidence, /module specifier|bare specifier|does not resolve|import ?map/i),
        ...(evidence.browser === null || seen.length === 0 ? [`${evidence.url}: import … "${first}"`] : []),
      ],
      changes: [{ kind: "import-map", imports: { ...kept(maps), ...added } }],
    },
  ];
}

/** Names that the browser could not resolve: this package's, and others of a module that imports this package. */
function told(tags: readonly ScriptTag[], evidence: Evidence): string[] {
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

/** Names of this package that modules of the markup import, and that no map before them has. */
function unmapped(tags: readonly ScriptTag[], maps: readonly ImportMap[], evidence: Evidence): string[] {
  return tags.flatMap((tag, index) => {
    if (!isModule(tag)) return [];
    const file = fileOf(tag, evidence);
    const code = tag.url === null ? tag.text : file !== undefined && isServed(file) ? textOf(file.answer) : "";
    // A module of its own file is fetched while the rest of the markup is read.
    const before = tag.url === null ? maps.filter((x) => x.index < index) : maps;
    return leadingImports(code).filter((name) => {
      const address = mappedAddress(before, name);
      return isOwnName(name) && (address === null || !isAddressOfMap(address));
    });
  });
}

/** Names of this package that code imports once it is used, and that no map has. */
function later(maps: readonly ImportMap[], evidence: Evidence): string[] {
  const codes = codesOf(evidence);
  // Code may write the map itself.
  if (codes.some((x) => x.includes("importmap"))) return [];
  return codes.flatMap(dynamicImports).filter((name) => isOwnName(name) && mappedAddress(maps, name) === null);
}

/** Addresses of the page's maps that a browser takes. */
function kept(maps: readonly ImportMap[]): Record<string, string> {
  const all = maps.flatMap(({ imports }) => [...(imports ?? [])]).reverse();
  return Object.fromEntries(all.filter(([, address]) => isAddressOfMap(address)));
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
