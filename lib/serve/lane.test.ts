// A lane's thread with a runtime of the test, which does what ONNX Runtime does only by accident: it ends the thread.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { padded, slowModel } from "../test-support/compress/fixtures.ts";
import { ServeLane } from "./lane.ts";

const RUNTIME = `
module.exports = {
  Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } },
  InferenceSession: {
    create: async () => ({
      run: async ({ x }) => {
        if (x.data[0] === 9) process.exit(3);
        // As a run of ONNX Runtime, it can't be interrupted: it goes on while this file is there.
        if (x.data[0] === 8) require("node:child_process").execSync("cd " + __dirname + "; touch began; while [ -e began ]; do sleep 0.05; done");
        return { y: x };
      },
    }),
  },
};
`;

test("a thread that ends rejects its runs and later ones, and reports that it ended once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-lane-"));
  try {
    writeFileSync(join(folder, "runtime.cjs"), RUNTIME);
    const ends: Error[] = [];
    const lane = new ServeLane("cpu-0", join(folder, "runtime.cjs"), 1, (error) => ends.push(error));
    await lane.load({ id: 0, path: "", extra: {} });
    const of = (value: number) => ({ x: { dtype: "float32", dims: [1], data: Float32Array.of(value) } }) as const;
    const part = new Float32Array(4).fill(7).subarray(1, 2);
    expect(await lane.run(0, { x: { dtype: "float32", dims: [1], data: part } })).toEqual({ y: of(7).x });
    // A part of a buffer is copied: the rest stays its owner's.
    expect(part.buffer.byteLength).toBe(16);
    const runs = await Promise.allSettled([lane.run(0, of(9)), lane.run(0, of(1))]);
    for (const run of [...runs, ...(await Promise.allSettled([lane.run(0, of(1))]))])
      expect(run).toMatchObject({ status: "rejected", reason: { code: "worker-crashed" } });
    expect(ends.map((x) => x.message)).toEqual(["The thread of lane cpu-0 ended: exit code 3."]);
    await lane.close();
    expect(ends).toHaveLength(1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a lane that is closed rejects what it has, and does not wait for its run", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-lane-"));
  try {
    writeFileSync(join(folder, "runtime.cjs"), RUNTIME);
    const lane = new ServeLane("cpu-0", join(folder, "runtime.cjs"), 1, () => undefined);
    await lane.load({ id: 0, path: "", extra: {} });
    const run = lane.run(0, { x: { dtype: "float32", dims: [1], data: Float32Array.of(8) } });
    const rejected = expect(run).rejects.toMatchObject({ code: "closed" });
    await expect.poll(() => existsSync(join(folder, "began"))).toBe(true);
    // Its run lasts until the folder is removed.
    await lane.close(100);
    await rejected;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a lane of ONNX Runtime that is closed in a run ends after it, and the process lives", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-lane-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, slowModel(60).write());
    const lane = new ServeLane("cpu-0", createRequire(import.meta.url).resolve("onnxruntime-node"), 1, () => undefined);
    await lane.load({ id: 0, path, extra: {} });
    const run = lane.run(0, { x: { dtype: "float32", dims: [400, 1], data: new Float32Array(400) } });
    const rejected = expect(run).rejects.toMatchObject({ code: "closed" });
    await sleep(50);
    await lane.close(60_000);
    await rejected;
    // Another one still computes.
    const other = new ServeLane(
      "cpu-1",
      createRequire(import.meta.url).resolve("onnxruntime-node"),
      1,
      () => undefined,
    );
    await other.load({ id: 0, path, extra: {} });
    const { h59 } = await other.run(0, { x: { dtype: "float32", dims: [1, 1], data: Float32Array.of(1) } });
    expect(h59?.dims).toEqual([1, 512]);
    await other.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a lane keeps the zeros of a Pad before a MaxPool", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-lane-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, padded("MaxPool").write());
    const lane = new ServeLane("cpu-0", createRequire(import.meta.url).resolve("onnxruntime-node"), 1, () => undefined);
    await lane.load({ id: 0, path, extra: {} });
    const x = { dtype: "float32" as const, dims: [1, 1, 4, 4], data: new Float32Array(16).fill(-1) };
    expect((await lane.run(0, { x }))["y"]?.data).toEqual(Float32Array.of(0, 0, 0, -1));
    await lane.close(60_000);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
