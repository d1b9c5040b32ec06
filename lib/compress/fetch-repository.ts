// Downloads a repository of a Hugging Face hub into a folder: the small files of the layout and the chosen graphs with
// their external data, at the commit of the revision. The SHA-256 that the hub states is checked while a file is written;
// a file that is there already with the right hash is not fetched again.
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SelvedgeError } from "../core/errors.ts";
import { chooseGraphs, listGraphs, mayHideData, neighboursOf } from "../source/onnx-files.ts";
import { filesToRead, readTree, TOKENIZER } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";

/** The Hugging Face hub. */
const HUB = "https://huggingface.co";
const PAGES_MAX = 20;

/** Options of a download. */
export interface FetchRepositoryOptions {
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string | undefined;
  /** Address of the hub. Default `https://huggingface.co`. */
  readonly host?: string | undefined;
  /** Access token for a private or gated repository. */
  readonly token?: string | undefined;
  /** Encodings of the graph, as `q8`. Default: all. */
  readonly dtypes?: readonly string[] | undefined;
  /** Graph, as `encoder_model`. Default: `model`, or the only one. */
  readonly file?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with a line for each file. */
  readonly onProgress?: ((line: string) => void) | undefined;
}

/**
 * Downloads a repository; returns its commit, empty where the hub states none.
 * @throws SelvedgeError `download-failed` with the fix, `integrity-failed` for wrong bytes, `model-invalid` without a graph
 */
export async function fetchRepository(repo: string, folder: string, options: FetchRepositoryOptions): Promise<string> {
  if (!/^[\w.-]+(?:\/[\w.-]+)?$/.test(repo) || repo.split("/").some((x) => x === "." || x === ".."))
    throw new TypeError(`repository: expected "owner/name" or a folder, got "${repo}"`);
  const { revision = "main", onProgress = () => undefined } = options;
  const host = (options.host ?? HUB).replace(/\/+$/, "");
  const { files, commit } = await listFiles(host, repo, revision, options);
  const wanted = wantedFiles(files, repo, options);
  for (const file of wanted) {
    const path = join(folder, file.path);
    if (file.sha256 !== null && existsSync(path) && (await hashOf(path)) === file.sha256) continue;
    onProgress(`fetching ${file.path}${file.bytes === null ? "" : ` (${file.bytes} bytes)`}`);
    const name = file.path.split("/").map(encodeURIComponent).join("/");
    await fetchFile(
      `${host}/${repo}/resolve/${encodeURIComponent(commit || revision)}/${name}`,
      path,
      file,
      repo,
      options,
    );
  }
  return commit;
}

/** Lists a repository's files at its commit. */
async function listFiles(
  host: string,
  repo: string,
  revision: string,
  options: FetchRepositoryOptions,
): Promise<{ files: RepositoryFile[]; commit: string }> {
  const files: RepositoryFile[] = [];
  let commit = /^[0-9a-f]{40}$/.test(revision) ? revision : "";
  if (commit === "") {
    const url = `${host}/api/models/${repo}/revision/${encodeURIComponent(revision)}`;
    const json = (await (await ask(url, repo, options)).json()) as unknown;
    const sha: unknown = typeof json === "object" && json !== null ? Reflect.get(json, "sha") : null;
    if (typeof sha === "string" && /^[0-9a-f]{40}$/.test(sha)) commit = sha;
  }
  let url: string | null = `${host}/api/models/${repo}/tree/${encodeURIComponent(commit || revision)}?recursive=1`;
  for (let page = 0; url !== null && page < PAGES_MAX; page += 1) {
    const response: Response = await ask(url, repo, options);
    files.push(...readTree((await response.json()) as unknown));
    const next = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
    const following: URL | null = next === undefined ? null : new URL(next, url);
    url = following !== null && following.origin === new URL(host).origin ? following.href : null;
  }
  return { files, commit };
}

/** Chooses the small files of the layout, the model card, and the graphs with their data. */
function wantedFiles(
  files: readonly RepositoryFile[],
  repo: string,
  { dtypes, file }: FetchRepositoryOptions,
): RepositoryFile[] {
  const byPath = new Map(files.map((x) => [x.path, x]));
  const paths = [...byPath.keys()];
  const graphs = chooseGraphs(listGraphs(paths), file, repo).filter((x) => dtypes?.includes(x.dtype) !== false);
  if (graphs.length === 0) {
    const found = chooseGraphs(listGraphs(paths), file, repo).map((x) => x.dtype);
    throw new TypeError(`dtype: ${repo} has no ${dtypes?.join(", ") ?? ""}, only ${found.join(", ")}`);
  }
  const data = graphs.flatMap((x) =>
    mayHideData(x, byPath.get(x.path)?.bytes ?? null, paths) ? neighboursOf(x, paths) : x.data,
  );
  const wanted = [...filesToRead(paths), TOKENIZER, "README.md", ...graphs.map((x) => x.path), ...data];
  return [...new Set(wanted)].flatMap((path) => byPath.get(path) ?? []);
}

/** Sends a request; explains a status that is no success. */
async function ask(url: string, repo: string, { token, signal }: FetchRepositoryOptions): Promise<Response> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, { headers, ...(signal && { signal }) }).catch((error: unknown) => {
    throw new SelvedgeError("download-failed", `${url} could not be fetched.`, { url, reason: "unreachable" }, error);
  });
  const { status } = response;
  if (response.ok) return response;
  await response.body?.cancel();
  const fixes: Readonly<Record<number, string>> = {
    401: `${repo} is private or gated, or does not exist: check the name, or set --token-env to a variable with an access token.`,
    403: `${repo} is gated: accept its terms on the hub, and use a token of that account.`,
    404: `${repo} has no such revision or file: ${url}`,
  };
  throw new SelvedgeError("download-failed", fixes[status] ?? `${url} answered with status ${status}.`, {
    url,
    status,
  });
}

/** Writes a file beside its place, and moves it there once its hash matched. */
async function fetchFile(
  url: string,
  path: string,
  { sha256, bytes }: RepositoryFile,
  repo: string,
  options: FetchRepositoryOptions,
): Promise<void> {
  const response = await ask(url, repo, options);
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.partial`;
  const hash = createHash("sha256");
  const handle = await open(partial, "w");
  let size = 0;
  try {
    for await (const part of response.body ?? []) {
      const chunk = part as Uint8Array;
      hash.update(chunk);
      size += chunk.length;
      await handle.write(chunk);
    }
  } finally {
    await handle.close();
  }
  const own = hash.digest("hex");
  if ((sha256 !== null && own !== sha256) || (bytes !== null && size !== bytes)) {
    await rm(partial, { force: true });
    const message = `${url} has ${size} bytes with the SHA-256 ${own}; its host states ${bytes ?? size} bytes${sha256 === null ? "" : ` with ${sha256}`}: run the command again.`;
    throw new SelvedgeError("integrity-failed", message, { url, hash: own, reason: "hash" });
  }
  await rename(partial, path);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path)) hash.update(part as Uint8Array);
  return hash.digest("hex");
}
