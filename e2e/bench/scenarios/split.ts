// Whether the split of ONNX Runtime's binary pays (lib/build/split.ts, docs/onnxruntime.md): the first result of a first visit
// with the split build beside a build with whole binaries, on a line of 20 Mbit/s and on a fast one. Both builds are made
// from the same commit and served with brotli, as a static host does. No model here is in the split's profile: an exported
// one, and one that needs the second part, which is the worst for the split. The limit beside the exported one is a first
// part with the functions that this very model runs: no split can do better for it.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { contentTypeOf, pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { exportedModel } from "../../support/exported-graphs.ts";
import { splitForModels } from "../../support/own-split.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { TELL, Visits } from "../kernel/visit.ts";

const FOLDER = join(ROOT, "e2e/.cache/split");
const PACKED = join(ROOT, "e2e/.cache/split-packed");
const BOUND_MS = 120_000;
const SLICE_BYTES = 16 * 1024;
const LATENCY_MS = 40;
const BUILDS = ["whole", "split", "limit"] as const;
type BuildName = (typeof BUILDS)[number];
/** Name of the limit in rows. */
const LIMIT = "limit: this model's functions alone";

const [EXPORTED, RARE] = ["dinov2 as exported", "one rare operator"] as const;
/** Models, with their input. */
const MODELS = {
  [EXPORTED]: { file: "dinov2.onnx", input: "pixel_values", dims: [1, 3, 96, 96] },
  [RARE]: { file: "rare.onnx", input: "x", dims: [1, 3, 3] },
} as const;
type ModelName = keyof typeof MODELS;

/** Builds of ONNX Runtime: the backends of an engine that takes each. Both compute in WebAssembly here. */
const ORT = { wasm: ["wasm"], jspi: ["webgpu", "wasm"] } as const;
type OrtName = keyof typeof ORT;

/** Lines: bytes a ms, and what a request waits. */
const LINES = {
  "20 Mbit/s": { bytesPerMs: 20e6 / 8 / 1_000, latencyMs: LATENCY_MS },
  "fast line": { bytesPerMs: Infinity, latencyMs: 0 },
} as const;

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  await prepareFolder();
  for (const [line, limits] of Object.entries(LINES)) {
    const served = await serve(limits);
    const cold = async (name: BuildName, model: ModelName, ort: OrtName, slowBy: number): Promise<Sample> => {
      const context = await bench.newProfile();
      try {
        const address = `${served.url}/${name}/index.html?model=${model}&ort=${ort}`;
        const ms = await served.visits.visit(context, address, BOUND_MS);
        return { value: ms * (1 + slowBy), backend: "wasm", model, variant: `f32, ${served.encoding()}` };
      } finally {
        await context.close();
      }
    };
    try {
      for (const [model, ort] of casesOf(bench))
        yield {
          name: `first result, new profile, ${model}, build ${ort}, ${line}`,
          unit: "ms",
          statistic: "median",
          subjects: BUILDS.filter((name) => name !== "limit" || model !== RARE).map((name) => ({
            name: name === "limit" ? LIMIT : name,
            sample: (slowBy) => cold(name, model, ort, slowBy),
          })),
          of: "whole",
          control: "whole",
          goals: model === RARE ? [] : [{ subject: "split", on: "ratio", atMost: 0.85 }],
          rounds: bench.rounds(10),
        };
    } finally {
      await served.server.close();
    }
  }
}

/** Lists the models with the builds of ONNX Runtime: of Chromium's both, as Firefox has no JSPI. */
function casesOf({ browserName }: Bench): (readonly [ModelName, OrtName])[] {
  const all = [[EXPORTED, "wasm"] as const, [RARE, "wasm"] as const];
  return browserName === "chromium" ? [...all, [EXPORTED, "jspi"]] : all;
}

