// Frozen bundles, written once and never changed: of schema 1 by release 0.1.0, of schema 2, and of a newer release
// (fields, needs, a session entry, a chunk encoding and a step that this release does not know). Published bundles must
// stay readable, and newer ones must be left alone.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundleIdentity, canonicalJson } from "../core/bundle.ts";
import type { BundleJson } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { parseBundle } from "../core/bundle-schema.ts";
import { readBundle, readBundleFile, readVariantModel } from "../compress/bundle/read-bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { criteriaFor } from "../test-support/cache-fixtures.ts";
import { identityOf } from "./manifest.ts";
import { MemoryStore } from "./stores/memory.ts";
import { plan } from "./plan.ts";
import { ModelStore } from "./model-store.ts";

const FOLDER = join(import.meta.dirname, "frozen");
const jsonOf = (name: string): BundleJson =>
  JSON.parse(readFileSync(join(FOLDER, name, "bundle.json"), "utf8")) as BundleJson;
const planOf = (json: BundleJson) =>
  plan({ bundle: parseBundle(json), identity: "", data: null, seen: null, refused: null }, criteriaFor());

test.each([
  ["schema-1", "6667419d7409261342414c894fcd5a3d0ffbaccb652cbc18ec6ae99fb843b21f"],
  ["schema-2", "5dd58f51db0b1932165580a2d6e23a28b815fa8ddeec7bffac4e33bb6452eece"],
  ["newer", "d5a5f6c192d6050d3a009bb366dafc1bb416f445a7f6fcdad9da6bfe40f85dd5"],
  ["newer-step", "9278ef113f3351793d5fad2c8acb9d4668196834c72d1e7712e8b146b0535de4"],
])("%s keeps its identity, in a store as well, with all that this release does not know", async (name, identity) => {
  const json = jsonOf(name);
  expect(await bundleIdentity(json)).toBe(identity);
  const store = new MemoryStore();
  const modelStore = new ModelStore(store, () => 1);
  await modelStore.remember(json, {
    url: "https://app.test/m/bundle.json",
    identity,
    validator: null,
    signature: null,
  });
  expect(await modelStore.bundle(identity)).toEqual(parseBundle(json));
  const stored = JSON.parse(
    new TextDecoder().decode((await store.read(`bundle-${identity}`)) ?? undefined),
  ) as BundleJson;
  expect(canonicalJson(stored)).toBe(canonicalJson(json));
  expect(await identityOf(stored)).toBe(identity);
});

test("schema 1 and schema 2 hold the same model, labels and postprocessing", async () => {
  const [first, second] = [await readBundle(join(FOLDER, "schema-1")), await readBundle(join(FOLDER, "schema-2"))];
  expect([first.bundle.format, second.bundle.format]).toEqual([1, 2]);
  const models = [await readVariantModel(first.folder, "f32"), await readVariantModel(second.folder, "f32")];
  expect(models[0]).toEqual(models[1]);
  for (const { bundle, folder } of [first, second]) {
    const [labels] = bundle.assets ?? [];
    const text = labels && new TextDecoder().decode(await readBundleFile({ folder, bundle }, labels));
    expect(text?.split("\n").slice(0, 2)).toEqual(["class 0", "class 1"]);
    expect(bundle.model.outputs[0]?.decode).toEqual({ op: "labels", asset: "labels.txt", top: 3, logits: true });
    expect(bundle.model.exampleDims).toEqual({ batch: 1 });
    expect(bundle.variants[0]?.score).toMatchObject({ name: "top1", value: 0.9, reference: { value: 0.91 }, n: 1_000 });
  }
  const { golden } = second.bundle.variants[0] ?? {};
  expect(golden && (await readBundleFile(second, golden.outputs)).length).toBeGreaterThan(64);
  expect(bundleJson(second.bundle)).toEqual(second.json);
});

test("of a newer bundle the variant that this release knows is taken, with the fields that it knows", () => {
  const json = jsonOf("newer");
  expect(parseBundle(json).variants.map((x) => x.needs)).toEqual([
    ["npu-int4"],
    ["encoding:zstd"],
    ["session:session.later_switch"],
    [],
  ]);
  expect(planOf(json).candidates.map((x) => x.variant.id)).toEqual(["f32"]);
});

test("a model with an element type that this release does not know can't run here, and the error names it", () => {
  const json = jsonOf("schema-2") as unknown as { model: { inputs: object[] } };
  const inputs = json.model.inputs.map((x) => ({ ...x, dtype: "bfloat16" }));
  const newer = { ...json, model: { ...json.model, inputs } } as unknown as BundleJson;
  expect(() => planOf(newer)).toThrow(/the element type "bfloat16" of "\w+"/);
});

test("a model with a step that this release does not know can't run here, and the error names the step", () => {
  let error: unknown;
  try {
    planOf(jsonOf("newer-step"));
  } catch (caught) {
    error = caught;
  }
  if (!isSelvedgeError(error)) throw new Error("nothing was refused");
  expect(error.code).toBe("no-backend");
  expect(error.details).toMatchObject({ step: "boxes", at: "y" });
  expect(error.message).toMatch(/"boxes".*A newer release/);
});
