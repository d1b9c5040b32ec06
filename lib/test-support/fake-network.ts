// For tests of downloads, in Node and in browsers: a server that simulates faults of servers and networks, and counts
// requests.
import { openAsBlob } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { CHUNK_MAX_BYTES, chunkPath, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk, BundleFile } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { startBrotli } from "../cache/brotli.ts";
import { Downloader } from "../cache/download.ts";
import type { DownloadEffects } from "../cache/download.ts";
import { ModelStore } from "../cache/model-store.ts";
import { outOfSpace } from "../cache/stores/store.ts";
import type { Bytes, Store } from "../cache/stores/store.ts";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";

const require = createRequire(import.meta.url);

/** Speed-up of time in `hurried`. */
const HURRY = 100;
/** Turns of the event loop before a timer in `hurried` fires. */
const TURNS = 20;

/** A downloader's effects in Node: the real network, and a clock on which seconds take no time in a test. */
export const hurried: DownloadEffects = {
  fetch: (url, init) => fetch(url, init),
  now: () => performance.now() * HURRY,
  random: () => 0.5,
  setTimer(callback, ms) {
    let isCleared = false;
    // On a busy machine time passes in which nothing here ran: what has arrived by then is read first.
    const fire = (turns: number): void => {
      if (isCleared) return;
      if (turns === 0) callback();
      else setImmediate(fire, turns - 1);
    };
    const timer = setTimeout(fire, ms / HURRY, TURNS);
    return () => {
      isCleared = true;
      clearTimeout(timer);
    };
  },
  wallClock: () => Date.now(),
  isOwn: () => true,
  locks: null,
  heldLocks: () => Promise.resolve([]),
  connection: () => ({ saveData: false, bytesPerSecond: null }),
  estimate: () => Promise.resolve(null),
  loadBrotli: async () => startBrotli(await readFile(require.resolve("brotli-dec-wasm/web/bg.wasm"))),
};

/** A page's clock: it advances by 10 ms with each entry that is written. */
export interface PageClock {
  now: number;
}

/** Makes the downloader of a new page, over the entries that earlier pages stored. */
export function makePage(store: Store | null, clock: PageClock): Downloader {
  const effects = { ...hurried, wallClock: () => clock.now };
  return new Downloader(effects, store === null ? null : new ModelStore(store, () => (clock.now += 10)));
}

/** A store over a real folder, with a quota. Its blobs are its files, as in OPFS: unreadable once removed. */
export class DiskStore implements Store {
  readonly kind = "opfs";
  readonly folder: string;
  quotaBytes: number;
  /** Called before each write and each removal; an exception fails them. */
  onWrite: (name: string) => void = () => undefined;
  #writes = 0;

  private constructor(folder: string, quotaBytes: number) {
    this.folder = folder;
    this.quotaBytes = quotaBytes;
  }

  /** Makes one in a new folder. */
  static async make(quotaBytes: number = Number.POSITIVE_INFINITY): Promise<DiskStore> {
    return new DiskStore(await mkdtemp(join(tmpdir(), "selvedge-store-")), quotaBytes);
  }

  async names(): Promise<string[]> {
    return (await readdir(this.folder)).filter((x) => !x.startsWith("temp-"));
  }

  async read(name: string): Promise<Bytes | null> {
    return readFile(join(this.folder, name)).then(
      (x) => new Uint8Array(x),
      () => null,
    );
  }

  async blob(name: string): Promise<Blob | null> {
    try {
      return await openAsBlob(join(this.folder, name)); // throws at once where the file is missing
    } catch {
      return null;
    }
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    this.onWrite(name);
    if ((await this.bytes()) + bytes.length > this.quotaBytes) throw outOfSpace(name, bytes.length);
    const temporary = join(this.folder, `temp-${this.#writes++}`);
    await writeFile(temporary, bytes);
    await rename(temporary, join(this.folder, name));
  }

  async remove(name: string): Promise<void> {
    this.onWrite(name);
    await rm(join(this.folder, name), { force: true });
  }

  /** Bytes of all entries. */
  async bytes(): Promise<number> {
    let sum = 0;
    for (const name of await this.names())
      sum += await stat(join(this.folder, name)).then(
        (x) => x.size,
        () => 0,
      );
    return sum;
  }

