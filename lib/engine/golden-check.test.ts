// The golden check: a variant that computes its known input wrongly on the GPU answers no request there.
import { describe, expect, test } from "vitest";
import { createEngine } from "../create-engine.ts";
import type { Tensor } from "../core/tensor.ts";
import { endOf } from "../test-support/simulate/fixtures.ts";
import { askWide, each, honest, onlyWhere, right, stage, zeros } from "../test-support/simulate/golden-stage.ts";
import type { Lie, GoldenStage } from "../test-support/simulate/golden-stage.ts";
import { IDLE_MS, REPEAT_MS } from "./golden-check.ts";
import type { Model } from "./model.ts";
import type { LoadOptions } from "./options.ts";
import { AGAIN_MS } from "./measuring.ts";

const DAY_MS = 86_400_000;

const LIES: readonly (readonly [string, Lie, string])[] = [
  ["zeros", zeros, "error 1 above 0.001"],
  ["1 % more everywhere", each((x) => x * 1.01), "error 0.01 above 0.001"],
  ["one element off", each((x, i) => (i === 0 ? x + 0.02 : x)), "error 0.002 above 0.001"],
  ["NaN", each((x, i) => (i === 1 ? NaN : x)), '"y" is not finite'],
  ["infinity", each((x, i) => (i === 0 ? Infinity : x)), '"y" is not finite'],
  ["other dims", ({ y }) => ({ y: { ...y, dims: [2, 1] } as Tensor }), '"y" has dims 2×1 in place of 1×2'],
];

/** Loads `checked` on another engine in the same browser, as a later page does. */
async function nextPage({ world }: GoldenStage): Promise<string> {
  const engine = await createEngine({ effects: world.effects });
  const model = await world.finish(engine.load("https://app.test/checked.json"));
  await engine.close();
  return `${model.backend} ${model.why.code}`;
}

describe("a model whose golden the GPU answers wrongly", () => {
  test.each(LIES)("runs on wasm from the first request, and says why: %s (golden)", async (_, lie, fault) => {
    const scene = await stage(lie);
    const model = await scene.load("checked");
    expect([model.backend, model.why]).toEqual([
      "wasm",
      { code: "golden-failed", text: `wasm: WebGPU f32 refused: ${fault} (golden check)` },
    ]);
    const runs = scene.gpu.runs;
    expect(await scene.ask(model, 20)).toEqual(Array.from({ length: 20 }, (__, i) => 2 * i));
    const { info } = await scene.world.finish(scene.run(model, 3));
    expect(info.why.code).toBe("golden-failed");
    await scene.pass(2 * AGAIN_MS);
    await scene.ask(model, 1);
    expect([runs, scene.gpu.runs]).toEqual([1, 1]);
  });

  test.each(LIES)("is refused with wrong-result where the caller named the GPU: %s (golden)", async (_, lie, fault) => {
    const scene = await stage(lie);
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({
      code: "wrong-result",
      details: { reason: "golden", variant: "f32" },
      message: expect.stringContaining(`WebGPU f32 refused: ${fault} (golden check)`) as string,
    });
    const runs = scene.gpu.runs;
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({ code: "wrong-result" });
    expect([runs, scene.gpu.runs]).toEqual([1, 1]);
  });

  test("is not tried again by later pages for a day, then is, and may pass (golden memo)", async () => {
    const scene = await stage(zeros);
    await scene.load("checked");
    scene.gpu.lie = honest;
    expect(await nextPage(scene)).toBe("wasm golden-failed");
    expect(scene.gpu.runs).toBe(1);
    await scene.pass(DAY_MS);
    expect(await nextPage(scene)).toBe("webgpu measured");
  });
});

describe("a model whose golden the GPU answers rightly", () => {
  test("runs there, and is checked once for all pages (golden memo)", async () => {
    const scene = await stage(each((x) => x * (1 + 1e-6)));
    const model = await scene.load("checked", { backend: "webgpu" });
    expect([model.backend, scene.gpu.runs]).toEqual(["webgpu", 1]);
    const again = await scene.load("checked", { backend: "webgpu" });
    expect([again.backend, scene.gpu.runs]).toEqual(["webgpu", 1]);
  });

  test("is checked again in another browser, and by another release (golden memo)", async () => {
    const scene = await stage(honest);
    const { effects } = scene.world;
    await scene.load("checked", { backend: "webgpu" });
    const other = await createEngine({ effects: { ...effects, facts: { ...effects.facts, browser: "other" } } });
    const load = (engine = other) =>
      scene.world.finish(engine.load("https://app.test/checked.json", { backend: "webgpu" }));
    await load();
    expect(scene.gpu.runs).toBe(2);
    const memo = effects.memo.get("selvedge/golden/1") as string;
    effects.memo.set("selvedge/golden/1", memo.replace(/"release":"[^"]*"/, '"release":"0.0.1"'));
    await load(scene.engine);
    expect(scene.gpu.runs).toBe(3);
  });

  test("is checked again after the device was lost; where it lies then, wasm answers all (golden loss)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    scene.gpu.lie = zeros;
    scene.gpu.lose();
    const answers = Array.from({ length: 12 }, (_, i) => endOf(scene.run(model, i + 1)));
    expect(await scene.world.finish(Promise.all(answers))).toEqual(Array.from({ length: 12 }, (_, i) => 2 * (i + 1)));
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });
});

