// A line of 20 Mbit/s and 40 ms that all connections share, over which a folder is served.
//
// Scripts, wasm and JSON are sent with gzip, as by a static host. Chunks and a bare `.onnx` are sent unchanged: hosts
// compress neither, and chunks are stored with brotli.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { contentTypeOf, pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { Visits } from "../kernel/visit.ts";

const BYTES_PER_MS = 20e6 / 8 / 1_000;
const LATENCY_MS = 40;
const SLICE_BYTES = 16 * 1024;

/** A simulated line. */
export interface Line {
  readonly server: LocalServer;
  /** Receives the reports of its pages. */
  readonly visits: Visits;
  /** Bytes of bodies sent so far, as on the wire. */
  sentBytes(): number;
  /** Those of weights. */
  weightBytes(): number;
  /** Resolves once nothing is being sent: data flows to a closed tab until its connections are closed. */
  idle(): Promise<void>;
}

/** Options of a line. */
export interface LineOptions {
  /** Whether files have an ETag. Default false. */
  readonly hasValidators?: boolean;
}

/** Opens a line to the files of a folder. `/filler?bytes=n` is a body of so many bytes. */
export async function openLine(folder: string, { hasValidators = false }: LineOptions = {}): Promise<Line> {
  const known = new Map<string, { readonly body: Buffer; readonly etag: string }>();
  let weightBytes = 0;
  let sentBytes = 0;
  let freeAtMs = 0;
  let sending = 0;
  const fileAt = (path: string, isPacked: boolean): { readonly body: Buffer; readonly etag: string } => {
    const key = `${path} ${isPacked}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const bytes = readFileSync(path);
    const found = {
      body: isPacked ? gzipSync(bytes) : bytes,
      etag: `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`,
    };
    known.set(key, found);
    return found;
  };
  // All connections share the line: each slice waits for those before it.
  const send = async (body: Buffer, isWeights: boolean, response: ServerResponse): Promise<void> => {
    sending += 1;
    await new Promise((resolve) => setTimeout(resolve, LATENCY_MS));
    for (let at = 0; at < body.length && !response.destroyed; at += SLICE_BYTES) {
      const slice = body.subarray(at, at + SLICE_BYTES);
      const now = performance.now();
      freeAtMs = Math.max(freeAtMs, now) + slice.length / BYTES_PER_MS;
      const waitMs = freeAtMs - now;
      if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
      sentBytes += slice.length;
      if (isWeights) weightBytes += slice.length;
      response.write(slice);
    }
    response.end();
    sending -= 1;
  };
  const nothing = Buffer.alloc(0);
  const visits = new Visits();
  const server = await startServer((request, response) => {
    if (visits.take(request, response)) return;
    const pathname = pathOf(request);
    if (pathname === "/filler") {
      const count = Number(new URL(request.url ?? "/", "http://localhost").searchParams.get("bytes"));
      response.writeHead(200, { "content-length": count, "cache-control": "no-store" });
      void send(Buffer.alloc(count), false, response);
      return;
    }
    const path = join(folder, decodeURIComponent(pathname));
    if (!path.startsWith(folder) || !existsSync(path) || !statSync(path).isFile()) {
      response.writeHead(404);
      void send(nothing, false, response);
      return;
    }
    const isWeights = pathname.includes("/chunks/") || pathname.endsWith(".onnx");
    // As hosts do: compressed if requested; ranges only of uncompressed files.
    const isPacked = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "") && !isWeights;
    const { body: whole, etag } = fileAt(path, isPacked);
    const headers = {
      vary: "accept-encoding",
      // Browsers may cache everything except the file that names the version.
      "cache-control": pathname.endsWith("bundle.json") ? "no-cache" : "public, max-age=3600",
      ...(hasValidators ? { etag } : {}),
    };
    if (hasValidators && request.headers["if-none-match"] === etag) {
      response.writeHead(304, headers);
      void send(nothing, false, response);
      return;
    }
    const [, first, last] = (isPacked ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "")) ?? [];
    const from = Number(first ?? 0);
    const body = whole.subarray(from, last === undefined || last === "" ? whole.length : Number(last) + 1);
    response.writeHead(first === undefined ? 200 : 206, {
      ...headers,
      "content-type": contentTypeOf(pathname),
      "content-length": body.length,
      ...(isPacked ? { "content-encoding": "gzip" } : {}),
      ...(first === undefined ? {} : { "content-range": `bytes ${from}-${from + body.length - 1}/${whole.length}` }),
    });
    void send(request.method === "HEAD" ? nothing : body, isWeights, response);
  });
  return {
    server,
    visits,
    sentBytes: () => sentBytes,
    weightBytes: () => weightBytes,
    async idle() {
      while (sending > 0) await new Promise((resolve) => setTimeout(resolve, LATENCY_MS));
    },
  };
}
