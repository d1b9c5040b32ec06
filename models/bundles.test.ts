import { describe, expect, test } from "vitest";
import { bundleIdentity } from "../lib/core/bundle.ts";
import { assignmentInNode } from "../lib/compress/check/assignment-node.ts";
import { packBundle } from "../lib/compress/bundle/pack.ts";
import { addMeasurements, readMeasurements } from "./measured.ts";
import { RECIPES } from "./recipes.ts";

describe.each(RECIPES)("$name", (recipe) => {
  // One build for all tests that only read it.
  let built: Promise<Awaited<ReturnType<typeof recipe.build>>> | undefined;
  const build = () => (built ??= Promise.resolve(recipe.build()));

  test("is built into a valid bundle, the same each time", async () => {
    // Brotli's fastest: its best takes a minute for the largest bundle.
    const fast = { quality: 1 };
    const [first, second] = [await packBundle(await build(), fast), await packBundle(await recipe.build(), fast)];
    expect(first.bundle.model.name).toBe(recipe.name);
    expect(await bundleIdentity(first.json)).toBe(await bundleIdentity(second.json));
  });

  test("has current measurements, and loses no more than half a point", async () => {
    const { input, missing } = await addMeasurements(await build(), readMeasurements());
    expect(missing, "run: npx tsx models/measure.ts").toEqual([]);
    for (const { score } of input.variants)
      if (score !== undefined) {
        expect(score.value).toBeGreaterThanOrEqual(score.reference.value - 0.005);
        expect(score.n).toBeGreaterThanOrEqual(1_000);
      }
  });

  test("has nothing on the CPU and no copy in a run on WebGPU, where it may run there", async () => {
    for (const { files, session, needs } of (await build()).variants) {
      if (needs.includes("wasm")) continue;
      const assignment = await assignmentInNode(files[0]?.bytes ?? new Uint8Array(), "webgpu", session?.webgpu);
      expect(assignment).toMatchObject({ cpu: 0, shape: 0, copies: 0 });
      expect(assignment.device).toBeGreaterThan(0);
    }
  });
});

test("ocr-rec names each of its 6625 classes but the first, and the last is a space", async () => {
  const input = await RECIPES.find((x) => x.name === "ocr-rec")?.build();
  const lines = new TextDecoder().decode(input?.assets?.[0]?.bytes).split("\n");
  expect(lines.pop()).toBe("");
  expect(lines).toHaveLength(6_624);
  expect(lines.at(-1)).toBe(" ");
  expect(lines.filter((x) => [...x].length !== 1)).toEqual([]);
  expect(new Set(lines).size).toBe(lines.length);
});
