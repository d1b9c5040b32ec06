// Requests for the small files of a repository, from a hub or a static host, and for a file's size and validators.
import { sha256Hex } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { unvalidatedIn } from "./unvalidated-files.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { placeOf, REPOSITORY_RULES } from "../source/describe.ts";
import type { DescribedFile, FilePlace } from "../source/describe.ts";
import { pointerOf } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { furtherFiles } from "../source/vocabulary.ts";
import { readAll, request, retry } from "./http.ts";
import type { NetOptions } from "./http.ts";
import { sniff } from "../core/sniff.ts";
import { validatorOf } from "./validator.ts";

/** Options of the requests to a repository. */
export interface RepositoryNet extends NetOptions {
  readonly token: string | undefined;
  /** Number of attempts of each request. */
  readonly attempts: () => Promise<number>;
}

/** Address and hash of a file. */
export type Located = Omit<DescribedFile, "path" | "bytes">;

/** A stored description, from which unchanged parts are taken. */
export interface KnownRepository {
  /** Its commit; empty where the host has none, and where another release described it, by other rules. */
  readonly version: string;
  /** Paths of external data by the hash of their graph; none where another release described it. */
  readonly locations: ReadonlyMap<string, readonly string[]>;
  /** Files without validators (unvalidated-files.ts) by address. */
  readonly unvalidated: ReadonlyMap<string, Pick<DescribedFile, "sha256" | "bytes">>;
}

/** Returns what is known of a repository from its stored bundle. */
export function knownOf(bundle: Bundle): KnownRepository {
  const { model, variants } = bundle;
  const isCurrent = model.steps?.rules === REPOSITORY_RULES;
  const locations = (isCurrent ? variants : []).map(({ files: [graph, ...data] }) => {
    return [graph?.chunks[0]?.sha256 ?? "", data.map((x) => x.path)] as const;
  });
  const unvalidated = unvalidatedIn(bundle).map(({ url, sha256, bytes }) => [url, { sha256, bytes }] as const);
  const version = isCurrent ? model.version : "";
  return { version, locations: new Map(locations), unvalidated: new Map(unvalidated) };
}

/** Bound on a small file. */
const SMALL_MAX_BYTES = 8 * 1024 * 1024;

/**
 * Names a file without a stated hash by its place. One without validators keeps its name: its place is the same whatever
 * it holds, and a check of its content gives another name (unvalidated-files.ts).
 */
export async function unverified(place: FilePlace, known: KnownRepository | null = null): Promise<Located> {
  const { url, oid = null, etag = null, lastModified = null } = place;
  const isBlind = oid === null && etag === null && lastModified === null;
  const own = isBlind ? known?.unvalidated.get(url) : undefined;
  const sha256 =
    own !== undefined && own.bytes === place.bytes
      ? own.sha256
      : await sha256Hex(new TextEncoder().encode(placeOf(place)));
  return { url, sha256, isUnverified: true, ...(isBlind && { isBlind }) };
}

/** Fetches small files; one whose error counts as missing is left out. */
export async function readTexts(
  base: string,
  paths: readonly string[],
  net: RepositoryNet,
  isLeftOut: (error: unknown) => boolean = isMissing,
): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const read = async (path: string): Promise<void> => {
    const url = `${base}${path}`;
    const found = await get(url, net).catch((error: unknown) => {
      if (isLeftOut(error)) return null;
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
  await Promise.all(furtherFiles(texts).map(read));
  return texts;
}

/** A file that a folder has. */
export interface Probed extends RepositoryFile {
  readonly place: FilePlace;
}

/** Asks for a file's size and validators; null where it is not there. */
export async function probe(url: string, path: string, net: RepositoryNet): Promise<Probed | null> {
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

/** A fetched small file with the headers of its answer. */
export interface Got {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: string;
  readonly headers: Headers;
}

/** Fetches a small text; the browser's own copy is revalidated. */
export async function get(url: string, net: RepositoryNet): Promise<Got> {
  const { token } = net;
  const init: RequestInit =
    token === undefined ? { cache: "no-cache" } : { cache: "no-cache", headers: { authorization: `Bearer ${token}` } };
  return retry(
    net,
    async () => {
      const body = await request(url, init, net);
      const bytes = await readAll(url, body, SMALL_MAX_BYTES, null, () => undefined);
      return { bytes, text: new TextDecoder().decode(bytes), headers: body.headers };
    },
    net.attempts,
  );
}

/** Whether a static host answered that it has no such file; some say 403 for that. */
export function isMissing(error: unknown): boolean {
  return isSelvedgeError(error) && [403, 404, 410].includes(Number(error.details["status"]));
}