/** Builds both packages and their pages. */
async function prepareFolder(): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const whole = join(FOLDER, "dist-whole");
  const words = ["run", "--silent", "build", "--", "--whole", "--out", whole];
  execFileSync("npm", words, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  writeFileSync(join(FOLDER, "dinov2.onnx"), exportedModel("dinov2"));
  writeFileSync(join(FOLDER, "rare.onnx"), rareModel());
  for (const name of BUILDS) {
    const dist = name === "whole" ? whole : join(ROOT, "dist");
    const page = `
      import { createEngine } from ${JSON.stringify(join(dist, "index.js"))};
      const asked = new URLSearchParams(location.search);
      const { file, input, dims } = ${JSON.stringify(MODELS)}[asked.get("model")];
      const engine = await createEngine({ backends: ${JSON.stringify(ORT)}[asked.get("ort")], workers: 1 });
      const model = await engine.load("/" + file, { backend: "wasm" });
      const data = new Float32Array(dims.reduce((a, b) => a * b)).fill(0.5);
      for (let i = 0; i < data.length; i += 4) data[i] = 1 + i % 7;
      await model.run({ [input]: { dtype: "float32", dims, data } });
      ${TELL}`;
    const folder = join(FOLDER, name);
    await build({
      stdin: { contents: page, resolveDir: ROOT, loader: "js" },
      outfile: join(folder, "main.js"),
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      logLevel: "error",
    });
    const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="main.js"></script>`;
    writeFileSync(join(folder, "index.html"), html);
    for (const file of readdirSync(dist))
      if (/^(?:worker-|ort-|brotli).*\.(?:js|wasm)$/.test(file)) cpSync(join(dist, file), join(folder, file));
    if (name === "limit") await splitForExported(folder);
    // Ahead, since a server that compresses answers nobody.
    for (const file of readdirSync(folder))
      for (const coding of ["br", "gzip"] as const) pack(join(folder, file), coding);
  }
}

/** Replaces the binaries of a folder by those that are split for the exported model. */
async function splitForExported(folder: string): Promise<void> {
  const models = join(FOLDER, "exported");
  mkdirSync(models);
  cpSync(join(FOLDER, MODELS[EXPORTED].file), join(models, MODELS[EXPORTED].file));
  for (const ort of Object.keys(ORT) as OrtName[]) {
    const { first, rest } = await splitForModels(models, ort);
    writeFileSync(join(folder, `ort-${ort}.wasm`), first);
    writeFileSync(join(folder, `ort-${ort}-rest.wasm`), rest);
  }
}

/** A model of one operator that the profile leaves out. */
function rareModel(): Uint8Array {
  const inputs = { x: { dtype: "float32", dims: [1, 3, 3] } } as const;
  const nodes = [{ opType: "Inverse", domain: "com.microsoft", input: ["x"], output: ["y"] }];
  return modelOf({ inputs, outputs: ["y"], nodes, opset: 17 }).write();
}

/** Files that are sent compressed. */
const PACKABLE = /\.(?:html|js|wasm)$/;

interface Served {
  readonly server: LocalServer;
  readonly visits: Visits;
  readonly url: string;
  /** The encoding of the binary that was sent last. */
  readonly encoding: () => string;
}

/** Serves the folder over a line that all connections share. */
async function serve({ bytesPerMs, latencyMs }: (typeof LINES)[keyof typeof LINES]): Promise<Served> {
  const visits = new Visits();
  let encoding = "none";
  let freeAtMs = 0;
  const send = async (body: Uint8Array, response: ServerResponse): Promise<void> => {
    if (latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, latencyMs));
    const step = bytesPerMs === Infinity ? Math.max(body.length, 1) : SLICE_BYTES;
    for (let at = 0; at < body.length && !response.destroyed; at += step) {
      const slice = body.subarray(at, at + step);
      const now = performance.now();
      freeAtMs = Math.max(freeAtMs, now) + slice.length / bytesPerMs;
      if (freeAtMs - now > 1) await new Promise((resolve) => setTimeout(resolve, freeAtMs - now));
      response.write(slice);
    }
    response.end();
  };
  const server = await startServer((request, response) => {
    if (visits.take(request, response)) return;
    const pathname = pathOf(request);
    const path = join(FOLDER, pathname);
    if (!path.startsWith(FOLDER) || extname(path) === "" || !existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    const { body, coding } = packedFile(path, request);
    if (pathname.endsWith(".wasm")) encoding = coding;
    response.writeHead(200, {
      "content-type": contentTypeOf(path),
      "content-length": body.length,
      ...(coding === "identity" ? {} : { "content-encoding": coding }),
      "cache-control": "public, max-age=3600",
    });
    void send(body, response);
  });
  return { server, visits, url: server.origin, encoding: () => encoding };
}

/** Reads a file, compressed as the browser asks for it. */
function packedFile(path: string, request: IncomingMessage): { body: Uint8Array; coding: string } {
  if (!PACKABLE.test(path)) return { body: readFileSync(path), coding: "identity" };
  const coding = /\bbr\b/.test(request.headers["accept-encoding"] ?? "") ? "br" : "gzip";
  return { body: pack(path, coding), coding };
}

/** Compresses a file; brotli takes half a minute a binary, so that is kept from run to run. */
function pack(path: string, coding: "br" | "gzip"): Uint8Array {
  const bytes = readFileSync(path);
  const kept = join(PACKED, `${createHash("sha256").update(bytes).digest("hex")}.${coding}`);
  if (!existsSync(kept)) {
    mkdirSync(PACKED, { recursive: true });
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
    writeFileSync(kept, coding === "br" ? brotliCompressSync(bytes, { params }) : gzipSync(bytes, { level: 9 }));
  }
  return readFileSync(kept);
}
