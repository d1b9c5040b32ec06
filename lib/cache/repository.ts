// Opens a repository in the Hugging Face layout, from the hub or from a folder of any static host, and describes it as a
// bundle (source/describe.ts). Only small files and lists are fetched here; weights are fetched when a variant is chosen.
//
// A hub lists its files with their SHA-256 and resolves a revision to a commit, at which all addresses are then pinned. A
// folder has no list: the names of the layout are probed, and a file without a stated hash is named by its address and
// validators, so the first download is trusted and a changed validator is a new version.
import { sha256Hex } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { describeRepository, placeOf } from "../source/describe.ts";
import type { DescribedFile, FilePlace, RepositoryJson } from "../source/describe.ts";
import { DTYPE_BY_SUFFIX } from "../source/onnx-files.ts";
import { filesToRead, pointerOf, readRepository, readTree, REPOSITORY_FILES, TOKENIZER } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { readAll, request, retry } from "./http.ts";
import type { NetOptions } from "./http.ts";
import { sniff } from "./sniff.ts";
import { validatorOf } from "./validator.ts";

/** A repository's address, parsed. */
export interface RepositoryAddress {
  /** Base of its files with a slash at the end: the folder itself, or `<host>/<repo>/resolve/<revision>/`. */
  readonly base: string;
  /** Null for a folder. */
  readonly hub: {
    /** As `https://huggingface.co`. */
    readonly host: string;
    /** As `owner/name`. */
    readonly repo: string;
    readonly revision: string;
  } | null;
  /** Requested graph; undefined for the usual one. */
  readonly file: string | undefined;
}

/** Options of the requests to a repository. */
export interface RepositoryNet extends NetOptions {
  readonly token: string | undefined;
  /** Number of attempts of each request. */
  readonly attempts: () => Promise<number>;
}

/** Bounds on the small files, on the list of files, and on its pages. */
const SMALL_MAX_BYTES = 8 * 1024 * 1024;
const PAGES_MAX = 20;
const COMMIT = /^[0-9a-f]{40}$/;

/** Whether an address is a repository's or a folder's: its path ends with a slash. */
export function isRepository(url: string): boolean {
  return new URL(url).pathname.endsWith("/");
}

/**
 * Parses the address of a folder, or of a repository: `<host>/<repo>/resolve/<revision>/#repo=<repo>`, with `file=` for a
 * graph.
 */
export function parseAddress(url: string): RepositoryAddress {
  const { hash } = new URL(url);
  const base = url.slice(0, url.length - hash.length);
  const fields = new URLSearchParams(hash.slice(1));
  const file = fields.get("file") ?? undefined;
  const repo = fields.get("repo");
  if (repo === null) return { base, hub: null, file };
  const at = base.lastIndexOf(`/${repo}/resolve/`);
  const revision = decodeURIComponent(base.slice(at + repo.length + "/resolve/".length + 1, -1));
  return { base, hub: { host: base.slice(0, Math.max(0, at)), repo, revision }, file };
}

/**
 * Describes a repository as its host has it now; null where its commit is `known`, so that the stored description holds.
 * @throws SelvedgeError `download-failed`, `bundle-invalid` for a broken file, `model-invalid` for one without a graph
 */
export async function openRepository(
  { base, hub, file }: RepositoryAddress,
  known: string | null,
  net: RepositoryNet,
): Promise<RepositoryJson | null> {
  if (hub === null) return openFolder(base, file, net);
  const explain = (error: unknown): unknown => explained(error, hub, net.token);
  try {
    const commit = await commitOf(base, hub, net);
    if (commit !== null && commit === known) return null;
    const pinned = commit === null ? base : `${hub.host}/${hub.repo}/resolve/${commit}/`;
    const files = await listFiles(hub, commit ?? hub.revision, net);
    const texts = await readTexts(pinned, filesToRead(files.map((x) => x.path)), net);
    const located = await locateAll(pinned, files);
    const locate = (x: RepositoryFile): Located => located.get(x.path) as Located;
    return describeRepository({
      ...{ name: hub.repo, version: commit ?? "", file, files, locate },
      facts: readRepository(texts),
    });
  } catch (error) {
    throw explain(error);
  }
}

