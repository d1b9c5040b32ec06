// Opens a repository in the Hugging Face layout, from the hub or from a folder of any static host, and describes it as a
// bundle (source/describe.ts). Only small files and lists are fetched here; weights are fetched when a variant is chosen.
//
// A hub lists its files with their SHA-256 and resolves a revision to a commit, at which all addresses are then pinned. A
// folder has no list: the names of the layout are probed, and a file without a stated hash is named by its address and
// validators, so the first download is trusted and a changed validator is a new version.
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { describeRepository } from "../source/describe.ts";
import type { RepositoryJson } from "../source/describe.ts";
import { chooseGraphs, listGraphs, mayHideData } from "../source/onnx-files.ts";
import type { GraphFile } from "../source/onnx-files.ts";
import { filesToRead, readRepository, readTree } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { openExternal, openFolder } from "./folder.ts";
import { readLocations } from "./read-graph.ts";
import { get, isMissing, readTexts, unverified } from "./repository-net.ts";
import type { Got, KnownRepository, Located, RepositoryNet } from "./repository-net.ts";
import { sniff } from "./sniff.ts";

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
  /** External data of the graph at `base`, relative to its folder; null for a repository. */
  readonly external: readonly string[] | null;
}

/** Bound on the pages of a list of files. */
const PAGES_MAX = 20;
const COMMIT = /^[0-9a-f]{40}$/;

/** Whether an address is a repository's or a folder's, whose path ends with a slash, or a graph's with external data. */
export function isRepository(url: string): boolean {
  const { pathname, hash } = new URL(url);
  return pathname.endsWith("/") || hash.startsWith(EXTERNAL);
}

const EXTERNAL = "#external=";

/** Returns the address of a graph with its external data. */
export function externalAddress(url: string, locations: readonly string[]): string {
  const address = new URL(url);
  address.hash = `${EXTERNAL}${encodeURIComponent(JSON.stringify(locations))}`;
  return address.href;
}

/**
 * Parses the address of a folder, or of a repository: `<host>/<repo>/resolve/<revision>/#repo=<repo>`, with `file=` for a
 * graph.
 */
export function parseAddress(url: string): RepositoryAddress {
  const { hash } = new URL(url);
  const base = url.slice(0, url.length - hash.length);
  if (hash.startsWith(EXTERNAL)) {
    const list = JSON.parse(decodeURIComponent(hash.slice(EXTERNAL.length))) as readonly string[];
    return { base, hub: null, file: undefined, external: list };
  }
  const fields = new URLSearchParams(hash.slice(1));
  const file = fields.get("file") ?? undefined;
  const repo = fields.get("repo");
  if (repo === null) return { base, hub: null, file, external: null };
  const at = base.lastIndexOf(`/${repo}/resolve/`);
  const revision = decodeURIComponent(base.slice(at + repo.length + "/resolve/".length + 1, -1));
  return { base, hub: { host: base.slice(0, Math.max(0, at)), repo, revision }, file, external: null };
}

/**
 * Describes a repository as its host has it now; null where its commit is that of the `known` description.
 * @throws SelvedgeError `download-failed`, `bundle-invalid` for a broken file, `model-invalid` for one without a graph
 */
export async function openRepository(
  { base, hub, file, external }: RepositoryAddress,
  known: KnownRepository | null,
  net: RepositoryNet,
): Promise<RepositoryJson | null> {
  if (external !== null) return openExternal(base, external, net);
  if (hub === null) return openFolder(base, file, known, net);
  const explain = (error: unknown): unknown => explained(error, hub, net.token);
  try {
    const commit = await commitOf(base, hub, net);
    if (commit !== null && commit === known?.version) return null;
    const pinned = commit === null ? base : `${hub.host}/${hub.repo}/resolve/${commit}/`;
    const files = await listFiles(hub, commit ?? hub.revision, net);
    const located = await locateAll(pinned, files);
    const [texts, locations] = await Promise.all([
      readTexts(pinned, filesToRead(files.map((x) => x.path)), net),
      readHidden({ base: pinned, files, located, file, name: hub.repo, known }, net),
    ]);
    const locate = (x: RepositoryFile): Located => located.get(x.path) as Located;
    return describeRepository({
      ...{ name: hub.repo, version: commit ?? "", file, files, locate, locations },
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
    const details = { url, reason: found?.reason ?? "not-json" };
    throw new SelvedgeError("bundle-invalid", message, details, error);
  }
}

/** Returns address and hash of each file; one without a stated hash is named by its address and git's id. */
async function locateAll(base: string, files: readonly RepositoryFile[]): Promise<Map<string, Located>> {
  const located = await Promise.all(
    files.map(async ({ path, bytes, sha256, oid }) => {
      const url = `${base}${path.split("/").map(encodeURIComponent).join("/")}`;
      return [path, sha256 === null ? await unverified({ url, bytes, oid }) : { url, sha256 }] as const;
    }),
  );
  return new Map(located);
}

/** A hub's files, in which external data may be hidden. */
interface Listed {
  readonly base: string;
  readonly files: readonly RepositoryFile[];
  readonly located: ReadonlyMap<string, Located>;
  readonly file: string | undefined;
  readonly name: string;
  readonly known: KnownRepository | null;
}

/** Reads the locations of external data in graphs whose names lead to none. */
async function readHidden(
  { base, files, located, file, name, known }: Listed,
  net: RepositoryNet,
): Promise<Map<string, readonly string[]>> {
  const sizes = new Map(files.map((x) => [x.path, x.bytes]));
  const paths = [...sizes.keys()];
  const graphs = chooseGraphs(listGraphs(paths), file, name);
  const hidden = graphs.filter((x) => mayHideData(x, sizes.get(x.path) ?? null, paths));
  const read = async ({ path }: GraphFile) => {
    const own = known?.locations.get(located.get(path)?.sha256 ?? "");
    return [path, own ?? (await readLocations(new Blob([(await get(`${base}${path}`, net)).bytes])))] as const;
  };
  return new Map(await Promise.all(hidden.map(read)));
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
