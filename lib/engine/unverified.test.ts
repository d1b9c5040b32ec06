// Variants without a known answer on a GPU: bare models, and bundles without a golden. They are compared with wasm where
// that can hold them; else they run only where the caller allows it.
import { describe, expect, test } from "vitest";
import { createEngine } from "../create-engine.ts";
import { SelvedgeError } from "../core/errors.ts";
import { askWide, each, honest, onlyWhere, right, stage, zeros } from "../test-support/simulate/golden-stage.ts";
import type { Lie, GoldenStage, StageOptions } from "../test-support/simulate/golden-stage.ts";
import type { Model } from "./model.ts";
import type { LoadOptions } from "./options.ts";

const PINNED = { backend: "webgpu" } as const;
const KINDS = ["checked.json", "bare.onnx"] as const;

const open = (lie: Lie, options: StageOptions = {}): Promise<GoldenStage> =>
  stage(lie, { isWithoutGolden: true, ...options });
const load = ({ world, engine }: GoldenStage, name: string, options: LoadOptions = {}): Promise<Model> =>
  world.finish(engine.load(`https://app.test/${name}`, options));
const outOfMemory = (): void => {
  throw new SelvedgeError("out-of-memory", "simulated");
};

describe.each(KINDS)("%s without a golden", (name) => {
  const LIES: readonly (readonly [string, Lie])[] = [
    ["everywhere", zeros],
    ["by 1 %", each((x) => x * 1.01)],
    ["for several rows", onlyWhere((rows) => rows > 1, zeros)],
  ];
  test.each(LIES)("gets right answers where the GPU is wrong %s (golden none)", async (_, lie) => {
    const scene = await open(lie);
    const model = await load(scene, name);
    for (const count of [1, 9]) expect(await askWide(scene, model, count, 2)).toEqual(right(count));
    const pinned = await load(scene, name, PINNED).catch((error: unknown) => error);
    if (!(pinned instanceof SelvedgeError))
      for (const end of await askWide(scene, pinned as Model, 9, 2))
        expect([...right(9), "wrong-result"]).toContain(end);
  });

  test("is run on wasm once, before the GPU loads it, for all pages (golden none)", async () => {
    const calls: string[] = [];
    const scene = await open(honest, { onWasm: (what) => calls.push(what) });
    const model = await load(scene, name, PINNED);
    expect([calls, scene.gpu.runs, model.why.text]).toEqual([["load", "run"], 1, "webgpu: pinned by the caller"]);
    const engine = await createEngine({ effects: scene.world.effects });
    await scene.world.finish(engine.load(`https://app.test/${name}`, PINNED));
    expect(calls).toHaveLength(2);
  });

  test("is refused where wasm can't hold it, unless the caller allows that (golden none)", async () => {
    const scene = await open(honest, { onWasm: outOfMemory });
    for (const options of [{}, PINNED])
      await expect(load(scene, name, options)).rejects.toMatchObject({ details: { reason: "unverified" } });
    const model = await load(scene, name, { ...PINNED, allowUnverified: true });
    expect(model.why.text).toMatch(/; unverified: wasm can't run it \(out-of-memory\)$/);
    expect(await askWide(scene, model, 12, 2)).toEqual(right(12));
  });

  test("is not tried on wasm where a page died of that (golden none)", async () => {
    const calls: string[] = [];
    const scene = await open(honest, { onWasm: (what) => calls.push(what) });
    const { identity, variant } = await load(scene, name, { ...PINNED, allowUnverified: true });
    const { memo, wallClock } = scene.world.effects;
    memo.set(`selvedge/trying/2/${identity}/${variant}/wasm`, JSON.stringify([["another page", wallClock()]]));
    memo.set("selvedge/golden/1", null);
    calls.length = 0;
    const engine = await createEngine({ effects: scene.world.effects });
    const again = (options: LoadOptions): Promise<Model> =>
      scene.world.finish(engine.load(`https://app.test/${name}`, options));
    await expect(again(PINNED)).rejects.toMatchObject({ details: { reason: "unverified" } });
    const model = await again({ ...PINNED, allowUnverified: true });
    expect(model.why.text).toMatch(/; unverified: wasm can't run it \(does-not-fit\)$/);
    expect(await askWide(scene, model, 2, 2)).toEqual(right(2));
    expect(calls).toEqual([]);
  });
});

test("a variant that wasm can't hold is not tried there: without a golden it is refused (golden unfit)", async () => {
  const calls: string[] = [];
  const changed = { memoryBytes: { wasm: 5e9, webgpu: 1e6 } };
  const scene = await open(honest, { changed, onWasm: (what) => calls.push(what) });
  for (const options of [{}, PINNED])
    await expect(load(scene, "checked.json", options)).rejects.toMatchObject({ details: { reason: "unverified" } });
  expect((await load(scene, "checked.json", { allowUnverified: true })).backend).toBe("webgpu");
  expect(calls).toEqual([]);
});

test("a golden vouches for its own shape where wasm can't hold the variant; others are unverified (golden unfit)", async () => {
  const calls: string[] = [];
  const changed = { memoryBytes: { wasm: 5e9, webgpu: 1e6 } };
  const scene = await stage(honest, { changed, onWasm: (what) => calls.push(what) });
  const model = await load(scene, "checked.json");
  expect(await askWide(scene, model, 1, 2)).toEqual([2]);
  expect(model.why.text).not.toContain("unverified");
  expect(await askWide(scene, model, 1, 7)).toEqual([2]);
  expect([model.why.text, calls]).toEqual([
    expect.stringMatching(/; unverified: a shape could not be compared with wasm$/),
    [],
  ]);
});

test("wasm loads a variant for a check as it would for requests: without prepacking where memory is short (golden session)", async () => {
  const sessions: unknown[] = [];
  const changed = { memoryBytes: { wasm: 2e9, webgpu: 1e6 } };
  const onWasm: StageOptions["onWasm"] = (what, session) => what === "load" && sessions.push(session);
  const scene = await open(honest, { changed, onWasm });
  await load(scene, "checked.json", PINNED);
  expect(sessions).toEqual([expect.objectContaining({ "session.disable_prepacking": "1" })]);
});
