import { expect, test } from "vitest";
import { runAll } from "../../compress/run/session.ts";
import { padded } from "../../test-support/compress/fixtures.ts";
import { DISABLED, withoutWrongPasses } from "./wrong-passes.ts";

test("a Pad before a MaxPool keeps its zeros where all values are below 0", async () => {
  const file = padded("MaxPool").write();
  const session = withoutWrongPasses(file, {});
  expect(session).toEqual({ [DISABLED]: "Pad_Fusion" });
  const x = { dtype: "float32" as const, dims: [1, 1, 4, 4], data: new Float32Array(16).fill(-1) };
  const [outputs] = await runAll(file, [{ x }], { extra: session });
  expect(outputs?.["y"]?.data).toEqual(Float32Array.of(0, 0, 0, -1));
});

test("other passes that a session switches off stay off, and other models keep all passes", () => {
  expect(withoutWrongPasses(padded("MaxPool").write(), { [DISABLED]: "A" })).toEqual({ [DISABLED]: "A;Pad_Fusion" });
  const session = {};
  const off = { [DISABLED]: "Pad_Fusion" };
  expect(withoutWrongPasses(padded("MaxPool").write(), off)).toBe(off);
  expect(withoutWrongPasses(padded("AveragePool").write(), session)).toBe(session);
  expect(withoutWrongPasses(Uint8Array.of(1, 2, 3), session)).toBe(session);
});
