// Opens a repository in the Hugging Face layout, from the hub or from a folder of any static host, and describes it as a
// bundle (source/describe.ts). Only small files and lists are fetched here; weights are fetched when a variant is chosen.
//
// A hub lists its files with their SHA-256 and resolves a revision to a commit, at which all addresses are then pinned. A
// folder has no list: the names of the layout are probed, and a file without a stated hash is named by its address and
// validators, so the first download is trusted and a changed validator is a new version.
import { describeRepository } from "../source/describe.ts";
import type { RepositoryJson } from "../source/describe.ts";
import { chooseGraphs, listGraphs, mayHideData } from "../source/onnx-files.ts";
import type { GraphFile } from "../source/onnx-files.ts";
import { explainHub, isMissing, listFiles, readCommit } from "../source/hub.ts";
import type { HubRepository } from "../source/hub.ts";
import { filesUrl } from "../source/hub-address.ts";
import { filesToRead, readRepository } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { openExternal, openFolder } from "./folder.ts";
import { readLocations } from "./read-graph.ts";
import { get, readTexts, unverified } from "./repository-net.ts";
import type { KnownRepository, Located, RepositoryNet } from "./repository-net.ts";

/** A repository's address, parsed. */
export interface RepositoryAddress {
  /** Base of its files with a slash at the end: the folder itself, or `<host>/<repo>/resolve/<revision>/`. */
  readonly base: string;
  /** Null for a folder. */
  readonly hub: HubRepository | null;
  /** Requested graph; undefined for the usual one. */
  readonly file: string | undefined;
  /** External data of the graph at `base`, relative to its folder; null for a repository. */
  readonly external: readonly string[] | null;
}

/** Whether an address is a repository's or a folder's, whose path ends with a slash, or a graph's with external data. */
export function isRepository(url: string): boolean {
  const { pathname, hash } = new URL(url);
  return pathname.endsWith("/") || hash.startsWith(EXTERNAL);
}

const EXTERNAL = "#external=";
const HOW = "pass `token`, a function that returns an access token";

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
  if (external !== null) return openExternal(base, external, known, net);
  if (hub === null) return openFolder(base, file, known, net);
  const getText = (url: string): ReturnType<typeof get> => get(url, net);
  try {
    const commit = await readCommit(hub, getText);
    if (commit !== null && commit === known?.version) return null;
    const pinned = filesUrl(hub.host, hub.repo, commit ?? hub.revision);
    const files = await listFiles({ ...hub, revision: commit ?? hub.revision }, getText);
    const located = await locateAll(pinned, files);
    const [texts, locations] = await Promise.all([
      readTexts(pinned, filesToRead(files.map((x) => x.path)), net, isMissing),
      readHidden({ base: pinned, files, located, file, name: hub.repo, known }, net),
    ]);
    const locate = (x: RepositoryFile): Located => located.get(x.path) as Located;
    return describeRepository({
      ...{ name: hub.repo, version: commit ?? "", file, files, locate, locations },
      facts: readRepository(texts),
    });
  } catch (error) {
    throw explainHub(error, hub, { hasToken: net.token !== undefined, how: HOW });
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
interface RepositoryListing {
  readonly base: string;
  readonly files: readonly RepositoryFile[];
  readonly located: ReadonlyMap<string, Located>;
  readonly file: string | undefined;
  readonly name: string;
  readonly known: KnownRepository | null;
}

/** Reads the locations of external data in graphs whose names lead to none. */
async function readHidden(
  { base, files, located, file, name, known }: RepositoryListing,
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
