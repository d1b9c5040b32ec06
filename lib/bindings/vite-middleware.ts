// Request handlers of the plugin for Vite's dev and preview server. They change headers, the address or the body of what
// Vite's own handlers send, so that its checks (host, `server.fs`, CORS) and its ETags stay in force.
import { stat } from "node:fs/promises";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { CODINGS, compress, COMPRESSIBLE, ENDINGS } from "./precompress.ts";
import type { Coding } from "./precompress.ts";

/** A handler of requests, as Vite's servers take it. */
export type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** Folder and base path of a build. */
interface BuildFolder {
  readonly root: string;
  readonly base: string;
  readonly build: { readonly outDir: string };
}

/** Sends the headers that isolate a page with every response. */
export const isolate: Handler = (_request, response, next) => {
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  next();
};

/** Returns the first of the codings that an `Accept-Encoding` header accepts, or null. */
export function chooseCoding(header: string | undefined, codings: readonly Coding[]): Coding | null {
  const weights = new Map(
    (header ?? "").split(",").map((part) => {
      const [name = "", ...parameters] = part.split(";").map((x) => x.trim().toLowerCase());
      const weight = parameters.find((x) => x.startsWith("q="));
      return [name, weight === undefined ? 1 : Number(weight.slice(2))];
    }),
  );
  return codings.find((coding) => (weights.get(coding) ?? weights.get("*") ?? 0) > 0) ?? null;
}

/** Sends the compressed copy of a built file, where the browser accepts one. */
export function sendPrecompressed({ root, base, build }: BuildFolder, codings: readonly Coding[]): Handler {
  const folder = resolve(root, build.outDir);
  const prefix = new URL(base, "http://localhost/").pathname;
  const redirect = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? "/", "http://localhost/");
    if (!/^(GET|HEAD)$/.test(request.method ?? "") || !COMPRESSIBLE.test(url.pathname)) return;
    if (!url.pathname.startsWith(prefix)) return;
    const path = join(folder, decodeURIComponent(url.pathname.slice(prefix.length)));
    if (!path.startsWith(folder + sep)) return;
    vary(response);
    // A range is one of the file's own bytes.
    if (request.headers.range !== undefined) return;
    const has = await Promise.all(codings.map((coding) => isFile(path + ENDINGS[coding])));
    const coding = chooseCoding(
      request.headers["accept-encoding"],
      codings.filter((_, n) => has[n]),
    );
    if (coding === null || !(await isFile(path))) return;
    response.setHeader("Content-Encoding", coding);
    response.setHeader("Content-Type", extname(path) === ".wasm" ? "application/wasm" : "text/javascript");
    request.url = url.pathname + ENDINGS[coding] + url.search;
  };
  return (request, response, next) => {
    // An address that can't be read is Vite's to refuse.
    void redirect(request, response)
      .catch(() => undefined)
      .then(next);
  };
}

/** Compresses WebAssembly that the dev server sends, each version of a file once. */
export function sendCompressedWasm(): Handler {
  const cache: Map<string, Promise<Buffer>> = new Map();
  return (request, response, next) => {
    const { method, url = "/", headers } = request;
    if (method === "GET" && /\.wasm$/.test(url.split(/[?#]/, 1)[0] ?? "") && headers.range === undefined) {
      vary(response);
      const coding = chooseCoding(headers["accept-encoding"], CODINGS);
      if (coding !== null)
        compressBody(response, coding, (bytes) => {
          const tag = response.getHeader("etag");
          const key = `${coding} ${String(tag)} ${url}`;
          const known = tag === undefined ? undefined : cache.get(key);
          const small = known ?? compress(bytes, coding, "fast");
          if (tag !== undefined) cache.set(key, small);
          return small;
        });
    }
    next();
  };
}

/** Collects the body that other handlers write, and sends its compressed form in place of a whole wasm file. */
function compressBody(response: ServerResponse, coding: Coding, compressed: (bytes: Buffer) => Promise<Buffer>): void {
  const { writeHead, write, end } = response;
  const chunks: Buffer[] = [];
  const isWasm = (): boolean =>
    response.statusCode === 200 &&
    !response.hasHeader("content-encoding") &&
    /^application\/wasm\b/.test(String(response.getHeader("content-type")));
  const keep = (chunk: unknown): void => {
    if (typeof chunk === "string" || chunk instanceof Uint8Array) chunks.push(Buffer.from(chunk));
  };
  const send = async (): Promise<void> => {
    const small = await compressed(Buffer.concat(chunks));
    response.setHeader("Content-Encoding", coding);
    response.setHeader("Content-Length", small.byteLength);
    response.end(small);
  };
  const restore = (): void => {
    Object.assign(response, { writeHead, write, end });
  };
  Object.assign(response, {
    // Sent with the first bytes, when it is known what they are.
    writeHead: (status: number, ...rest: readonly unknown[]): ServerResponse => {
      response.statusCode = status;
      const headers = rest.find((x) => typeof x === "object" && x !== null) as OutgoingHttpHeaders | undefined;
      for (const [name, value] of Object.entries(headers ?? {}))
        if (value !== undefined) response.setHeader(name, value);
      return response;
    },
    write: (...args: Parameters<typeof write>): boolean => {
      if (isWasm()) {
        keep(args[0]);
        return true;
      }
      restore();
      return response.write(...args);
    },
    end: (...args: Parameters<typeof end>): ServerResponse => {
      const isBody = isWasm();
      restore();
      if (!isBody) return response.end(...args);
      keep(args[0]);
      send().catch((error: unknown) => {
        response.destroy(error as Error);
      });
      return response;
    },
  });
}

function vary(response: ServerResponse): void {
  const before = response.getHeader("vary");
  response.setHeader("Vary", before === undefined ? "Accept-Encoding" : `${String(before)}, Accept-Encoding`);
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() === true;
}
