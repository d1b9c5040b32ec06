// For tests of repositories, in Node and in browsers: a server with the addresses of the Hugging Face hub. Lists, small
// files and pointers come from the front; files under git-lfs are redirected to another origin, as to the hub's CDN, which
// can break connections (fake-network.ts). A folder serves the same files as a static host does.
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { BadServer } from "./fake-network.ts";
import type { Bytes } from "../cache/stores/store.ts";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";

/** Files of a commit by path; those above `LFS_BYTES`, and all of weights, are under git-lfs. */
export type RepoFiles = Readonly<Record<string, string | Bytes>>;

/** A fault in the answer to one request at the front. */
export type HubFault =
  | { readonly kind: "status"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** Answers with an app's start page, status 200. */
  | { readonly kind: "html" }
  /** Answers with the git-lfs pointer in place of the file. */
  | { readonly kind: "pointer" };

interface Repo {
  readonly revisions: Map<string, string>;
  readonly commits: Map<string, ReadonlyMap<string, Bytes>>;
}

const LFS_BYTES = 10_000;
const EXPOSED = "X-Repo-Commit,X-Linked-Size,X-Linked-ETag,ETag,Link,Accept-Ranges,Content-Range,X-Error-Code";

/** A hub, with its CDN on another port. */
export class HubServer {
  /** Its address, without a slash at the end. */
  url = "";
  readonly cdn: BadServer;
  /** Requests at the front, as `GET /path`, in order. */
  asked: string[] = [];
  /** Returns the fault of the n-th request for a path; null for none. */
  fault: (path: string, nth: number) => HubFault | null = () => null;
  /** Token without which a repository answers 401; null for none. */
  token: string | null = null;
  /** Number of files on a page of a list. */
  pageSize = 1_000;
  /** Whether folders are served with an ETag. */
  hasValidators = true;
  /** Whether other origins may read its answers. */
  hasCors = true;
  readonly #repos: Map<string, Repo> = new Map();
  #server: LocalServer | null = null;

  private constructor(cdn: BadServer) {
    this.cdn = cdn;
    cdn.headers = { "access-control-allow-origin": "*", "access-control-expose-headers": EXPOSED };
  }

  /** Starts a hub. */
  static async start(): Promise<HubServer> {
    const hub = new HubServer(await BadServer.start());
    hub.#server = await startServer((request, response) => {
      hub.#answer(request, response);
    });
    hub.url = hub.#server.origin;
    return hub;
  }

  /** Stops it and pending responses. */
  close(): void {
    void this.#server?.close();
    this.cdn.close();
  }

  /** Commits files to a branch of a repository; returns the commit. */
  commit(repo: string, files: RepoFiles, branch = "main"): string {
    const found = this.#repos.get(repo) ?? { revisions: new Map<string, string>(), commits: new Map() };
    this.#repos.set(repo, found);
    const all = new Map<string, Bytes>();
    for (const [path, value] of Object.entries(files)) {
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      all.set(path, bytes);
      if (isLfs(path, bytes))
        this.cdn.files.set(`/cdn/${sha256(bytes)}`, { bytes, etag: `"${sha256(bytes).slice(0, 16)}"` });
    }
    const text = [...all].map(([path, bytes]) => `${path} ${sha256(bytes)}`).join("\n");
    const commit = createHash("sha1").update(text).digest("hex");
    found.commits.set(commit, all);
    found.revisions.set(branch, commit);
    return commit;
  }

  /** Address of a repository's commit as a folder of a static host. */
  folder(repo: string): string {
    return `${this.url}/static/${repo}/`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.url);
    const path = decodeURIComponent(url.pathname);
    const method = request.method ?? "GET";
    if (this.hasCors) {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("access-control-allow-headers", "authorization, range");
      response.setHeader("access-control-expose-headers", EXPOSED);
    }
    if (method === "OPTIONS") {
      response.writeHead(204).end();
      return;
    }
    const nth = this.asked.filter((x) => x.endsWith(` ${path}`)).length;
    this.asked.push(`${method} ${path}`);
    const fault = this.fault(path, nth);
    if (fault?.kind === "status") response.writeHead(fault.status, fault.headers).end("no");
    else if (fault?.kind === "html")
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><p>An app");
    else if (path.startsWith("/static/")) this.#static(path.slice("/static/".length), request, response);
    else if (this.token !== null && request.headers.authorization !== `Bearer ${this.token}`)
      response.writeHead(401, { "x-error-code": "GatedRepo" }).end("no");
    else this.#hub(path, url.searchParams, request, response, fault?.kind === "pointer");
  }

  #hub(
    path: string,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
    isPointer: boolean,
  ): void {
    const [, api, name, kind, rest = ""] =
      /^\/(api\/models\/)?([^/]+\/[^/]+)\/(tree|revision|resolve|raw)\/(.*)$/.exec(path) ?? [];
    const repo = this.#repos.get(name ?? "");
    const revisions = [...(repo?.revisions.keys() ?? []), ...(repo?.commits.keys() ?? [])];
    const revision = revisions
      .filter((x) => rest === x || rest.startsWith(`${x}/`))
      .sort((a, b) => b.length - a.length)[0];
    const commit = repo?.revisions.get(revision ?? "") ?? revision;
    const files = repo?.commits.get(commit ?? "");
    if (files === undefined || commit === undefined || revision === undefined) {
      response
        .writeHead(404, { "x-error-code": repo === undefined ? "RepoNotFound" : "RevisionNotFound" })
        .end("not here");
      return;
    }
    response.setHeader("x-repo-commit", commit);
    if (api !== undefined && kind === "revision") sendJson(response, { id: name, sha: commit });
    else if (api !== undefined && kind === "tree") this.#list(`${this.url}${path}`, files, query, response);
    else this.#file(files, rest.slice(revision.length + 1), kind === "raw" || isPointer, request, response);
  }

  #list(url: string, files: ReadonlyMap<string, Bytes>, query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get("cursor") ?? 0);
    const entries = [...files].map(([path, bytes]) => {
      const oid = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
      const lfs = isLfs(path, bytes) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {};
      return { type: "file", oid, size: bytes.length, path, ...lfs };
    });
    const until = from + this.pageSize;
    if (until < entries.length) response.setHeader("link", `<${url}?recursive=1&cursor=${until}>; rel="next"`);
    sendJson(response, [{ type: "directory", oid: "0", size: 0, path: "onnx" }, ...entries.slice(from, until)]);
  }

  #file(
    files: ReadonlyMap<string, Bytes>,
    path: string,
    isPointer: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const bytes = files.get(path);
    if (bytes === undefined) {
      response.writeHead(404, { "x-error-code": "EntryNotFound" }).end("Entry not found");
      return;
    }
    const hash = sha256(bytes);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${hash}\nsize ${bytes.length}\n`;
    if (isPointer && isLfs(path, bytes)) send(request, response, new TextEncoder().encode(pointer), null);
    else if (isLfs(path, bytes)) {
      response.setHeader("x-linked-etag", `"${hash}"`);
      response.setHeader("x-linked-size", bytes.length);
      response.writeHead(302, { location: `${this.cdn.url}/cdn/${hash}?X-Amz-Expires=3600` }).end();
    } else send(request, response, bytes, `"${hash.slice(0, 20)}"`);
  }

  #static(rest: string, request: IncomingMessage, response: ServerResponse): void {
    const [owner = "", name = "", ...parts] = rest.split("/");
    const repo = this.#repos.get(`${owner}/${name}`);
    const files = repo?.commits.get(repo.revisions.get("main") ?? "");
    const bytes = files?.get(parts.join("/"));
    if (bytes === undefined) response.writeHead(404).end("not here");
    else send(request, response, bytes, this.hasValidators ? `"${sha256(bytes).slice(0, 12)}"` : null);
  }
}

/** Whether a file is under git-lfs, as by the hub's usual `.gitattributes`. */
function isLfs(path: string, bytes: Bytes): boolean {
  return /\.onnx/.test(path) || bytes.length > LFS_BYTES;
}

function sha256(bytes: Bytes): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(value));
}

function send(request: IncomingMessage, response: ServerResponse, bytes: Bytes, etag: string | null): void {
  if (etag !== null) response.setHeader("etag", etag);
  if (etag !== null && request.headers["if-none-match"] === etag) {
    response.writeHead(304).end();
    return;
  }
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  response.setHeader("content-type", "application/octet-stream");
  response.setHeader("accept-ranges", "bytes");
  let body = bytes;
  if (first !== undefined) {
    const end = last === undefined || last === "" ? bytes.length - 1 : Math.min(Number(last), bytes.length - 1);
    response.statusCode = 206;
    response.setHeader("content-range", `bytes ${first}-${end}/${bytes.length}`);
    body = bytes.slice(Number(first), end + 1);
  }
  response.setHeader("content-length", body.length);
  response.end(request.method === "HEAD" ? undefined : body);
}
