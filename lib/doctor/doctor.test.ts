// `diagnose` by requests alone, on sites that a server in this process answers.
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { diagnose } from "./doctor.ts";
import type { Report } from "./doctor.ts";

/** An answer of the site: its body, or its status and headers too. */
type Given = string | Uint8Array | { readonly status?: number; readonly headers?: object; readonly body?: string };

const WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const TYPES: Readonly<Record<string, string>> = { js: "text/javascript", wasm: "application/wasm" };
const MARK = 'Symbol.for("selvedge.error");';

let server: Server | null = null;
afterEach(() => {
  server?.close();
  server = null;
});

async function examine(files: Readonly<Record<string, Given>>): Promise<Report> {
  const all: Readonly<Record<string, Given>> = { "/": `<script type="module" src="/main.js"></script>`, ...files };
  server = createServer((request, response) => {
    const path = request.url ?? "";
    const found = all[path] ?? { status: 404 };
    const {
      status = 200,
      headers = {},
      body = "",
    } = typeof found === "string" || found instanceof Uint8Array ? { body: found } : found;
    const type = path === "/" ? "text/html" : (TYPES[path.split(".").at(-1) ?? ""] ?? "text/plain");
    response.writeHead(status, { "content-type": type, etag: '"1"', ...headers }).end(body);
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return diagnose(url, { project: null, browser: "no driver" });
}

const idsOf = ({ findings }: Report): string[] => findings.map((x) => `${x.severity} ${x.id}`);
/** Hashed names as bundlers write them. */
const HASHED = ["worker-cache--wfHPyHE.js", "worker-cache.3xnis89a.js", "worker-cache-DLoQfuSz.mjs"];

test("a name in code is no missing file where the same file is served with a hash in its name", async () => {
  for (const cache of HASHED) {
    const main = `${MARK} f=(e,r)=>new URL(\`worker-cache.js\`,r); new URL("/a/${cache}",""+import.meta.url); new URL("/a/worker-wasm-DLoQfuSz.js",""+import.meta.url)`;
    const files = { "/main.js": main, "/a/worker-wasm-DLoQfuSz.js": "0;" };
    const headers = { "content-type": "text/javascript" };
    expect(idsOf(await examine({ ...files, [`/a/${cache}`]: { headers, body: "0;" } }))).toEqual([]);
    server?.close();
    expect(idsOf(await examine(files))).toEqual(["error worker-missing"]);
    server?.close();
  }
});

test("a worker of the other build in place of one that is missing does not stand for it", async () => {
  const main = `${MARK} new URL("/a/worker-jspi-DfEYqWkL.js",import.meta.url); new URL("/a/worker-wasm-DLoQfuSz.js",import.meta.url)`;
  expect(idsOf(await examine({ "/main.js": main, "/a/worker-wasm-DLoQfuSz.js": "0;" }))).toEqual([
    "error worker-missing",
  ]);
});
