import { expect, test } from "vitest";
import { smallModel } from "./fixtures.ts";
import { makeGolden } from "./golden.ts";
import { writeSafetensors } from "./safetensors.ts";

function readHeader(bytes: Uint8Array): { header: unknown; data: Uint8Array } {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return { header, data: bytes.subarray(8 + length) };
}

test("tensors are written as safetensors lays them out, values on borders of 8 bytes", () => {
  const bytes = writeSafetensors({
    a: { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) },
    b: { dtype: "int64", dims: [1, 1], data: BigInt64Array.of(7n) },
  });
  const { header, data } = readHeader(bytes ?? new Uint8Array(8));
  expect(header).toEqual({
    a: { dtype: "F32", shape: [2], data_offsets: [0, 8] },
    b: { dtype: "I64", shape: [1, 1], data_offsets: [8, 16] },
  });
  expect(data.byteOffset % 8).toBe(0);
  expect(new Float32Array(data.slice(0, 8).buffer)).toEqual(Float32Array.of(1, 2));
  expect(writeSafetensors({ t: { dtype: "string", dims: [1], data: ["x"] } })).toBeNull();
});

test("a variant's golden answer is what it gives for the golden input", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [2] },
    outputs: ["y"],
    nodes: [{ opType: "Neg", input: ["x"], output: ["y"] }],
  });
  const golden = await makeGolden(model.write(), undefined, {
    x: { dtype: "float32", dims: [2], data: Float32Array.of(1, -2) },
  });
  const { header, data } = readHeader(golden?.outputs.bytes ?? new Uint8Array(8));
  expect(header).toEqual({ y: { dtype: "F32", shape: [2], data_offsets: [0, 8] } });
  expect(new Float32Array(data.slice().buffer)).toEqual(Float32Array.of(-1, 2));
});
