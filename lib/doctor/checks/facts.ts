// Questions that several checks ask of the evidence, and how facts are written.
import { isUtf8 } from "node:buffer";
import { brotliDecompressSync } from "node:zlib";
import type { HttpAnswer, Evidence, Diagnosis, Role, SiteFile } from "../evidence.ts";
import { isHtml } from "../find-files.ts";
import { isOk, textOf } from "../http.ts";
import { importMaps, importsPackage, isCode, isOwnName, namesOf, scriptTags } from "../markup.ts";
import { extensionOf, isLoopback, pathOf } from "../urls.ts";

/** Facts that a finding shows. */
const EVIDENCE_MAX = 6;

/** Files without which the engine does not start. */
export const ENGINE: ReadonlySet<Role> = new Set(["worker", "cache-worker", "wasm", "rest"]);
const LFS = /^version https:\/\/git-lfs\.github\.com\/spec\//;
/** Files of models. */
export const MODELS: ReadonlySet<Role> = new Set(["bundle", "chunk", "model"]);

/** Returns the files of these roles. */
export function filesOf({ files }: Evidence, ...roles: readonly Role[]): readonly SiteFile[] {
  return files.filter((x) => roles.includes(x.role));
}

/** Whether a file was answered, and by itself: neither an error nor a page in its place. */
export function isServed({ answer }: SiteFile): boolean {
  return isOk(answer) && !isHtml(answer);
}

/** Whether the browser got a file. */
export function isArrived({ seen }: SiteFile): boolean {
  return seen !== null && seen.failure === undefined && isOk(seen);
}

/** Whether the server withholds a file from the doctor alone, as where the page got a cookie: that is no fault of the file. */
export function isHidden(file: SiteFile): boolean {
  const { answer, seen } = file;
  if (seen === null || !isArrived(file) || seen.isFromServiceWorker) return false;
  if (answer.status >= 400 && answer.status < 500) return true;
  const isRedirected = answer.redirects.length > 0 && pathOf(answer.url) !== pathOf(file.url);
  // A page in place of the file, and its type, are the doctor's alone.
  const isOther = typeOf(answer) === "text/html" && !["", "text/html"].includes(typeOf(seen));
  return isHtml(answer) && (isRedirected || isOther);
}

/** Whether an answer is a Git LFS pointer. */
export function isPointer(answer: HttpAnswer): boolean {
  return LFS.test(textOf({ ...answer, body: answer.body.subarray(0, 256) }));
}

/** Describes a Git LFS pointer in place of a file. */
export function pointer({ answer, url }: SiteFile): Diagnosis {
  return {
    id: "lfs-pointer",
    severity: "error",
    message: `${pathOf(url)} is a Git LFS pointer of ${answer.body.byteLength} bytes, not the file.`,
    evidence: [`${url}: begins with "version https://git-lfs.github.com/spec/…"`],
    changes: [{ kind: "replace", url: pathOf(url), command: "git lfs install && git lfs pull" }],
  };
}

/** Returns the document. */
export function documentOf(evidence: Evidence): SiteFile | undefined {
  return evidence.files.find((x) => x.role === "document");
}

/** Returns a header; of the browser's own request where it made one. */
export function header(file: SiteFile | undefined, name: string): string | undefined {
  return file?.answer.headers[name] ?? file?.seen?.headers[name];
}

/** Returns the coding of a script or binary that is sent compressed without a header that says so; null for others. */
export function undeclaredCoding({ answer }: SiteFile): "gzip" | "br" | "zstd" | null {
  const { body, headers, isWhole } = answer;
  if ("content-encoding" in headers || body.byteLength === 0) return null;
  if (body[0] === 0x1f && body[1] === 0x8b) return "gzip";
  if (body[0] === 0x28 && body[1] === 0xb5 && body[2] === 0x2f && body[3] === 0xfd) return "zstd";
  // Brotli has no mark: what it expands is not the text or the module that was expected.
  if (!isWhole || isText(body) || (body[0] === 0 && body[1] === 0x61)) return null;
  try {
    return brotliDecompressSync(body).byteLength > 0 ? "br" : null;
  } catch {
    return null;
  }
}

/** Returns bytes as they were before something that took them for text wrote each "\n" as "\r\n". */
export function withoutCarriageReturns(body: Uint8Array): Uint8Array {
  return body.filter((byte, i) => byte !== 0x0d || body[i + 1] !== 0x0a);
}

/** Causes of such changes. */
export const AS_TEXT =
  "it was copied as text, with other line ends: by an upload in text mode, or by Git without `* -text` in .gitattributes";
const AS_UTF8 =
  "it was copied as text: a program read it as UTF-8, and wrote U+FFFD (ef bf bd) for each byte that is none";

/** Pairs "\r\n" that a file must have by chance for their absence to say something. */
const PAIRS_MIN = 12;

/**
 * Returns how bytes were changed by something that took them for text; null where nothing shows it.
 * @param isShort whether bytes are missing: about as many as the file had pairs "\r\n", if it was that
 */
export function textFault(body: Uint8Array, isShort: boolean): string | null {
  let marks = 0;
  let pairs = 0;
  for (let i = 0; i < body.byteLength; i += 1)
    if (body[i] === 0x0a && body[i - 1] === 0x0d) pairs += 1;
    else if (body[i] === 0xbd && body[i - 1] === 0xbf && body[i - 2] === 0xef) marks += 1;
  // By chance one of 16 million places has such a mark, and hardly any binary is UTF-8.
  if (marks >= 8 && marks * 100 >= body.byteLength && isUtf8(body)) return AS_UTF8;
  // "\r\r\n" leaves a pair: one for 256 that are gone.
  const expected = body.byteLength / 2 ** 16;
  return isShort && expected >= PAIRS_MIN && pairs * PAIRS_MIN < expected ? AS_TEXT : null;
}

