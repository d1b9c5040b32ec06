import { expect, test } from "vitest";
import type { PackInput } from "../lib/compress/bundle/pack.ts";
import { addMeasurements, modelHash } from "./measured.ts";

const input: PackInput = {
  model: { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [] },
  variants: ["a", "b"].map((id, i) => ({ id, needs: [], files: [{ path: "m", bytes: Uint8Array.of(i) }] })),
};
const score = { name: "exact-lines", value: 0.9, reference: { value: 0.9 }, n: 10 };

test("a measurement is valid only for the bytes that were measured", async () => {
  const sha256 = await modelHash(input.variants[0]!);
  const { input: measured, missing } = await addMeasurements(input, {
    "m/a": { sha256, score },
    "m/b": { sha256, score },
  });
  expect(measured.variants.map((x) => x.score)).toEqual([score, undefined]);
  expect(missing).toEqual(["m/b"]);
});
