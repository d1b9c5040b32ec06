// What the way to a model costs, over a line of 20 Mbit/s and 40 ms that all connections share: the first result of
// ocr-rec in a new browser profile and in one that was there before, beside transformers.js and beside a plain fetch
// with ONNX Runtime Web; what a load that broke at 90 % fetches again; what an update fetches (update-bytes.ts).
//
// Scripts, wasm and chunks are sent with gzip, as a static host does for the former and precompressed files do for the
// latter (browsers take brotli over https alone); a bare `.onnx` is not compressed, as hosts have it.
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { BrowserContext } from "@playwright/test";
import type { Bundle } from "../../lib/bundle.ts";
import { ROOT } from "../prepare.ts";
import type { Case, Sample } from "./kernel.ts";
import type { Bench } from "./run.ts";
import { updateCases } from "./update-bytes.ts";

const FOLDER = join(ROOT, "e2e/.cache/delivery");
const MODEL = join(ROOT, "models/dist/ocr-rec");
const BYTES_PER_MS = 20e6 / 8 / 1_000;
const LATENCY_MS = 40;
const SLICE_BYTES = 16 * 1024;
const PEER = "transformers.js, f32";

const ENGINE = `
  import { createEngine } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
  const x = { dtype: "float32", dims: [1, 3, 48, 320], data: new Float32Array(3 * 48 * 320) };
  const engine = await createEngine({ backends: ["wasm"], workers: 1 });
  const load = (options) => engine.load("/model/bundle.json", { onProgress: (p) => { globalThis.loadedBytes = p.loadedBytes; }, ...options });`;

