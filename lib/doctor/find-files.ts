// Which of a site's files concern Selvedge: what the browser requested, what code names, what a bundle lists, and what
// belongs beside a file that is there. Names are recognised first; a file that a bundler renamed by its content.
import type { HttpAnswer, EngineError, Role, Seen, SiteFile, FoundBy, StartedWorker } from "./evidence.ts";
import { ask, isOk, textOf } from "./http.ts";
import type { Login } from "./http.ts";
import { importMaps, importsPackage, isCode, isOwnName, mappedAddress, namesOf, scriptTags, tagsOf } from "./markup.ts";
import { bare, extensionOf, folderOf, nameOf, roleByName, stemOf } from "./urls.ts";

/** Bytes of a script or binary that are read: the largest is 11 MB. */
const SCRIPT_LIMIT = 16 * 2 ** 20;
/** Chunks of a bundle that are read whole, beside those that failed in the browser. */
const CHUNKS_MAX = 12;
/** Scripts of a page that are read. */
const SCRIPTS_MAX = 80;
/** Places of the package's module in sites without a bundler, relative to the page and to its origin. */
const USUAL_MODULES = ["selvedge/selvedge.min.js", "/selvedge/selvedge.min.js", "/selvedge.min.js"];
/** Bytes of a compressed answer that are kept: its beginning shows what it is. */
const PACKED_LIMIT = 64 * 1024;
const PACKED = { "accept-encoding": "gzip, deflate, br, zstd" };
/** Codes of errors of a file that was loaded. */
const LOADED: ReadonlySet<string> = new Set(["download-failed", "model-invalid", "bundle-invalid"]);
const BINARIES: ReadonlySet<Role> = new Set(["model", "chunk"]);
/** A name of a worker or a binary in code, and whether it is relative to the script. */
const NAME =
  /["'`]([^"'`\s]*\b(?:worker-(?:jspi|wasm|cache)|ort-(?:jspi|wasm))\b[^"'`\s]*)["'`](\s*,\s*(?:["'`]{2}\s*\+\s*)?import\.meta\.url)?/g;
/** An option `assetsBase`, with its value where that is one text. */
const ASSETS_BASE = /(?<![.\w$]|\$\{)assetsBase["']?\s*(?:[,}]|:\s*(?:(["'`])([^"'`$]+)\1\s*[,}])?)/g;
/** Uses of that option in the package's own code. */
const OWN_ASSETS_BASE = [
  /\bassetsBase:\s*[\w$.]+\(["'`]a URL["'`]/g,
  /\bassetsBase(?:\s*:\s*[\w$]+)?\s*,\s*trustedTypesPolicy(?:\s*:\s*[\w$]+)?\s*\}\s*(?:,|=|\)\s*\{)/g,
  /\bresolveAssets\([^)]*\)/g,
  /\bassetsBase\.endsWith\("\/"\) \? assetsBase : /g,
] as const;

/** A file that is to be looked at. */
interface WantedFile {
  readonly url: string;
  readonly role: Role;
  readonly source: FoundBy;
}

/** A file whose name stands in code. */
interface Named extends WantedFile {
  /** Whether code shows that the page asks for this very address once its engine starts. */
  readonly isSure: boolean;
}

/** Requests and workers of the page, where a browser ran. */
export interface Requested {
  readonly seen: readonly Seen[];
  readonly workers: readonly StartedWorker[];
  readonly console: readonly string[];
  readonly errors: readonly EngineError[];
  /** Whether the page started an engine: else what it requested says nothing of the files that it will. */
  readonly hasStarted: boolean;
}

/** Finds and requests the files of a site. */
export async function findFiles(
  page: string,
  requested: Requested | null,
  login: Login | null = null,
): Promise<SiteFile[]> {
  const finder = new Finder(page, requested, login);
  await finder.add({ url: page, role: "document", source: "requested" });
  for (const wanted of finder.fromBrowser()) await finder.add(wanted);
  await finder.addScripts();
  await finder.addMapped();
  if (!finder.has("worker")) for (const wanted of finder.named()) await finder.addNamed(wanted);
  finder.dropRenamed();
  await finder.addSiblings();
  for (const wanted of finder.namedModels()) await finder.addNamed(wanted);
  await finder.addChunks();
  await finder.addBrotli();
  return [...finder.files.values()];
}

class Finder {
  readonly files: Map<string, SiteFile> = new Map();
  readonly #page: string;
  readonly #requested: Requested | null;
  readonly #login: Login | null;
  /** Texts of scripts and documents, by address. */
  readonly #texts: Map<string, string> = new Map();

  constructor(page: string, requested: Requested | null, login: Login | null) {
    this.#page = page;
    this.#requested = requested;
    this.#login = login;
  }

  get #hasStarted(): boolean {
    return this.#requested?.hasStarted === true;
  }

  has(role: Role): boolean {
    return [...this.files.values()].some((x) => x.role === role);
  }

  /** Requests a file and keeps the answer. */
  async add({ url, role, source }: WantedFile): Promise<SiteFile | null> {
    const known = this.files.get(bare(url));
    if (known !== undefined) return known;
    if (!/^https?:/.test(url)) return null;
    const origin = new URL(this.#page).origin;
    const headers = new URL(url).origin === origin ? {} : { origin };
    const login = this.#login;
    const answer = await ask(url, { headers, login, limit: SCRIPT_LIMIT });
    const [packed, range] = await Promise.all([
      role === "document" || answer.status === 0
        ? null
        : ask(url, { headers: { ...headers, ...PACKED }, login, limit: PACKED_LIMIT }),
      BINARIES.has(role) && answer.status !== 0
        ? ask(url, { headers: { ...headers, range: "bytes=0-15" }, login, limit: 1024 })
        : null,
    ]);
    const file = { url, role: roleByContent(role, answer, url), source, answer, packed, range };
    const found = { ...file, seen: this.#seen(url) };
    this.files.set(bare(url), found);
    if (["document", "script"].includes(found.role) && isOk(answer)) this.#texts.set(url, textOf(answer));
    return found;
  }

  /** Requests a file that code names, and keeps it where it is there. */
  async addNamed(wanted: Named): Promise<void> {
    const file = await this.add(wanted);
    if (file?.source !== "named" || (file.answer.status === 200 && !isHtml(file.answer))) return;
    // Code names files that it never requests: a name alone does not prove that one is missing.
    const isTwice = [...this.files.values()].some((x) => x !== file && nameOf(x.url) === nameOf(file.url));
    const isShown = this.#requested === null || (!this.#hasStarted && wanted.isSure);
    if (isTwice || !isShown || file.role === "bundle") this.files.delete(bare(wanted.url));
  }

  /** Drops names in code that are not served where a bundler has written the same file under another name. */
  dropRenamed(): void {
    const isServed = ({ answer }: SiteFile): boolean => isOk(answer) && !isHtml(answer);
    const served = new Set([...this.files.values()].filter(isServed).map((x) => stemOf(x.url)));
    for (const [key, file] of [...this.files])
      if (file.source === "named" && !isServed(file) && served.has(stemOf(file.url) ?? "")) this.files.delete(key);
  }

  /** Files that the browser requested, by name, by what the page did with them, or by what they hold. */
  fromBrowser(): WantedFile[] {
    const { seen = [], workers = [], console = [], errors = [] } = this.#requested ?? {};
    const source = "requested";
    // A request that a policy refuses inside a worker is in no log of requests: messages name it.
    const named = [...console, ...errors.map((x) => x.message)]
      .flatMap((text) => text.match(/https?:\/\/[^\s"'`<>()\u2018\u2019\u201c\u201d]+/g) ?? [])
      .map((url) => url.replace(/[.,:;]+$/, ""));
    const mentioned = [...new Set(named)].flatMap((url) => {
      const role = roleByName(url);
      return role === null ? [] : [{ url, role, source } as const];
    });
    // Labels and models under any name: an error of the engine has their addresses.
    const loaded = errors.flatMap(({ code, url }): WantedFile[] => {
      const at = url === null || !LOADED.has(code) ? null : absolute(url, this.#page);
      return at === null || roleByName(at) !== null ? [] : [{ url: at, role: "data", source }];
    });
    const ours = new Set(workers.filter((x) => x.name === "selvedge").map((x) => bare(x.url)));
    return seen
      .flatMap(({ url, failure, status }): WantedFile[] => {
        const role = roleByName(url);
        if (role !== null) return [{ url, role, source }];
        if (ours.has(bare(url))) return [{ url, role: "worker", source }];
        const isFailed = status < 200 || status >= 300 || failure !== undefined;
        if (/\.wasm$/.test(bare(url)) && (isFailed ? isHash(nameOf(url)) : isLarge(url, seen)))
          return [{ url, role: "wasm", source }];
        return [];
      })
      .concat(
        [...ours].map((url) => ({ url, role: roleByName(url) ?? "worker", source })),
        mentioned,
        loaded,
      );
  }

  /** Reads the page's scripts: those that it requested, else those that its document names. */
  async addScripts(): Promise<void> {
    const document = this.#texts.get(this.#page) ?? "";
    const linked = tagsOf(document, "link")
      .flatMap((x) => absolute(x.get("href") ?? "", this.#page) ?? [])
      .filter((url) => /\.m?[jt]sx?(?:[?#]|$)/.test(url));
    const named = [...scriptTags(document, this.#page).flatMap(({ url }) => url ?? []), ...linked];
    const seen = (this.#requested?.seen ?? [])
      .filter(
        ({ url, headers }) => /\.m?[jt]sx?(?:[?#]|$)/.test(url) || /javascript/.test(headers["content-type"] ?? ""),
      )
      .map(({ url }) => url);
    // A worker of the app that may not start is requested by nobody.
    const refused = (this.#requested?.workers ?? [])
      .filter((x) => x.name !== "selvedge" && x.thrown !== undefined && /^https?:/.test(x.url))
      .map(({ url }) => url);
    for (const url of [...new Set([...seen, ...named, ...refused])].slice(0, SCRIPTS_MAX))
      await this.add({ url, role: "script", source: "requested" });
    // Without an engine that ran, scripts that scripts import are found by their names; the loop reaches those that it adds.
    if (this.#hasStarted) return;
    const tags = scriptTags(document, this.#page);
    const maps = importMaps(tags);
    const inline = tags.filter((x) => x.url === null && isCode(x));
    for (const [at, text] of this.#texts) {
      const code = at === this.#page ? inline.map((x) => x.text).join("\n") : text;
      for (const [, name = ""] of code.matchAll(/(?:from|import)\s*\(?\s*["']([^"'\s]+)["']/g)) {
        const mapped = mappedAddress(maps, name, at);
        const url = absolute(mapped ?? name, mapped === null ? at : this.#page);
        const isPath = mapped !== null || /^(?:\.{1,2})?\/[^"']+\.m?[jt]sx?(?:\?|$)/.test(name);
        if (isPath && url !== null && this.#texts.size < SCRIPTS_MAX)
          await this.add({ url, role: "script", source: "named" });
      }
    }
  }

  /** Reads the package's modules that import maps name; where none is there, those of the usual places. */
  async addMapped(): Promise<void> {
    const tags = scriptTags(this.#texts.get(this.#page) ?? "", this.#page);
    const named = importMaps(tags).flatMap((map) => namesOf(map).filter(([name]) => isOwnName(name)));
    const codes = [...tags.filter((x) => x.url === null && isCode(x)).map((x) => x.text), ...this.#texts.values()];
    if (named.length === 0 && !codes.some(importsPackage)) return;
    const isThere = async (path: string): Promise<boolean> => {
      const url = absolute(path, this.#page);
      if (url === null) return false;
      const isKnown = this.files.has(bare(url));
      const file = await this.add({ url, role: "script", source: "named" });
      if (file !== null && isOk(file.answer) && !isHtml(file.answer)) return true;
      if (!isKnown) this.files.delete(bare(url));
      return false;
    };
    let isFound = false;
    for (const [name, path] of named) if (!name.endsWith("/")) isFound = (await isThere(path)) || isFound;
    for (const path of USUAL_MODULES) isFound ||= await isThere(path);
  }

  /** Workers and binaries that scripts name by their addresses. */
  named(): Named[] {
    const values = [...this.#texts.values()].flatMap(assetsBasesOf);
    const base = values.find((x) => x !== null);
    const isOneBase = new Set(values).size === 1;
    // A dev server's copies of packages resolve their files as they run.
    const texts = [...this.#texts].filter(([at]) => !/\/\.(?:vite|cache|angular)\//.test(at));
    const copies = this.#copies();
    return texts.flatMap(([at, text]) =>
      [...text.matchAll(NAME)].flatMap(([, name = "", isOfScript]): Named[] => {
        const own = new URL(name, at).href;
        const role = roleByName(own);
        if (role === null) return [];
        const hasHash = isHashed(own);
        if (base === undefined) {
          const isPlaced = isOfScript !== undefined || /^(?:https?:)?\//.test(name);
          const isCopy = copies.has(folderOf(at)) && values.length === 0;
          return [{ url: own, role, source: "named", isSure: isPlaced && (hasHash || isCopy) }];
        }
        const folder = new URL(base.endsWith("/") ? base : `${base}/`, this.#page).href;
        // Below assetsBase the files have the package's names, whatever the bundler made of them.
        const file = hasHash ? `${stemOf(own) ?? ""}${extensionOf(own)}` : nameOf(own);
        return [{ url: new URL(file, folder).href, role, source: "named", isSure: isOneBase }];
      }),
    );
  }

  /** Folders in which the package lies as it is: those that an import map names, or that have its one file. */
  #copies(): Set<string> {
    const maps = importMaps(scriptTags(this.#texts.get(this.#page) ?? "", this.#page));
    const mapped = mappedAddress(maps, "selvedge");
    const urls = [...this.#texts.keys()].filter((at) => nameOf(at) === "selvedge.min.js");
    const module = mapped === null ? null : absolute(mapped, this.#page);
    return new Set([...urls, ...(module === null ? [] : [module])].map(folderOf));
  }

  /** Models and bundles that scripts name. */
  namedModels(): Named[] {
    if (this.has("model") || this.has("bundle")) return [];
    return [...this.#texts.values()].flatMap((text) =>
      // Names that code makes from parts are left out.
      [...text.matchAll(/["'`]([^"'`\s$]+(?:\.onnx|\/bundle\.json))["'`]/g)].flatMap(([, name = ""]): Named[] => {
        const url = absolute(name, this.#page);
        const role = url === null ? null : roleByName(url);
        return url === null || role === null ? [] : [{ url, role, source: "named", isSure: false }];
      }),
    );
  }

  /** Files that belong beside a worker that was copied under its own name. */
  async addSiblings(): Promise<void> {
    for (const { url, role, answer } of [...this.files.values()]) {
      const build = /\/worker-(jspi|wasm)\.js$/.exec(bare(url))?.[1];
      if (role !== "worker" || build === undefined || !isOk(answer) || isHtml(answer)) continue;
      for (const name of ["worker-cache.js", `ort-${build}.wasm`, `ort-${build}-rest.wasm`]) {
        const sibling = new URL(name, folderOf(url)).href;
        const role = roleByName(sibling);
        if (role !== null) await this.add({ url: sibling, role, source: "sibling" });
      }
    }
  }

  /** Chunks that the bundles list: those that failed in the browser, and the first of the others. */
  async addChunks(): Promise<void> {
    for (const { url, role, answer } of [...this.files.values()]) {
      if (role !== "bundle" || answer.status !== 200) continue;
      const chunks = chunksOf(textOf(answer)).map(({ path }) => new URL(path, folderOf(url)).href);
      for (const chunk of chunks.slice(0, CHUNKS_MAX)) await this.add({ url: chunk, role: "chunk", source: "listed" });
    }
  }

  /** The brotli decoder beside the worker that fetches models, where a bundle needs it. */
  async addBrotli(): Promise<void> {
    const all = [...this.files.values()];
    const isNeeded = all.some(
      (x) => x.role === "bundle" && chunksOf(textOf(x.answer)).some((y) => y.encoding === "br"),
    );
    for (const { url, role, answer } of isNeeded ? all : []) {
      if (role !== "cache-worker" || nameOf(url) !== "worker-cache.js" || !isOk(answer) || isHtml(answer)) continue;
      await this.add({ url: new URL("brotli.wasm", folderOf(url)).href, role: "brotli", source: "sibling" });
    }
  }

  #seen(url: string): Seen | null {
    const all = (this.#requested?.seen ?? []).filter((x) => bare(x.url) === bare(url));
    return all.find((x) => x.failure !== undefined) ?? all.at(-1) ?? null;
  }
}

/** A chunk as a bundle lists it. */
export interface Listed {
  readonly path: string;
  readonly sha256: string;
  /** Size as sent. */
  readonly wireBytes: number;
  /** Stored encoding, `br` or `gzip`; "" for none. */
  readonly encoding: string;
}

/** Returns the chunks that a bundle.json lists, smallest first; none where it is not readable. */
export function chunksOf(json: string): Listed[] {
  const found = new Map<string, Listed>();
  try {
    const { schema } = JSON.parse(json) as { schema?: unknown };
    const ending = schema === "selvedge/bundle@1" ? "" : ".bin";
    JSON.parse(json, (_key, value: unknown) => {
      if (!isChunk(value)) return value;
      const { sha256, bytes, wireBytes = bytes, encoding = "" } = value;
      found.set(sha256, { path: `chunks/${sha256}${ending}`, sha256, wireBytes, encoding });
      return value;
    });
  } catch {
    // The engine names what is wrong with it.
  }
  return [...found.values()].sort((a, b) => a.wireBytes - b.wireBytes);
}

function isChunk(value: unknown): value is { sha256: string; bytes: number; wireBytes?: number; encoding?: string } {
  if (typeof value !== "object" || value === null || !("sha256" in value) || !("bytes" in value)) return false;
  return typeof value.sha256 === "string" && typeof value.bytes === "number" && !("chunks" in value);
}

/** Whether an answer is a page. */
export function isHtml(answer: HttpAnswer): boolean {
  const start = textOf({ ...answer, body: answer.body.subarray(0, 512) });
  return /^\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|script)\b/is.test(start.replace(/^\uFEFF/, ""));
}

/** Returns the role of a file once its content is known. */
function roleByContent(role: Role, answer: HttpAnswer, url: string): Role {
  if (role === "script") return roleByText(answer);
  if (role === "wasm" && roleByName(url) === null && isOtherWasm(answer)) return "asset";
  return role === "bundle" && isOtherJson(answer) ? "asset" : role;
}

/** Whether an answer is JSON, and of something else than a bundle: others call files bundle.json too. */
function isOtherJson(answer: HttpAnswer): boolean {
  if (answer.status !== 200 || "content-encoding" in answer.headers) return false;
  try {
    const json: unknown = JSON.parse(textOf(answer));
    if (typeof json !== "object" || json === null) return true;
    const { schema } = json as { readonly schema?: unknown };
    return !("variants" in json) && !(typeof schema === "string" && schema.startsWith("selvedge/"));
  } catch {
    return false;
  }
}

/** Recognises workers by what they hold: a bundler may have renamed them. */
function roleByText(answer: HttpAnswer): Role {
  if (!isOk(answer) || isHtml(answer)) return "script";
  const text = textOf(answer);
  if (!text.includes("selvedge.error")) return "script";
  if (text.includes("em-pthread") && text.includes("_OrtCreateSession")) return "worker";
  return text.includes("createEngine") || !text.includes("selvedge/bundle@") ? "script" : "cache-worker";
}

/** Whether a binary is as large as ONNX Runtime's: a page may have others. */
function isLarge(url: string, seen: readonly Seen[]): boolean {
  const length = seen.find((x) => x.url === url)?.headers["content-length"];
  return length === undefined || Number(length) > 2 ** 20;
}

/** Whether a binary's name is a hash alone: others are named after what they are, and are not ONNX Runtime's. */
function isHash(name: string): boolean {
  const [hash = ""] = name.split(".", 1);
  return /^[\da-f]{8,}$/.test(hash) || (/^[\w-]{8,}$/.test(hash) && /[A-Z]/.test(hash) && /[a-z\d]/.test(hash));
}

/** Whether an answer is WebAssembly, and of another library than ONNX Runtime. */
function isOtherWasm(answer: HttpAnswer): boolean {
  const { body } = answer;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return isOk(answer) && bytes.subarray(0, 4).toString("latin1") === "\0asm" && !bytes.includes("onnxruntime");
}

/** Lists the values of the option `assetsBase` in code that is not the package's own; null for one that is computed. */
function assetsBasesOf(text: string): (string | null)[] {
  const code = OWN_ASSETS_BASE.reduce((rest, own) => rest.replaceAll(own, ""), text);
  return [...code.matchAll(ASSETS_BASE)].map(([, , value]) => value ?? null);
}

/** Whether a bundler has written a hash into the name of one of the package's files. */
function isHashed(url: string): boolean {
  const rest = nameOf(url).slice(stemOf(url)?.length ?? 0);
  return /^[-.](?=[^.]*[A-Z\d])[\w-]{6,}\.(?:m?js|wasm)$/.test(rest);
}

function absolute(url: string, base: string): string | null {
  return URL.canParse(url, base) ? new URL(url, base).href : null;
}