/** Returns the commit of a revision; null where the host states none. */
async function commitOf(
  base: string,
  { host, repo, revision }: NonNullable<RepositoryAddress["hub"]>,
  net: RepositoryNet,
): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const found = await get(`${base}config.json`, net).catch((error: unknown) => {
    if (isMissing(error)) return null; // a repository without config.json, or no such revision: the list decides
    throw error;
  });
  const told = found?.headers.get("x-repo-commit") ?? null;
  if (told !== null && COMMIT.test(told)) return told;
  // Across origins a proxy may hide the header.
  const info = await get(`${host}/api/models/${repo}/revision/${encodeURIComponent(revision)}`, net).catch(() => null);
  const sha: unknown = info === null ? null : fieldOf(info.text, "sha");
  return typeof sha === "string" && COMMIT.test(sha) ? sha : null;
}

function fieldOf(text: string, name: string): unknown {
  try {
    const json = JSON.parse(text) as unknown;
    return typeof json === "object" && json !== null ? Reflect.get(json, name) : null;
  } catch {
    return null;
  }
}

/** Lists the files at a commit, page by page. */
async function listFiles(
  { host, repo }: NonNullable<RepositoryAddress["hub"]>,
  commit: string,
  net: RepositoryNet,
): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  let url: string | null = `${host}/api/models/${repo}/tree/${encodeURIComponent(commit)}?recursive=1`;
  for (let page = 0; url !== null && page < PAGES_MAX; page += 1) {
    const { text, headers }: Got = await get(url, net);
    files.push(...readTree(parseList(url, text)));
    const next = /<([^>]+)>;\s*rel="next"/.exec(headers.get("link") ?? "")?.[1];
    // Only pages of the same host: the token goes with the request.
    url = next === undefined ? null : new URL(next, url).href;
    if (url !== null && new URL(url).origin !== new URL(host).origin) url = null;
  }
  return files;
}

function parseList(url: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const found = sniff(new TextEncoder().encode(text.slice(0, 1_000)));
    const what = found === null ? "is not JSON" : `is ${found.what}`;
    const message = `${url} ${what}, not a list of files: is \`host\` a Hugging Face hub? For a folder on a static host pass its URL.`;
    throw new SelvedgeError(
      "download-failed",
      message,
      { url, reason: found?.reason ?? "not-json", final: true },
      error,
    );
  }
}

/** Address and hash of a file. */
type Located = Omit<DescribedFile, "path" | "bytes">;

/** Returns address and hash of each file; one without a stated hash is named by its address and git's id. */
async function locateAll(base: string, files: readonly RepositoryFile[]): Promise<Map<string, Located>> {
  const wanted = files.filter((x) => x.path === TOKENIZER || /\.onnx/.test(x.path));
  const located = await Promise.all(
    wanted.map(async ({ path, bytes, sha256, oid }) => {
      const url = `${base}${path.split("/").map(encodeURIComponent).join("/")}`;
      return [path, sha256 === null ? await unverified({ url, bytes, oid }) : { url, sha256 }] as const;
    }),
  );
  return new Map(located);
}

async function unverified(place: FilePlace): Promise<Located> {
  const sha256 = await sha256Hex(new TextEncoder().encode(placeOf(place)));
  return { url: place.url, sha256, isUnverified: true };
}

/** Fetches small files; one that is not there is left out. */
async function readTexts(base: string, paths: readonly string[], net: RepositoryNet): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const read = async (path: string): Promise<void> => {
    const url = `${base}${path}`;
    const found = await get(url, net).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw error;
    });
    if (found === null) return;
    if (pointerOf(found.text) !== null)
      throw new SelvedgeError(
        "bundle-invalid",
        `${url} is a Git LFS pointer, not the file itself. Run \`git lfs pull\` before deploying.`,
        { url, reason: "git-lfs" },
      );
    // A host that answers with its start page has no such file.
    if (sniff(new TextEncoder().encode(found.text.slice(0, 600)))?.reason !== "html") texts.set(path, found.text);
  };
  await Promise.all(paths.map(read));
  return texts;
}

/** Describes a folder of a static host by probing the names of the layout. */
async function openFolder(base: string, file: string | undefined, net: RepositoryNet): Promise<RepositoryJson> {
  const [texts, files] = await Promise.all([readTexts(base, REPOSITORY_FILES, net), probeAll(base, file, net)]);
  const located = new Map(
    await Promise.all(files.map(async ({ place, path }) => [path, await unverified(place)] as const)),
  );
  const name = decodeURIComponent(new URL(base).pathname.split("/").at(-2) ?? "") || new URL(base).host;
  if (!files.some((x) => x.path.endsWith(".onnx")))
    throw new SelvedgeError(
      "model-invalid",
      `${base} has no onnx/model.onnx, nor a form of it: pass the URL of the folder that holds config.json and onnx/, or name the graph by \`file\`.`,
      { url: base, reason: "no-onnx" },
    );
  return describeRepository({
    ...{ name, version: "", file, files },
    facts: readRepository(texts),
    locate: (x) => located.get(x.path) as Located,
  });
}

