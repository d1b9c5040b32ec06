// Comparison of a loaded model with its golden, as `model.check` returns it.
import { expect, test } from "vitest";
import { each, floats, honest, stage, zeros } from "../test-support/simulate/golden-stage.ts";
import type { GoldenStage, StageOptions } from "../test-support/simulate/golden-stage.ts";
import type { LoadOptions } from "./options.ts";

const PINNED = { backend: "webgpu" } as const;

async function check(
  scene: GoldenStage,
  options: LoadOptions = {},
): ReturnType<Awaited<ReturnType<GoldenStage["load"]>>["check"]> {
  const model = await scene.load("checked", options);
  return scene.world.finish(model.check());
}

test("a model that answers the golden rightly passes, with the error of each output (model check)", async () => {
  const scene = await stage(each((x) => x * (1 + 2e-4)));
  const found = await check(scene, PINNED);
  expect(found).toMatchObject({ backend: "webgpu", variant: "f32", verdict: "passed", why: null });
  expect(found.outputs).toEqual([
    { name: "y", error: expect.closeTo(2e-4, 5) as number, tolerance: 1e-3, fault: null },
  ]);
  expect(await check(scene, { backend: "wasm" })).toMatchObject({ backend: "wasm", outputs: [{ error: 0 }] });
});

test("a model that has begun to answer wrongly fails, with the error and its bound (model check)", async () => {
  const scene = await stage(honest);
  const model = await scene.load("checked", PINNED);
  scene.gpu.lie = each((x) => x * 1.07);
  const found = await scene.world.finish(model.check());
  expect(found).toMatchObject({ verdict: "failed", why: "error 0.07 above 0.001" });
  expect(found.outputs[0]?.error).toBeCloseTo(0.07);
  scene.gpu.lie = each(() => NaN);
  expect(await scene.world.finish(model.check())).toMatchObject({ verdict: "failed", outputs: [{ error: null }] });
});

test("the worst of a golden's runs counts, and a step of a state follows the one before (model check)", async () => {
  const second = [{ x: floats(1, 1) }, { y: floats(3, -0.5), next: floats(3, -0.5) }] as const;
  const options: StageOptions = { hasState: true, next: [second] };
  expect((await check(await stage(honest, options), PINNED)).verdict).toBe("passed");
  const scene = await stage(honest, options);
  const model = await scene.load("checked", PINNED);
  for (const first of [4, 3]) {
    scene.gpu.lie = (outputs, variant) =>
      outputs["y"]?.data[0] === first ? { ...outputs, ...zeros(outputs, variant) } : outputs;
    const found = await scene.world.finish(model.check());
    expect(found.outputs.map(({ name, fault }) => [name, fault])).toEqual([
      ["y", "error 1 above 0.001"],
      ["next", null],
    ]);
  }
});

test("a bundle without a golden is unchecked, as is one whose golden can't be fetched (model check)", async () => {
  expect(await check(await stage(honest, { isWithoutGolden: true }))).toMatchObject({
    ...{ verdict: "unchecked", why: "it has no golden", outputs: [] },
  });
  expect(await check(await stage(honest, { hasGolden: false }))).toMatchObject({
    ...{ verdict: "unchecked", why: "the golden files could not be fetched" },
  });
});

test("an unloaded model is not checked (model check)", async () => {
  const scene = await stage(honest);
  const model = await scene.load("checked");
  model.unload();
  await expect(model.check()).rejects.toMatchObject({ code: "closed" });
});