/** Whether WebAssembly ends within one of its sections. */
export function isCutWasm({ body, isWhole, headers }: HttpAnswer): boolean {
  if (!isWhole || "content-encoding" in headers || body.byteLength < 8) return false;
  let at = 8;
  while (at < body.byteLength) {
    let size = 0;
    let factor = 1;
    let byte = 0x80;
    for (at += 1; byte >= 0x80 && at < body.byteLength && factor < 2 ** 35; at += 1, factor *= 128) {
      byte = body[at] ?? 0;
      size += (byte & 0x7f) * factor;
    }
    if (byte >= 0x80) return true;
    at += size;
  }
  return at > body.byteLength;
}

function isText(body: Uint8Array): boolean {
  return !body.includes(0) && isUtf8(body);
}

/** Returns the type of an answer without its parameters, in lower case. */
export function typeOf({ headers }: Pick<HttpAnswer, "headers">): string {
  return (headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/** Writes an answer: address, status and type. */
export function described(file: SiteFile): string {
  const { answer } = file;
  if (answer.status === 0) return `${file.url}: ${answer.error ?? "no answer"}`;
  const over = answer.redirects.length === 0 ? "" : `, redirected to ${pathOf(answer.url)}`;
  return `${file.url}: status ${answer.status}, ${answer.headers["content-type"] ?? "no content type"}${over}`;
}

/** Writes the lines of the browser's console that match. */
export function lines({ browser }: Evidence, pattern: RegExp): string[] {
  const found = (browser?.console ?? []).filter((x) => pattern.test(x)).map((x) => x.split("\n", 1)[0] ?? "");
  return [...new Set(found)].slice(0, 2).map((x) => `console: ${x.slice(0, 300)}`);
}

/** Types that browsers run as scripts. */
const SCRIPT = /^(?:text|application)\/(?:x-)?(?:java|ecma)script$|^text\/(?:javascript1\.[0-5]|jscript|livescript)$/;

/** Whether an answer has a type that browsers run as a script. */
export function isScriptType(answer: HttpAnswer): boolean {
  return SCRIPT.test(typeOf(answer));
}

/** Whether a file is a source that a bundler has yet to compile; a development server answers those as JavaScript. */
export function isUnbuilt(file: SiteFile | undefined): boolean {
  if (file === undefined || !isServed(file) || isScriptType(file.answer)) return false;
  return /^\.(?:[cm]?ts|tsx|jsx|vue|svelte)$/.test(extensionOf(file.url));
}

/** Writes the fault of a page whose sources are served. */
export function notBuilt(cause: string, evidence: readonly string[]): Diagnosis {
  const message = `${cause}: these are sources, which are built first.`;
  return { id: "not-built", severity: "error", message, evidence, changes: [{ kind: "build" }] };
}

/** Writes a number of bytes. */
export function kilobytes(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** Whether the page is https and the file http on another machine: browsers block such requests. */
export function isMixed({ url }: Pick<SiteFile, "url">, { url: page }: Pick<Evidence, "url">): boolean {
  const { protocol, hostname } = new URL(url);
  return new URL(page).protocol === "https:" && protocol === "http:" && !isLoopback(hostname);
}

/** Whether a script of the page holds the package, or its imports or an import map name it. */
export function namesPackage(evidence: Evidence): boolean {
  const document = documentOf(evidence);
  if (document === undefined) return false;
  const tags = scriptTags(textOf(document.answer), evidence.url);
  const maps = importMaps(tags).some((map) =>
    map.imports === null ? /\bselvedge\b/.test(map.text) : namesOf(map).some(([name]) => isOwnName(name)),
  );
  return maps || codesOf(evidence).some((code) => code.includes("selvedge.error") || importsPackage(code));
}

/** Returns the code of the page's scripts, inline ones first. */
export function codesOf(evidence: Evidence): string[] {
  const document = documentOf(evidence);
  const tags = document === undefined ? [] : scriptTags(textOf(document.answer), evidence.url);
  const inline = tags.filter((x) => x.url === null && isCode(x)).map((x) => x.text);
  return [...inline, ...filesOf(evidence, "script").map((x) => textOf(x.answer))];
}

/** Whether the page names an origin of its own for a file. */
export function isForeign({ url }: SiteFile, evidence: Evidence): boolean {
  return new URL(url).origin !== new URL(evidence.url).origin;
}

/** Returns where a header of a file is set: its path, with the origin where that is not the page's. */
export function placeOf(file: SiteFile, evidence: Evidence): string {
  return isForeign(file, evidence) ? file.url.replace(/[?#].*$/s, "") : pathOf(file.url);
}

/** Merges findings of one id, which have one cause: the first one's message, with the evidence and changes of all. */
export function mergeById(found: readonly Diagnosis[]): Diagnosis[] {
  const merged = new Map<string, Diagnosis>();
  for (const next of found) {
    const before = merged.get(next.id);
    if (before === undefined) {
      merged.set(next.id, next);
      continue;
    }
    const known = new Set(before.changes.map((x) => JSON.stringify(x)));
    merged.set(next.id, {
      ...before,
      evidence: [...new Set([...before.evidence, ...next.evidence])].slice(0, EVIDENCE_MAX),
      changes: [...before.changes, ...next.changes.filter((x) => !known.has(JSON.stringify(x)))],
    });
  }
  return [...merged.values()];
}