/** The pages: each loads the model, runs it once and notes the time since the navigation began. */
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
    globalThis.firstResultMs = performance.now();`,
  "fetch and ONNX Runtime Web, f32": `
    import * as ort from "onnxruntime-web/wasm";
    ort.env.wasm.wasmPaths = { wasm: "/peer/ort/plain.wasm" };
    ort.env.wasm.numThreads = 1;
    const bytes = await (await fetch("/peer/ocr-rec/onnx/model.onnx")).arrayBuffer();
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    await session.run({ x: new ort.Tensor("float32", new Float32Array(3 * 48 * 320), [1, 3, 48, 320]) });
    globalThis.firstResultMs = performance.now();`,
  "selvedge, f32": `${ENGINE}
    await (await load({ variant: "f32" })).run({ x });
    globalThis.firstResultMs = performance.now();`,
  "selvedge, as shipped": `${ENGINE}
    await (await load({})).run({ x });
    globalThis.firstResultMs = performance.now();`,
} as const;
type PageName = keyof typeof PAGES;

const NAMES = Object.keys(PAGES) as PageName[];
const VARIANTS: Readonly<Record<PageName, string>> = {
  [PEER]: "f32",
  "fetch and ONNX Runtime Web, f32": "f32",
  "selvedge, f32": "f32",
  "selvedge, as shipped": "chosen here",
};

/** Gives the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const item of updateCases()) yield item;
  await preparePages();
  const line = await serve();
  const contexts = new Map<PageName, BrowserContext>();
  const of = (page: PageName, value: number): Sample => ({
    value,
    backend: "wasm",
    model: "ocr-rec",
    variant: VARIANTS[page],
  });
  const address = (page: PageName): string => `${line.url}/${NAMES.indexOf(page)}/index.html`;
  const visit = async (context: BrowserContext, page: PageName): Promise<number> => {
    const tab = await context.newPage();
    await tab.goto(address(page));
    await tab.waitForFunction("globalThis.firstResultMs !== undefined", undefined, { timeout: 180_000 });
    const ms = Number(await tab.evaluate("globalThis.firstResultMs"));
    await tab.close();
    return ms;
  };
  const cold = async (page: PageName, slowBy: number): Promise<number> => {
    const context = await bench.browser.newContext();
    try {
      return (await visit(context, page)) * (1 + slowBy);
    } finally {
      await context.close();
    }
  };
  const warmed = async (page: PageName): Promise<BrowserContext> => {
    const known = contexts.get(page);
    if (known !== undefined) return known;
    const context = await bench.browser.newContext();
    contexts.set(page, context);
    await visit(context, page);
    return context;
  };
  try {
    yield {
      name: "first result, new profile",
      unit: "ms",
      statistic: "median",
      subjects: NAMES.map((name) => ({ name, sample: async (slowBy) => of(name, await cold(name, slowBy)) })),
      of: PEER,
      goals: [
        { subject: "selvedge, f32", on: "ratio", atMost: 0.9 },
        { subject: "selvedge, as shipped", on: "ratio", atMost: 0.5 },
      ],
      control: PEER,
      rounds: bench.rounds(5),
      warmups: 0,
    };
    yield {
      name: "first result, been here before",
      unit: "ms",
      statistic: "median",
      subjects: [
        {
          name: "selvedge, as shipped, new profile",
          sample: async () => of("selvedge, as shipped", await cold("selvedge, as shipped", 0)),
        },
        ...NAMES.map((name) => ({ name, sample: async () => of(name, await visit(await warmed(name), name)) })),
      ],
      of: "selvedge, as shipped, new profile",
      goals: [{ subject: "selvedge, as shipped", on: "ratio", atMost: 0.2 }],
      rounds: bench.rounds(5),
      warmups: 0,
    };
    yield {
      name: "bytes of weights, been here before",
      unit: "bytes",
      statistic: "max",
      subjects: (["selvedge, f32", "selvedge, as shipped"] as const).map((name) => ({
        name,
        sample: async () => {
          const context = await warmed(name);
          const before = line.weightBytes();
          await visit(context, name);
          return of(name, line.weightBytes() - before);
        },
      })),
      goals: [
        { subject: "selvedge, f32", on: "value", atMost: 0 },
        { subject: "selvedge, as shipped", on: "value", atMost: 0 },
      ],
      rounds: 1,
      warmups: 0,
    };
    yield {
      name: "fetched again after a tab closed at 90 %",
      unit: "share of the weights",
      statistic: "max",
      subjects: [
        {
          name: "selvedge, f32",
          sample: async () => {
            const context = await bench.browser.newContext();
            try {
              const tab = await context.newPage();
              await tab.goto(address("selvedge, f32"));
              const total = sizeOf("f32");
              const most = `globalThis.loadedBytes >= ${Math.floor(0.9 * total)}`;
              await tab.waitForFunction(most, undefined, { timeout: 60_000, polling: 20 });
              await tab.close();
              const before = line.weightBytes();
              await visit(context, "selvedge, f32");
              return of("selvedge, f32", (line.weightBytes() - before) / line.weightsOf("f32"));
            } finally {
              await context.close();
            }
          },
        },
      ],
      goals: [{ subject: "selvedge, f32", on: "value", atMost: 0.12 }],
      rounds: bench.rounds(3),
      warmups: 0,
    };
  } finally {
    for (const context of contexts.values()) await context.close();
    line.server.close();
  }
}

const readBundle = (): Bundle => JSON.parse(readFileSync(join(MODEL, "bundle.json"), "utf8")) as Bundle;
const chunksOf = (id: string): readonly { sha256: string; bytes: number }[] =>
  readBundle()
    .variants.find((x) => x.id === id)
    ?.files.flatMap((x) => x.chunks) ?? [];
const sizeOf = (id: string): number => chunksOf(id).reduce((sum, x) => sum + x.bytes, 0);

/** Lays out what is served, compressed once. */
async function preparePages(): Promise<void> {
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
      for (const file of ["worker-jspi.js", "worker-wasm.js", "worker-cache.js", "ort-jspi.wasm", "ort-wasm.wasm"])
        copyFileSync(join(ROOT, "dist", file), join(folder, file));
  }
  const peer = join(FOLDER, "peer");
  mkdirSync(join(peer, "ocr-rec/onnx"), { recursive: true });
  mkdirSync(join(peer, "ort"), { recursive: true });
  const f32 = chunksOf("f32").map((x) => readFileSync(join(MODEL, "chunks", x.sha256)));
  writeFileSync(join(peer, "ocr-rec/onnx/model.onnx"), Buffer.concat(f32));
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

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

interface Line {
  readonly server: Server;
  readonly url: string;
  /** Bytes of weights sent so far, as they go over the line. */
  weightBytes(): number;
  /** What a variant takes over the line. */
  weightsOf(id: string): number;
}

async function serve(): Promise<Line> {
  const packed = new Map<string, Buffer>();
  let weightBytes = 0;
  let freeAtMs = 0;
  const bodyOf = (path: string): Buffer => {
    const known = packed.get(path);
    if (known !== undefined) return known;
    const bytes = readFileSync(path);
    const isModel = path.endsWith(".onnx");
    const body = isModel ? bytes : gzipSync(bytes);
    packed.set(path, body);
    return body;
  };
  // All connections share the line: each slice waits until those before it are through.
  const send = async (body: Buffer, isWeights: boolean, response: ServerResponse): Promise<void> => {
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
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const path = join(FOLDER, decodeURIComponent(pathname));
    if (!path.startsWith(FOLDER) || !existsSync(path) || extname(pathname) === "." || pathname.endsWith("/")) {
      response.writeHead(404).end();
      return;
    }
    const body = bodyOf(path);
    const isWeights = pathname.includes("/chunks/") || pathname.endsWith(".onnx");
    response.writeHead(200, {
      "content-type": TYPES[extname(pathname)] ?? "application/octet-stream",
      "content-length": body.length,
      ...(pathname.endsWith(".onnx") ? {} : { "content-encoding": "gzip" }),
      // Browsers may keep all but what says which version there is.
      "cache-control": pathname.endsWith("bundle.json") ? "no-cache" : "public, max-age=3600",
    });
    void send(body, isWeights, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    weightBytes: () => weightBytes,
    weightsOf: (id) => chunksOf(id).reduce((sum, x) => sum + bodyOf(join(FOLDER, "model/chunks", x.sha256)).length, 0),
  };
}
