// The pages of `delivery` and the line that they are served over: 20 Mbit/s and 40 ms, shared by all connections.
//
// Scripts and wasm are sent with gzip, as by a static host. Chunks and a bare `.onnx` are sent unchanged: hosts
// compress neither, and chunks are stored with brotli.
import type { ServerResponse } from "node:http";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { contentTypeOf, pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { wireBytesOf } from "../../../lib/core/bundle.ts";
import type { BundleChunk } from "../../../lib/core/bundle.ts";
import { parseBundle } from "../../../lib/core/bundle-schema.ts";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import { ROOT } from "../../support/prepare.ts";
import { TELL, Visits } from "../kernel/visit.ts";

const FOLDER = join(ROOT, "e2e/.cache/delivery");
const MODEL = join(ROOT, "models/dist/ocr-rec");
const BYTES_PER_MS = 20e6 / 8 / 1_000;
const LATENCY_MS = 40;
const SLICE_BYTES = 16 * 1024;
/** The peer for cold starts. */
export const PEER = "transformers.js, f32";

const ENGINE = `
  import { createEngine } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
  const x = { dtype: "float32", dims: [1, 3, 48, 320], data: new Float32Array(3 * 48 * 320) };
  const engine = await createEngine({ backends: ["wasm"], workers: 1 });
  const load = (options) => engine.load("/model/bundle.json", { onProgress: (p) => { globalThis.loadedBytes = p.loadedBytes; }, ...options });`;

/** Returns the code of one of our pages after the engine is created. */
const answers = (options: string, engine = ENGINE): string => `${engine}
    await (await load(${options})).run({ x });
    ${TELL}`;

/** The pages: each loads the model, runs it once and reports the time since the navigation began. */
const PAGES = {
  [PEER]: `
    import { AutoModel, env, Tensor } from "@huggingface/transformers";
    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = "/peer/";
    env.backends.onnx.wasm.numThreads = 1;
    env.backends.onnx.wasm.wasmPaths = "/peer/ort/";
    const model = await AutoModel.from_pretrained("ocr-rec", { dtype: "fp32", device: "wasm" });
    await model({ x: new Tensor("float32", new Float32Array(3 * 48 * 320), [1, 3, 48, 320]) });
    ${TELL}`,
  "fetch and ONNX Runtime Web, f32": `
    import * as ort from "onnxruntime-web/wasm";
    ort.env.wasm.wasmPaths = { wasm: "/peer/ort/plain.wasm" };
    ort.env.wasm.numThreads = 1;
    const bytes = await (await fetch("/peer/ocr-rec/onnx/model.onnx")).arrayBuffer();
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    await session.run({ x: new ort.Tensor("float32", new Float32Array(3 * 48 * 320), [1, 3, 48, 320]) });
    ${TELL}`,
  "selvedge, f32": answers('{ variant: "f32" }'),
  "selvedge, as shipped": answers("{}"),
  "selvedge, f32, the hash left out": answers('{ variant: "f32" }'),
  "selvedge, f32, from the HTTP cache": answers(
    '{ variant: "f32" }',
    ENGINE.replace("workers: 1", "workers: 1, store: false"),
  ),
} as const;

/** Names a page. */
export type PageName = keyof typeof PAGES;

const NAMES = Object.keys(PAGES) as PageName[];
/** Variant that a page runs. */
export const VARIANTS: Readonly<Record<PageName, string>> = {
  [PEER]: "f32",
  "fetch and ONNX Runtime Web, f32": "f32",
  "selvedge, f32": "f32",
  "selvedge, as shipped": "chosen here",
  "selvedge, f32, the hash left out": "f32",
  "selvedge, f32, from the HTTP cache": "f32",
};

const chunksOf = (id: string): readonly BundleChunk[] =>
  parseBundle(JSON.parse(readFileSync(join(MODEL, "bundle.json"), "utf8")))
    .variants.find((x) => x.id === id)
    ?.files.flatMap((x) => x.chunks) ?? [];
/** Returns the bytes on the wire of a variant of ocr-rec. */
export const sizeOf = (id: string): number => chunksOf(id).reduce((sum, x) => sum + wireBytesOf(x), 0);

/** Prepares the served files, compressed once. */
export async function preparePages(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  for (const [i, name] of NAMES.entries()) {
    const folder = join(FOLDER, String(i));
    mkdirSync(folder, { recursive: true });
    await build({
      stdin: { contents: PAGES[name], resolveDir: ROOT, loader: "js" },
      outfile: join(folder, "main.js"),
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      external: ["node:*"],
      conditions: ["browser", "import"],
      logLevel: "error",
    });
    const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="main.js"></script>`;
    writeFileSync(join(folder, "index.html"), html);
    if (name.startsWith("selvedge"))
      for (const file of [
        "worker-jspi.js",
        "worker-wasm.js",
        "worker-cache.js",
        "ort-jspi.wasm",
        "ort-jspi-rest.wasm",
        "ort-wasm.wasm",
        "ort-wasm-rest.wasm",
        "brotli.wasm",
      ])
        copyFileSync(join(ROOT, "dist", file), join(folder, file));
    if (name.includes("hash left out")) await buildWithoutHash(join(folder, "worker-cache.js"));
  }
  const peer = join(FOLDER, "peer");
  mkdirSync(join(peer, "ocr-rec/onnx"), { recursive: true });
  mkdirSync(join(peer, "ort"), { recursive: true });
  writeFileSync(join(peer, "ocr-rec/onnx/model.onnx"), await readVariantModel(MODEL, "f32"));
  writeFileSync(join(peer, "ocr-rec/config.json"), JSON.stringify({ model_type: "custom" }));
  const theirs = join(ROOT, "node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist");
  for (const file of readdirSync(theirs).filter((x) => /^ort-wasm-simd-threaded.*\.(wasm|mjs)$/.test(x)))
    copyFileSync(join(theirs, file), join(peer, "ort", file));
  const ours = join(ROOT, "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");
  copyFileSync(ours, join(peer, "ort/plain.wasm"));
  const model = join(FOLDER, "model/chunks");
  mkdirSync(model, { recursive: true });
  copyFileSync(join(MODEL, "bundle.json"), join(FOLDER, "model/bundle.json"));
  for (const file of readdirSync(join(MODEL, "chunks"))) copyFileSync(join(MODEL, "chunks", file), join(model, file));
}

/** Builds the worker that fetches models without the hash check of stored chunks. */
async function buildWithoutHash(outfile: string): Promise<void> {
  const check = "(await sha256Hex(found)) === sha256";
  await build({
    entryPoints: [join(ROOT, "lib/cache/worker-cache.ts")],
    outfile,
    bundle: true,
    minify: true,
    format: "iife",
    platform: "browser",
    target: "es2022",
    plugins: [
      {
        name: "without-hash",
        setup({ onLoad }) {
          onLoad({ filter: /cache.shelf\.ts$/ }, ({ path }) => {
            const text = readFileSync(path, "utf8");
            if (!text.includes(check)) throw new Error(`${path} does not check a hash as "${check}"`);
            return { contents: text.replace(check, 'sha256 !== ""'), loader: "ts" };
          });
        },
      },
    ],
  });
}

/** A simulated line. */
export interface Line {
  readonly server: LocalServer;
  /** Receives the reports of its pages. */
  readonly visits: Visits;
  /** Returns the URL of a page. */
  address(page: PageName): string;
  /** Bytes of weights sent so far, as on the wire. */
  weightBytes(): number;
  /** Resolves once nothing is being sent: data flows to a closed tab until its connections are closed. */
  idle(): Promise<void>;
}

/** Opens the line. */
export async function openLine(): Promise<Line> {
  const packed = new Map<string, Buffer>();
  let weightBytes = 0;
  let freeAtMs = 0;
  let sending = 0;
  const bodyOf = (path: string, isPacked: boolean): Buffer => {
    if (!isPacked) return readFileSync(path);
    const known = packed.get(path);
    if (known !== undefined) return known;
    const body = gzipSync(readFileSync(path));
    packed.set(path, body);
    return body;
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
      if (isWeights) weightBytes += slice.length;
      response.write(slice);
    }
    response.end();
    sending -= 1;
  };
  const visits = new Visits();
  const server = await startServer((request, response) => {
    if (visits.take(request, response)) return;
    const pathname = pathOf(request);
    const path = join(FOLDER, decodeURIComponent(pathname));
    if (!path.startsWith(FOLDER) || !existsSync(path) || extname(pathname) === "." || pathname.endsWith("/")) {
      response.writeHead(404).end();
      return;
    }
    const isWeights = pathname.includes("/chunks/") || pathname.endsWith(".onnx");
    // As hosts do: compressed if requested; ranges only of uncompressed files.
    const isPacked = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "") && !isWeights;
    const whole = bodyOf(path, isPacked);
    const from = isPacked ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const body = whole.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      "content-type": contentTypeOf(pathname),
      "content-length": body.length,
      vary: "accept-encoding",
      ...(isPacked ? { "content-encoding": "gzip" } : {}),
      ...(from > 0 ? { "content-range": `bytes ${from}-${whole.length - 1}/${whole.length}` } : {}),
      // Browsers may cache everything except the file that names the version.
      "cache-control": pathname.endsWith("bundle.json") ? "no-cache" : "public, max-age=3600",
    });
    void send(body, isWeights, response);
  });
  return {
    server,
    visits,
    address: (page) => `${server.origin}/${NAMES.indexOf(page)}/index.html`,
    weightBytes: () => weightBytes,
    async idle() {
      while (sending > 0) await new Promise((resolve) => setTimeout(resolve, LATENCY_MS));
    },
  };
}