  /** Removes the folder. */
  async clear(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A fault of the server in one request. */
export type Trick =
  /** Breaks the connection after so many bytes of the body. */
  | { readonly kind: "cut"; readonly at: number }
  /** Flips one bit of the body. */
  | { readonly kind: "flip"; readonly at: number }
  /** Sends a body of another length, as if that were right. */
  | { readonly kind: "length"; readonly bytes: number }
  /** Answers with a status, and headers. */
  | { readonly kind: "status"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** Answers with a range that was not requested. */
  | { readonly kind: "range"; readonly shift: number }
  /** Answers with an app's start page, status 200. */
  | { readonly kind: "html" }
  /** Redirects the client to another address of the file. */
  | { readonly kind: "redirect" }
  /** Compresses the body; `broken` damages it afterwards. */
  | { readonly kind: "gzip"; readonly broken?: boolean }
  /** Sends the body in parts, with pauses. */
  | { readonly kind: "trickle"; readonly parts: number; readonly pauseMs: number }
  /** Sends so many bytes, then stalls. */
  | { readonly kind: "stall"; readonly at: number }
  /** Never stops sending. */
  | { readonly kind: "endless" };

/** A file of the server. */
export interface ServedFile {
  readonly bytes: Bytes;
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
  /** Whether ranges of it may be requested. Default true. */
  readonly hasRanges?: boolean | undefined;
  /** Whether it announces ranges. Default false. */
  readonly saysRanges?: boolean | undefined;
  readonly type?: string | undefined;
  /** Content encoding that its bytes already have. */
  readonly encoding?: string | undefined;
}

/** A received request. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
}

/** A server on a free port of this machine. */
export class BadServer {
  /** Files by path, with a slash at the beginning. */
  readonly files: Map<string, ServedFile> = new Map();
  /** Received requests, in order. */
  asked: ReceivedRequest[] = [];
  /** Its address, without a slash at the end. */
  url = "";
  /** Bytes of bodies that were sent. */
  sentBytes = 0;
  /** Returns the fault of the n-th request for a path; null for none. */
  trick: (path: string, nth: number) => Trick | null = () => null;
  /** Headers on every answer. */
  headers: Readonly<Record<string, string>> = {};
  readonly #gzipped: WeakMap<Bytes, Bytes> = new WeakMap();
  #server: LocalServer | null = null;

  /** Starts a server. */
  static async start(): Promise<BadServer> {
    const server = new BadServer();
    server.#server = await startServer((request, response) => {
      server.#answer(request, response);
    });
    server.url = server.#server.origin;
    return server;
  }

  /** Stops the server and pending responses. */
  close(): void {
    void this.#server?.close();
  }

  /** Counts the requests for chunks. */
  get chunkRequests(): number {
    return this.asked.filter(({ path }) => path.includes("/chunks/")).length;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, search } = new URL(request.url ?? "/", "http://localhost");
    const range = request.headers.range ?? null;
    const nth = this.asked.filter((x) => x.path === pathname).length;
    const method = request.method ?? "GET";
    this.asked.push({ method, path: pathname, range });
    for (const [name, value] of Object.entries(this.headers)) response.setHeader(name, value);
    const file = this.files.get(pathname);
    const trick = search === "?found" ? null : this.trick(pathname, nth);
    if (trick?.kind === "status") response.writeHead(trick.status, trick.headers).end("no");
    else if (trick?.kind === "html")
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>An app</title>");
    else if (trick?.kind === "redirect") response.writeHead(302, { location: `${pathname}?found` }).end();
    else if (file === undefined) response.writeHead(404).end("not here");
    else this.#send(file, trick, method, range, String(request.headers["if-range"] ?? ""), response);
  }

