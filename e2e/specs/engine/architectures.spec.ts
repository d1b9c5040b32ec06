// Exported models of common architectures, with generated weights, from a local hub: the same tensors in give the outputs
// of Python's onnxruntime, and the second part of ONNX Runtime's binary is fetched for none. In the soak alone: the exporter
// needs PyTorch (e2e/support/exporter.ts).
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import type { HubServer } from "../../../lib/test-support/hub-server.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";
import { exportedHub } from "../../support/exporter.ts";
import { keep } from "../../support/suite.ts";

/** Bounds on max|Δ| / max|reference|, by encoding: rounding of activations differs where they are quantized. */
const BOUNDS: Readonly<Record<string, number>> = { fp32: 1e-4, q4: 1e-4, q8: 5e-2 };
const NAMES = [
  ...["text-classifier", "token-classifier", "cross-encoder", "fill-mask", "distilbert", "mpnet"],
  ...["vit", "mobilenet", "convnext", "detr", "yolos", "segformer", "whisper"],
];

/** A tensor as architectures.py writes it. */
interface Told {
  readonly dtype: string;
  readonly dims: readonly number[];
  /** Its bytes in base64. */
  readonly data: string;
}

interface Case {
  readonly repo: string;
  readonly file: string;
  readonly dtype: string;
  readonly feeds: Readonly<Record<string, Told>>;
  readonly outputs: Readonly<Record<string, Told>>;
}

let hub: HubServer;
let cases: readonly Case[] = [];

test.beforeAll(async () => {
  test.setTimeout(1_800_000);
  const made = await exportedHub("architectures.py", "cases.json", NAMES);
  hub = made.hub;
  cases = made.cases as readonly Case[];
});

test.afterAll(() => {
  hub.close();
});

interface Ran {
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly backend: string;
  readonly why: string;
}

/** Loads a graph by its repository's name and runs it. */
function run(page: Page, host: string, backend: "wasm" | "webgpu", given: Case): Promise<Ran> {
  return page.evaluate(
    async ({ host, backend, given }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const TYPES = {
        float32: Float32Array,
        int64: BigInt64Array,
        int32: Int32Array,
        bool: Uint8Array,
      };
      const engine = await createEngine({ backends: [backend], workers: 1 });
      try {
        const { repo, dtype, file } = given;
        const model = await engine.load({ repo: `owner/${repo}`, host, dtype, file }, { backend });
        const inputs = Object.entries(given.feeds).map(([name, { dtype, dims, data }]) => {
          const bytes = Uint8Array.from(atob(data), (x) => x.charCodeAt(0));
          const values = new TYPES[dtype as keyof typeof TYPES](bytes.buffer);
          return [name, { dtype, dims, data: values } as Selvedge.TensorInput] as const;
        });
        const { outputs, info } = await model.run(Object.fromEntries(inputs));
        const numbers = Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data, Number)] as const);
        return { outputs: Object.fromEntries(numbers), backend: info.backend, why: info.why.text };
      } finally {
        await engine.close();
      }
    },
    { host, backend, given },
  );
}

const most = (list: readonly number[]): number => list.reduce((max, x) => Math.max(max, Math.abs(x)), 0);

for (const backend of ["wasm", "webgpu"] as const)
  for (const name of isSoak ? NAMES : [])
    test(`${name} on ${backend} gives the outputs of Python's onnxruntime`, async ({ page }, info) => {
      const { pages } = info.config.metadata as { pages: string };
      const asked: string[] = [];
      page.on("request", (request) => asked.push(new URL(request.url()).pathname));
      await page.goto(`${pages}/engine.html`);
      await page.waitForFunction("globalThis.selvedge !== undefined");
      // Products of activations in 8 bits have no kernels on WebGPU.
      const own = cases.filter((x) => x.repo === name && (backend === "wasm" || x.dtype !== "q8"));
      expect(own.length).toBeGreaterThan(0);
      for (const each of own) {
        const found = await run(page, hub.url, backend, each);
        expect(found.backend, found.why).toBe(backend);
        for (const [output, { data }] of Object.entries(each.outputs)) {
          const reference = [...new Float32Array(new Uint8Array(Buffer.from(data, "base64")).buffer)];
          const values = found.outputs[output] ?? [];
          expect(values, output).toHaveLength(reference.length);
          const ratio = most(values.map((x, i) => x - (reference[i] ?? 0))) / most(reference);
          await keep(info, { name, backend, dtype: each.dtype, output, ratio });
          expect(ratio, `${each.dtype} ${output}`).toBeLessThan(BOUNDS[each.dtype] ?? 0);
        }
        expect(
          asked.filter((path) => path.endsWith("-rest.wasm")),
          each.dtype,
        ).toEqual([]);
      }
    });
