// The site of the tests of ONNX Runtime's split binary (wasm-split.spec.ts): an app, the built package, two
// models, and a server that notes the order of requests and can withhold the second part. With SELVEDGE_DIST it serves
// another build.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathOf, startServer } from "../../lib/compress/check/local-server.ts";
import { int64Tensor } from "../../lib/compress/onnx/tensor-proto.ts";
import { buildGraph } from "../../models/graph.ts";
import { appSite } from "./app-site.ts";
import { DIST } from "./prepare.ts";

/** Backends for which an engine takes each build of ONNX Runtime. */
const BACKENDS = { wasm: ["wasm"], jspi: ["webgpu", "wasm"] } as const;
export type Build = keyof typeof BACKENDS;

const appOf = (build: Build): string => `
import { createEngine } from "selvedge";
const backends = ${JSON.stringify(BACKENDS[build])};
globalThis.app = {
  async answer(path, rows, options) {
    app.engine ??= await createEngine({ backends, workers: 1, assetsBase: "/dist/", store: false, ...options });
    const model = await app.engine.load(path, { backend: "wasm" });
    await fetch("/loaded");
    const data = Float32Array.from({ length: rows * 3 }, (_, i) => [1, 3, 2][i % 3]);
    const { outputs } = await model.run({ x: { dtype: "float32", dims: [rows, 3], data } });
    await fetch("/answered");
    const first = [...outputs.y.data.slice(0, 3)];
    if (outputs.y.data.some((x, i) => x !== first[i % 3])) throw new Error("not each row is answered as the first");
    return first;
  },
  async lanes(path, count) {
    await app.answer(path, 1, { workers: 2 });
    await Promise.all(Array.from({ length: count }, () => app.answer(path, 1)));
    return app.engine.stats().lanes.filter(({ runs }) => runs > 0).length;
  },
};`;
const REST = /-rest\.wasm$/;
/** Whether the build that is served has one part. */
export const isWhole = !existsSync(join(DIST, "ort-wasm-rest.wasm"));

const port = (name: string) => ({ name, dtype: "float32", dims: ["n", 3], batchAxis: 0 }) as const;
const PORTS = { inputs: [port("x")], outputs: [port("y")] };

/** A model of an operator that the profile knows. */
function usualModel(): Uint8Array {
  return buildGraph(PORTS, [{ opType: "Relu", input: ["x"], output: ["y"] }], {}).write();
}

/** A model of an operator that the profile does not know, and that is spread over threads: 1 / x, as matrices of 1 × 1. */
export function rareModel(): Uint8Array {
  const nodes = [
    { opType: "Reshape", input: ["x", "ones"], output: ["matrices"] },
    { opType: "Inverse", domain: "com.microsoft", input: ["matrices"], output: ["inverses"] },
    { opType: "Reshape", input: ["inverses", "rows"], output: ["y"] },
  ];
  const constants = [int64Tensor("ones", [3], [-1, 1, 1]), int64Tensor("rows", [2], [-1, 3])];
  const model = buildGraph(PORTS, nodes, {}, constants);
  model.useContribOperators();
  return model.write();
}
/** Answer of that model to 1, 3, 2. */
export const RARE = [1, 1 / 3, 1 / 2].map(Math.fround);

/** The site while a test runs. */
export interface SplitSite {
  readonly url: string;
  /** Paths in the order of requests. */
  readonly asked: string[];
  /** Whether the second part is missing on the server. */
  isMissing: boolean;
  /** Has the worker take every operator for one that the profile knows, so that the second part is linked in a call. */
  isUnforeseen: boolean;
  /** How long the second part is withheld, in ms. */
  restMs: number;
  /** Whether the first part is withheld until the second is asked for. */
  isFirstHeld: boolean;
  /** Returns when the second part was first asked for, among the requests; −1 where it was not. */
  restAt(): number;
  /** Counts the requests for the second part. */
  restCount(): number;
  close(): Promise<void>;
}

/** Starts the site, with an app that runs models on wasm, in a build of ONNX Runtime. */
export async function startSplitSite(build: Build = "wasm"): Promise<SplitSite> {
  const fileAt = await appSite({
    app: appOf(build),
    files: { "/usual.onnx": usualModel(), "/rare.onnx": rareModel(), "/loaded": "", "/answered": "" },
  });
  const asked: string[] = [];
  const server = await startServer((request, response) => {
    const pathname = pathOf(request);
    asked.push(pathname);
    const isRest = REST.test(pathname);
    const isFirst = pathname.endsWith(`ort-${build}.wasm`);
    const file = fileAt(pathname);
    response.writeHead(file === null || (isRest && site.isMissing) ? 404 : 200, {
      "content-type": file?.type ?? "text/plain",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    });
    const end = (): void => {
      if (isFirst && site.isFirstHeld && site.restCount() === 0) setTimeout(end, 20);
      else response.end(file === null ? "" : bodyOf(pathname, file.body, site.isUnforeseen));
    };
    setTimeout(end, isRest ? site.restMs : 0);
  });
  const site: SplitSite = {
    url: `${server.origin}/`,
    asked,
    isMissing: false,
    isUnforeseen: false,
    restMs: 0,
    isFirstHeld: false,
    restAt: () => asked.findIndex((path) => REST.test(path)),
    restCount: () => asked.filter((path) => REST.test(path)).length,
    close: () => server.close(),
  };
  return site;
}

function bodyOf(pathname: string, body: string | Uint8Array, isUnforeseen: boolean): string | Uint8Array {
  if (!isUnforeseen || !/^\/dist\/worker-(?:wasm|jspi)\.js$/.test(pathname)) return body;
  const code = Buffer.from(body).toString();
  if (!code.includes('"Abs",')) throw new Error(`${pathname} has no list of usual operators`);
  return code.replace('"Abs",', '"Abs","com.microsoft:Inverse",');
}
