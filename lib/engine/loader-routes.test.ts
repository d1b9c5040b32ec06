// Routes of a model whose variants differ: a request may move to any of them.
import { expect, test } from "vitest";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import type { Variant } from "../core/bundle.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import { TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";

/** Returns the numbers of rows that ran on each backend, where wasm has a variant of its own. */
async function rowsOf(wasm: Partial<Variant>): Promise<Record<"wasm" | "webgpu", Set<number>>> {
  const bundle = parseBundle(JSON.parse(toyBundle("two", 2, "together", "slow")));
  const [only] = bundle.variants as [Variant];
  const variants = [
    { ...only, id: "gpu", unchecked: ["wasm"] },
    { ...only, id: "cpu", unchecked: ["webgpu"], ...wasm },
  ] as Variant[];
  const rows = { wasm: new Set<number>(), webgpu: new Set<number>(), remote: new Set<number>() };
  let lose = (): void => undefined;
  const scene = await openScene({
    ...{ gpu: true, workers: 1, cores: 1, bundles: { two: JSON.stringify(bundleJson({ ...bundle, variants })) } },
    files: { [`${TOY_CHUNK.path}.bin`]: new TextEncoder().encode(TOY_CHUNK.content) },
    change: (toy) => {
      let isOn: "wasm" | "webgpu" | "remote" = "wasm";
      const backend: typeof toy = {
        ...toy,
        start: (options) => {
          isOn = options.backend;
          if (isOn === "webgpu") lose = () => backend.onLost?.("simulated");
          return toy.start(options);
        },
        run: (modelId, feeds, ...rest) => {
          rows[isOn].add(feeds["x"]?.dims[0] ?? 0);
          return toy.run(modelId, feeds, ...rest);
        },
      };
      return backend;
    },
  });
  const model = await scene.load("two");
  expect([model.backend, model.variant]).toEqual(["webgpu", "gpu"]);
  for (let i = 0; i < 3; i += 1) await scene.ask(model, 40);
  for (let i = 0; i < 2; i += 1) {
    lose();
    await scene.ask(model, 12);
  }
  return rows;
}

test("requests run one by one where the fallback is known to mix the rows of a batch (golden mixed fallback)", async () => {
  const rows = await rowsOf({ mixesRows: true });
  expect([...rows.wasm]).toEqual([1]);
});

test("requests are batched on a fallback that is not known to mix rows (golden mixed fallback)", async () => {
  const rows = await rowsOf({});
  expect(Math.max(...rows.wasm)).toBeGreaterThan(1);
});
