// Downloads a repository of a Hugging Face hub into a folder: the small files of the layout and the chosen graphs with
// their external data, at the commit of the revision. The SHA-256 that the hub states is checked while a file is written;
// a file that is there already with the right hash is not fetched again.
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SelvedgeError } from "../core/errors.ts";
import { writeAll } from "./onnx/durable.ts";
import { makeFolder } from "./onnx/make-folder.ts";
import { chooseGraphs, listGraphs, mayHideData, neighboursOf } from "../source/onnx-files.ts";
import { explainHub, listFiles, readCommit } from "../source/hub.ts";
import type { GetText } from "../source/hub.ts";
import { filesUrl, HUB, isRepositoryName } from "../source/hub-address.ts";
import { filesToRead, TOKENIZER, tokenizerPath } from "../source/repository.ts";
import type { RepositoryFile } from "../source/repository.ts";
import { furtherFiles } from "../source/vocabulary.ts";

const HOW = "set --token-env to a variable with an access token";

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
  if (!isRepositoryName(repo))
    throw new TypeError(`repository: expected "owner/name" or a folder, got "${String(repo)}"`);
  const { revision = "main" } = options;
  const host = (options.host ?? HUB).replace(/\/+$/, "");
  const hub = { host, repo, revision };
  const get: GetText = async (url) => {
    const response = await ask(url, options);
    return { text: await response.text(), headers: response.headers };
  };
  try {
    const commit = (await readCommit(hub, get)) ?? "";
    const at = commit === "" ? revision : commit;
    const base = filesUrl(host, repo, at);
    const files = await listFiles({ ...hub, revision: at }, get);
    await fetchFiles(base, folder, wantedFiles(files, repo, options), options);
    const further = furtherFiles(await readTexts(folder, filesToRead(files.map((x) => x.path))));
    await fetchFiles(
      base,
      folder,
      files.filter((x) => further.includes(x.path)),
      options,
    );
    return commit;
  } catch (error) {
    throw explainHub(error, hub, { hasToken: options.token !== undefined, how: HOW });
  }
}

/** Fetches files into a folder; one that is there with the right hash is kept. */
async function fetchFiles(
  base: string,
  folder: string,
  files: readonly RepositoryFile[],
  options: FetchRepositoryOptions,
): Promise<void> {
  const { onProgress = () => undefined } = options;
  for (const file of files) {
    const path = join(folder, file.path);
    if (file.sha256 !== null && existsSync(path) && (await hashOf(path)) === file.sha256) continue;
    onProgress(`fetching ${file.path}${file.bytes === null ? "" : ` (${file.bytes} bytes)`}`);
    await fetchFile(`${base}${file.path.split("/").map(encodeURIComponent).join("/")}`, path, file, options);
  }
}

async function readTexts(folder: string, paths: readonly string[]): Promise<Map<string, string>> {
  return new Map(await Promise.all(paths.map(async (x) => [x, await readFile(join(folder, x), "utf8")] as const)));
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
  const tokenizer = tokenizerPath(new Set(paths)) ?? TOKENIZER;
  const wanted = [...filesToRead(paths), tokenizer, "README.md", ...graphs.map((x) => x.path), ...data];
  return [...new Set(wanted)].flatMap((path) => byPath.get(path) ?? []);
}

/** Sends a request; rejects where its status is no success. */
async function ask(url: string, { token, signal }: FetchRepositoryOptions): Promise<Response> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, { headers, ...(signal && { signal }) }).catch((error: unknown) => {
    if (signal?.aborted === true) throw signal.reason;
    throw new SelvedgeError("download-failed", `${url} could not be fetched.`, { url, reason: "unreachable" }, error);
  });
  const { status } = response;
  if (response.ok) return response;
  await response.body?.cancel();
  throw new SelvedgeError("download-failed", `${url} answered with status ${status}.`, { url, status });
}

/** Writes a file beside its place, and moves it there once its hash matched. */
async function fetchFile(
  url: string,
  path: string,
  { sha256, bytes }: RepositoryFile,
  options: FetchRepositoryOptions,
): Promise<void> {
  const response = await ask(url, options);
  await makeFolder(dirname(path));
  const partial = `${path}.partial`;
  const hash = createHash("sha256");
  const handle = await open(partial, "w");
  let size = 0;
  try {
    for await (const part of response.body ?? []) {
      const chunk = part as Uint8Array;
      hash.update(chunk);
      size += chunk.length;
      await writeAll(handle, chunk);
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