  #send(
    file: ServedFile,
    trick: Trick | null,
    method: string,
    range: string | null,
    ifRange: string,
    response: ServerResponse,
  ): void {
    let { bytes } = file;
    const total = bytes.length;
    if (file.etag !== undefined) response.setHeader("etag", file.etag);
    if (file.lastModified !== undefined) response.setHeader("last-modified", file.lastModified);
    response.setHeader("content-type", file.type ?? "application/octet-stream");
    if (file.encoding !== undefined) response.setHeader("content-encoding", file.encoding);
    if (file.saysRanges === true) response.setHeader("accept-ranges", "bytes");
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
    const start = Number(first ?? Number.NaN);
    const end = last === undefined || last === "" ? total - 1 : Math.min(Number(last), total - 1);
    const isSame = ifRange === "" || ifRange === file.etag || ifRange === file.lastModified;
    if (Number.isFinite(start) && isSame && file.hasRanges !== false) {
      if (start >= total) {
        response.writeHead(416, { "content-range": `bytes */${total}` }).end();
        return;
      }
      const from = Math.max(0, start + (trick?.kind === "range" ? trick.shift : 0));
      response.statusCode = 206;
      response.setHeader("content-range", `bytes ${from}-${end}/${total}`);
      bytes = bytes.slice(from, end + 1);
    } else if (trick?.kind === "range") {
      response.statusCode = 206;
      response.setHeader("content-range", `bytes ${trick.shift}-${total - 1}/${total}`);
      bytes = bytes.slice(trick.shift);
    }
    if (trick?.kind === "flip" && bytes.length > 0) {
      bytes = bytes.slice();
      bytes[trick.at % bytes.length] = (bytes[trick.at % bytes.length] ?? 0) ^ 1;
    }
    if (trick?.kind === "length") {
      const other = new Uint8Array(trick.bytes);
      other.set(bytes.subarray(0, trick.bytes));
      bytes = other;
    }
    if (trick?.kind === "gzip") {
      bytes = this.#gzip(bytes);
      if (trick.broken === true) bytes = bytes.slice().fill(0, bytes.length >> 1);
      response.setHeader("content-encoding", "gzip");
    }
    if (trick?.kind !== "endless") response.setHeader("content-length", bytes.length);
    if (method === "HEAD") {
      response.end();
      return;
    }
    void this.#write(bytes, trick, response);
  }

  /** Compresses a body, once for all requests of a file: that takes longer than all else in a test. */
  #gzip(bytes: Bytes): Bytes {
    const known = this.#gzipped.get(bytes);
    if (known !== undefined) return known;
    const made = new Uint8Array(gzipSync(bytes, { level: 1 }));
    this.#gzipped.set(bytes, made);
    return made;
  }

  async #write(bytes: Bytes, trick: Trick | null, response: ServerResponse): Promise<void> {
    const write = (part: Bytes): Promise<boolean> => {
      this.sentBytes += part.length;
      return new Promise((resolve) => {
        const gone = (): void => {
          resolve(false);
        };
        response.once("close", gone);
        response.write(part, (error) => {
          response.off("close", gone);
          resolve(error == null);
        });
      });
    };
    switch (trick?.kind) {
      case "cut":
        response.flushHeaders();
        if (trick.at > 0) await write(bytes.slice(0, Math.min(trick.at, bytes.length)));
        setImmediate(() => {
          response.destroy();
        });
        return;
      case "stall":
        response.flushHeaders();
        if (trick.at > 0) await write(bytes.slice(0, Math.min(trick.at, bytes.length - 1)));
        return;
      case "endless":
        while (await write(new Uint8Array(65_536))) if (response.destroyed) return;
        return;
      case "trickle": {
        const size = Math.max(1, Math.ceil(bytes.length / trick.parts));
        for (let at = 0; at < bytes.length; at += size) {
          if (!(await write(bytes.slice(at, at + size)))) return;
          await new Promise((resolve) => setTimeout(resolve, trick.pauseMs));
        }
        response.end();
        return;
      }
      case undefined:
      default:
        this.sentBytes += bytes.length;
        response.end(bytes);
    }
  }
}

/** Serves a bundle of one variant under a folder; returns its description. */
export async function serveBundle(
  server: BadServer,
  folder: string,
  files: Readonly<Record<string, Bytes>>,
  {
    chunkBytes = CHUNK_MAX_BYTES,
    version = "1",
    name = "test",
    encoding,
  }: { chunkBytes?: number; encoding?: "br" | "gzip" | undefined; version?: string; name?: string } = {},
): Promise<Bundle> {
  const described: BundleFile[] = [];
  for (const [path, bytes] of Object.entries(files)) {
    const chunks: BundleChunk[] = [];
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const chunk = bytes.slice(at, at + chunkBytes);
      const sha256 = await sha256Hex(chunk);
      const stored = new Uint8Array(
        encoding === undefined ? chunk : (encoding === "br" ? brotliCompressSync : gzipSync)(chunk),
      );
      const isSmaller = stored.length < chunk.length;
      chunks.push({ sha256, bytes: chunk.length, ...(isSmaller && { encoding, wireBytes: stored.length }) });
      server.files.set(`${folder}/${chunkPath(2, sha256)}`, { bytes: isSmaller ? stored : chunk });
    }
    described.push({ path, bytes: bytes.length, chunks });
  }
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const bundle: Bundle = {
    format: 2,
    model: { name, version, licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: [{ id: "f32", needs: [], files: described }],
  };
  const text = new TextEncoder().encode(JSON.stringify(bundleJson(bundle)));
  server.files.set(`${folder}/bundle.json`, { bytes: text, type: "application/json" });
  return bundle;
}
