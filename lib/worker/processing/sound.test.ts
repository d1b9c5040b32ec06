import { expect, test } from "vitest";
import { ARRAY_TYPES } from "../../core/tensor.ts";
import { soundMask } from "./sound.ts";

test.each(["int64", "int32", "uint8", "bool", "float32"] as const)("a mask of %s is a 1 for each sample", (dtype) => {
  const { dims, data } = soundMask({ dtype }, 3);
  expect(dims).toEqual([1, 3]);
  expect(data).toBeInstanceOf(ARRAY_TYPES[dtype]);
  expect(Array.from(data as Int32Array, Number)).toEqual([1, 1, 1]);
});
