import { describe, expect, test } from "vitest";
import { bundleIdentity } from "../lib/core/bundle.ts";
import { assignmentInNode } from "../lib/compress/check/assignment-node.ts";
import { packBundle } from "../lib/compress/bundle/pack.ts";
import { addMeasurements, readMeasurements } from "./measured.ts";
import { RECIPES } from "./recipes.ts";

type Recipe = (typeof RECIPES)[number];

/** Recipes that only the soak builds twice: they take the most time, and face and fashion-mlp have their forms. */
const ONCE: ReadonlySet<string> = new Set(process.env["SELVEDGE_SOAK"] === "1" ? [] : ["ocr-det", "ocr-rec"]);

/** One build of each recipe, for all tests that only read it. */
const builds = new Map<Recipe, Promise<Awaited<ReturnType<Recipe["build"]>>>>();
function buildOf(recipe: Recipe): Promise<Awaited<ReturnType<Recipe["build"]>>> {
  const build = builds.get(recipe) ?? Promise.resolve(recipe.build());
  builds.set(recipe, build);
  return build;
}

describe.each(RECIPES)("$name", (recipe) => {
  const build = () => buildOf(recipe);

  const isOnce = ONCE.has(recipe.name);
  test(`is built into a valid bundle${isOnce ? "" : ", the same each time"}`, async () => {
    // Brotli has tests of its own (pack.test.ts); it takes most of the time here.
    const fast = { compress: false };
    const first = await packBundle(await build(), fast);
    expect(first.bundle.model.name).toBe(recipe.name);
    if (isOnce) return;
    const second = await packBundle(await recipe.build(), fast);
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
  const recipe = RECIPES.find((x) => x.name === "ocr-rec");
  const input = recipe && (await buildOf(recipe));
  const lines = new TextDecoder().decode(input?.assets?.[0]?.bytes).split("\n");
  expect(lines.pop()).toBe("");
  expect(lines).toHaveLength(6_624);
  expect(lines.at(-1)).toBe(" ");
  expect(lines.filter((x) => [...x].length !== 1)).toEqual([]);
  expect(new Set(lines).size).toBe(lines.length);
});
