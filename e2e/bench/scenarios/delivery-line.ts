// The pages of `delivery`, and the line that they are served over.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { wireBytesOf } from "../../../lib/core/bundle.ts";
import type { BundleChunk } from "../../../lib/core/bundle.ts";
import { parseBundle } from "../../../lib/core/bundle-schema.ts";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import { ROOT } from "../../support/prepare.ts";
import { TELL } from "../kernel/visit.ts";
import { openLine } from "./line.ts";
import type { Line } from "./line.ts";
import { buildPage, copyPackage, copyTransformersOrt } from "./built-pages.ts";

const FOLDER = join(ROOT, "e2e/.cache/delivery");
const MODEL = join(ROOT, "models/dist/ocr-rec");
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
    await buildPage(folder, PAGES[name]);
    if (name.startsWith("selvedge")) copyPackage(folder);
    if (name.includes("hash left out")) await buildWithoutHash(join(folder, "worker-cache.js"));
  }
  const peer = join(FOLDER, "peer");
  mkdirSync(join(peer, "ocr-rec/onnx"), { recursive: true });
  writeFileSync(join(peer, "ocr-rec/onnx/model.onnx"), await readVariantModel(MODEL, "f32"));
  writeFileSync(join(peer, "ocr-rec/config.json"), JSON.stringify({ model_type: "custom" }));
  copyTransformersOrt(join(peer, "ort"));
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
          onLoad({ filter: /cache.model-store\.ts$/ }, ({ path }) => {
            const text = readFileSync(path, "utf8");
            if (!text.includes(check)) throw new Error(`${path} does not check a hash as "${check}"`);
            return { contents: text.replace(check, 'sha256 !== ""'), loader: "ts" };
          });
        },
      },
    ],
  });
}

/** Opens the line to the pages. */
export async function openPages(): Promise<Line & { address(page: PageName): string }> {
  const line = await openLine(FOLDER);
  return { ...line, address: (page) => `${line.server.origin}/${NAMES.indexOf(page)}/index.html` };
}
