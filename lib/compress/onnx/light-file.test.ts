import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readLight } from "./light-file.ts";
import type { LightFile } from "./light-file.ts";
import { decodeModel } from "./model.ts";
import type { OnnxModel } from "./model.ts";
import { StringStringEntryProtoSchema } from "./onnx.gen.js";
import { setRaw } from "./stored-bytes.ts";
import { floatTensor, int64Tensor } from "./tensor-proto.ts";

const folder = mkdtempSync(join(tmpdir(), "selvedge-light-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const path = join(folder, "model.onnx");

function light(bytes: Uint8Array): LightFile | null {
  writeFileSync(path, bytes);
  const file = openSync(path, "r");
  try {
    return readLight(path, file, bytes.length);
  } finally {
    closeSync(file);
  }
}

/** A model with tensors of these numbers of floats, and texts between them. */
function modelWith(sizes: readonly number[], text: string): OnnxModel {
  const model = smallModel({
    opset: 17,
    inputs: { x: [1] },
    outputs: ["y"],
    nodes: [{ opType: "Identity", input: ["x"], output: ["y"] }],
    initializers: sizes.flatMap((n, i) => [
      floatTensor(`t${i}`, [n], seededFloats(n, i + 1)),
      int64Tensor(`i${i}`, [1], [i]),
    ]),
  });
  model.proto.docString = text;
  model.proto.metadataProps = [create(StringStringEntryProtoSchema, { key: "k", value: text })];
  for (const tensor of model.graph.proto.initializer) tensor.docString = text;
  return model;
}

test("a file that is read without its large weights is the same model once they are put back", () => {
  const sizes = fc.array(fc.constantFrom(1, 1_000, 16_380, 16_384, 16_385, 40_000), { maxLength: 5 });
  fc.assert(
    fc.property(sizes, fc.string({ maxLength: 40 }), (counts, text) => {
      const bytes = modelWith(counts, text).write();
      const read = light(bytes);
      expect([...(read?.stored.keys() ?? [])]).toEqual(counts.flatMap((n, i) => (n >= 16_384 ? [2 * i] : [])));
      const model = decodeModel(read?.bytes ?? new Uint8Array());
      for (const [i, tensor] of model.graph.proto.initializer.entries()) {
        const stored = read?.stored.get(i);
        if (stored !== undefined) setRaw(tensor, stored);
      }
      expect(Buffer.compare(model.write(), bytes)).toBe(0);
      expect(Buffer.compare(model.copy().write(), bytes)).toBe(0);
    }),
    { numRuns: 30 },
  );
});

test("a file that is no message, or is cut, is left to the decoder, which says what it is", () => {
  const bytes = modelWith([20_000, 20_000], "text").write();
  expect(light(new TextEncoder().encode("<!doctype html><p>not found</p>"))).toBeNull();
  for (const length of [bytes.length - 1, bytes.length - 50_000, 100]) expect(light(bytes.slice(0, length))).toBeNull();
});
