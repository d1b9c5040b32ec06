import { describe, expect, test } from "vitest";
import { CONFORMANCE } from "./backend-conformance.ts";
import { endlessModel } from "./backend-models.ts";
import { createReferenceBackend } from "./reference-backend.ts";

describe("the reference backend", () => {
  test.each(CONFORMANCE)("$name", async ({ run }) => {
    await run(createReferenceBackend());
  });

  test("fails a call that the test tells it to fail", async () => {
    const backend = createReferenceBackend({
      beforeCall: (call) => (call === "load" ? Promise.reject(new Error("told to")) : undefined),
    });
    await expect(backend.load(1, { files: [], session: {} })).rejects.toThrow("told to");
  });

  test("never ends an endless loop", async () => {
    const backend = createReferenceBackend();
    await backend.load(1, { files: [{ path: "m", data: new Blob([endlessModel()]) }], session: {} });
    const x = { dtype: "float32", dims: [1], data: new Float32Array(1) } as const;
    const run = backend.run(1, { x }).then(() => "ended");
    expect(await Promise.race([run, new Promise((resolve) => setImmediate(resolve, "pending"))])).toBe("pending");
  });
});