describe("a batch of a size that was never checked", () => {
  const BATCHES: readonly (readonly [string, (rows: number) => boolean])[] = [
    ["more than one row", (rows) => rows > 1],
    ["exactly two rows", (rows) => rows === 2],
    ["rows that are no multiple of 4", (rows) => rows > 1 && rows % 4 !== 0],
    ["more than 8 rows", (rows) => rows > 8],
  ];
  test.each(BATCHES)("gets right answers although the GPU computes %s wrongly (golden batch)", async (_, condition) => {
    const scene = await stage(honest, { ...{ cores: 1, workers: 1 } });
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    scene.gpu.lie = onlyWhere(
      (rows) => condition(rows),
      each((x) => x * 1.5),
    );
    for (const count of [1, 3, 7, 20, 40, 80, 12]) expect(await askWide(scene, model, count, 2)).toEqual(right(count));
    expect(scene.gpu.rows.some(condition)).toBe(true);
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
    expect(model.why.text).toMatch(
      /^wasm: WebGPU f32 refused: error 0\.5 above 0\.001 in a batch of \d+ \(golden check\)$/,
    );
  });

  test("fails with wrong-result where the caller named the GPU (golden batch)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked", { backend: "webgpu" });
    scene.gpu.lie = onlyWhere((rows) => rows > 1, zeros);
    const ends = await askWide(scene, model, 12, 2);
    expect(new Set(ends.filter((x) => typeof x === "string"))).toEqual(new Set(["wrong-result"]));
    expect(ends.filter((x) => typeof x === "number")).toEqual(right(12).filter((x) => ends.includes(x)));
    expect(await askWide(scene, model, 1, 2)).toEqual(["wrong-result"]);
  });

  test("costs extra runs once for all pages (golden batch memo)", async () => {
    const scene = await stage(honest);
    const options = { backend: "webgpu", batching: { maxBatchSize: 2 } } as const;
    const model = await scene.load("checked", options);
    const cost = async (of: Model, count: number): Promise<number> => {
      const before = scene.world.rows;
      expect(await askWide(scene, of, count, 2)).toEqual(right(count));
      return scene.world.rows - before - count;
    };
    expect(await cost(model, 40)).toBeGreaterThan(0);
    expect([await cost(model, 40), await cost(model, 40)]).toEqual([0, 0]);
    const engine = await createEngine({ effects: scene.world.effects });
    const again = await scene.world.finish(engine.load("https://app.test/checked.json", options));
    expect(await cost(again, 40)).toBe(0);
  });
});

describe("a request of a shape that was never checked", () => {
  const SHAPES: readonly (readonly [string, number, (rows: number, columns: number) => boolean])[] = [
    ["no multiple of 4", 7, (_, columns) => columns % 4 !== 0 && columns !== 2],
    ["large", 300, (_, columns) => columns > 256],
    ["in a batch", 8, (rows, columns) => rows > 1 && columns === 8],
  ];
  test.each(SHAPES)("gets the right answer: %s (golden shape)", async (_, columns, condition) => {
    const scene = await stage(onlyWhere(condition, zeros), { cores: 1, workers: 1 });
    const model = await scene.load("checked");
    expect(model.backend).toBe("webgpu");
    expect(await askWide(scene, model, 20, columns)).toEqual(right(20));
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });

  test("is compared with wasm once, and the model stays on the GPU (golden shape)", async () => {
    const wasm = { runs: 0 };
    const scene = await stage(honest, { onWasm: (what) => (wasm.runs += what === "run" ? 1 : 0) });
    const model = await scene.load("checked", { backend: "webgpu" });
    for (const columns of [7, 7, 5, 7]) expect(await askWide(scene, model, 1, columns)).toEqual([2]);
    expect([wasm.runs, model.backend, model.why.text]).toEqual([1, "webgpu", "webgpu: pinned by the caller"]);
  });

  test("is answered where there is no wasm to compare with, and called unverified (golden shape)", async () => {
    const scene = await stage(honest, { backends: ["webgpu"] });
    const model = await scene.load("checked");
    expect(model.why.text).not.toContain("unverified");
    expect(await askWide(scene, model, 9, 7)).toEqual(right(9));
    expect(model.why.text).toMatch(/; unverified: a shape could not be compared with wasm$/);
  });
});