/** A file that a folder has. */
interface Probed extends RepositoryFile {
  readonly place: FilePlace;
}

/** Finds the graphs of a folder with their external data, in `onnx/` or at its top, and the tokenizer. */
async function probeAll(base: string, file: string | undefined, net: RepositoryNet): Promise<Probed[]> {
  const tokenizer = probe(base, TOKENIZER, net);
  const name = file?.replace(/\.onnx$/, "") ?? "model";
  const stems = name.includes("/") ? [name] : [`onnx/${name}`, name];
  const found: Probed[] = [];
  for (const stem of stems) {
    const graphs = await Promise.all(
      Object.keys(DTYPE_BY_SUFFIX).map((suffix) => probe(base, `${stem}${suffix}.onnx`, net)),
    );
    found.push(...graphs.filter((x) => x !== null));
    if (found.length > 0) break;
  }
  const data = await Promise.all(found.map(({ path }) => probeData(base, path, net)));
  const own = await tokenizer;
  return [...found, ...data.flat(), ...(own === null ? [] : [own])];
}

/** Finds the external data of a graph by its names. */
async function probeData(base: string, path: string, net: RepositoryNet): Promise<Probed[]> {
  const [first, torch] = await Promise.all([probe(base, `${path}_data`, net), probe(base, `${path}.data`, net)]);
  const found = [first, torch].filter((x) => x !== null);
  for (let i = 1, more = first; more !== null; i += 1) {
    more = await probe(base, `${path}_data_${i}`, net);
    if (more !== null) found.push(more);
  }
  return found;
}

/** Asks for a file's size and validators; null where it is not there. */
async function probe(base: string, path: string, net: RepositoryNet): Promise<Probed | null> {
  const url = `${base}${path}`;
  const ask = (init: RequestInit, accepted: readonly number[]) =>
    retry(net, () => request(url, { cache: "no-cache", ...init }, net, accepted), net.attempts);
  try {
    let { headers, cancel, status } = await ask({ method: "HEAD" }, [200, 405, 501]);
    cancel();
    let own = validatorOf(headers);
    if (/^text\/html\b/i.test(headers.get("content-type") ?? "")) return null;
    if (status !== 200 || own.bytes === null) {
      // A range is never compressed, so its answer states the file's own size.
      ({ headers, cancel, status } = await ask({ headers: { range: "bytes=0-0" } }, [200, 206]));
      cancel();
      own = validatorOf(headers, status === 206);
    }
    const { etag, lastModified, bytes } = own;
    return { path, bytes, sha256: null, oid: null, place: { url, bytes, etag, lastModified } };
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** A fetched text with the headers of its answer. */
interface Got {
  readonly text: string;
  readonly headers: Headers;
}

/** Fetches a small text; the browser's own copy is revalidated. */
async function get(url: string, net: RepositoryNet): Promise<Got> {
  const { token } = net;
  const init: RequestInit =
    token === undefined ? { cache: "no-cache" } : { cache: "no-cache", headers: { authorization: `Bearer ${token}` } };
  return retry(
    net,
    async () => {
      const body = await request(url, init, net);
      const bytes = await readAll(url, body, SMALL_MAX_BYTES, null, () => undefined);
      return { text: new TextDecoder().decode(bytes), headers: body.headers };
    },
    net.attempts,
  );
}

/** Whether a host answered that it has no such file; some static hosts say 403 for that. */
function isMissing(error: unknown): boolean {
  return isSelvedgeError(error) && [403, 404, 410].includes(Number(error.details["status"]));
}

/** Returns the error of a hub with the fix for its status. */
function explained(
  error: unknown,
  { host, repo, revision }: NonNullable<RepositoryAddress["hub"]>,
  token: string | undefined,
): unknown {
  const status = isSelvedgeError(error) ? Number(error.details["status"]) : Number.NaN;
  if (!isSelvedgeError(error)) return error;
  const texts: Readonly<Record<number, string>> = {
    401:
      token === undefined
        ? `${repo} is private or gated, or does not exist on ${host}: check the name, or pass \`token\`, a function that returns an access token.`
        : `${host} does not accept the token for ${repo}: it is expired or wrong, or the repository does not exist.`,
    403: `${repo} is gated: accept its terms at ${host}/${repo} and pass a \`token\` of that account with read access.`,
    404: `${host} has no ${repo} at the revision "${revision}": check \`repo\` and \`revision\`.`,
  };
  const text = texts[status];
  return text === undefined ? error : new SelvedgeError(error.code, text, error.details, error);
}