describe("the next variant", () => {
  /** A lie in the runs of some variants. */
  const only =
    (...variants: number[]): Lie =>
    (outputs, variant) =>
      variants.includes(variant) ? zeros(outputs, variant) : outputs;
  const PINS: readonly LoadOptions[] = [{}, { backend: "webgpu" }];

  test.each(PINS)("runs on the GPU where that computes the first wrongly: %j (golden next)", async (options) => {
    const scene = await stage(only(0, 1), { variants: 3 });
    const model = await scene.load("checked", options);
    expect([model.backend, model.variant]).toEqual(["webgpu", "v2"]);
    expect(model.why.text).toContain(
      "; WebGPU f32 refused: error 1 above 0.001 (golden check); WebGPU v1 refused: error 1",
    );
    expect(await askWide(scene, model, 20, 2)).toEqual(right(20));
    const runs = scene.gpu.runs;
    const engine = await createEngine({ effects: scene.world.effects });
    const again = await scene.world.finish(engine.load("https://app.test/checked.json", options));
    expect([again.backend, again.variant, scene.gpu.runs]).toEqual(["webgpu", "v2", runs]);
  });

  test("is wasm's where the GPU computes all wrongly (golden next)", async () => {
    const scene = await stage(zeros, { variants: 3 });
    const model = await scene.load("checked");
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
    await expect(scene.load("checked", { backend: "webgpu" })).rejects.toMatchObject({ code: "wrong-result" });
  });

  test("is not used in place of one that the caller named (golden next)", async () => {
    const scene = await stage(only(0), { variants: 2 });
    const named = { backend: "webgpu", variant: "f32" } as const;
    await expect(scene.load("checked", named)).rejects.toMatchObject({ code: "wrong-result" });
  });

  test("takes over while requests run, where the first fails later (golden next)", async () => {
    const scene = await stage(honest, { variants: 2 });
    const model = await scene.load("checked");
    scene.gpu.lie = only(0);
    scene.gpu.lose();
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
    await scene.pass(10_000);
    expect([model.backend, model.variant]).toEqual(["webgpu", "v1"]);
  });

  test("answers the requests in flight, where the caller named the GPU and the first fails later (golden next flight)", async () => {
    const scene = await stage(honest, { variants: 3 });
    const model = await scene.load("checked", { backend: "webgpu" });
    scene.gpu.lie = onlyWhere((rows) => rows > 1, only(0));
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
    await scene.pass(10_000);
    expect([model.backend, model.variant]).toEqual(["webgpu", "v1"]);
    expect(model.why.text).toContain("; WebGPU f32 refused: error 1 above 0.001 in a batch of");
    scene.gpu.lie = onlyWhere((rows) => rows > 1, only(1));
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
    await scene.pass(10_000);
    expect(model.variant).toBe("v2");
  });
});

describe("a GPU that fails after it passed", () => {
  test("is found by a repeated check after an hour of use, once idle (golden repeat)", async () => {
    const scene = await stage(honest, { idleMs: 2 * REPEAT_MS });
    const model = await scene.load("checked");
    await askWide(scene, model, 1, 2);
    const runs = scene.gpu.runs;
    await scene.pass(REPEAT_MS - 60_000);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect(scene.gpu.runs - runs).toBe(1); // the request
    await scene.pass(60_000);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect(scene.gpu.runs - runs).toBe(3);
    await askWide(scene, model, 1, 2);
    await scene.pass(10 * IDLE_MS);
    expect([scene.gpu.runs - runs, model.backend]).toEqual([4, "webgpu"]);
    await scene.pass(REPEAT_MS);
    scene.gpu.lie = each((x) => (x < 0 ? 0 : x)); // right for the requests, wrong for the golden
    expect(await askWide(scene, model, 1, 2)).toEqual([2]);
    expect(model.backend).toBe("webgpu");
    await scene.pass(5_000);
    expect([model.backend, model.why.code]).toEqual(["wasm", "golden-failed"]);
  });

  test("answers nothing from the cached results of before (golden cache)", async () => {
    const scene = await stage(honest);
    const model = await scene.load("checked", { cache: true });
    scene.gpu.lie = each((x) => (x > 0 ? x + 1 : x));
    const ask = async (): Promise<unknown> => (await askWide(scene, model, 1, 2))[0];
    expect([await ask(), await ask()]).toEqual([3, 3]); // believed, and cached
    scene.gpu.lose();
    await scene.world.finish(endOf(scene.run(model, 9)));
    await scene.pass(5_000);
    expect([model.backend, await ask()]).toEqual(["wasm", 2]);
    scene.gpu.lie = honest;
    await scene.pass(DAY_MS);
    const later = await scene.load("checked", { backend: "webgpu", cache: true });
    expect([later.backend, ...(await askWide(scene, later, 1, 2))]).toEqual(["webgpu", 2]);
  });
});
