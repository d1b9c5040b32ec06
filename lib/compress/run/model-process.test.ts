import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { writeModelFile } from "../onnx/model-file.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { ModelProcess } from "./model-process.ts";
import { openSession } from "./ort-session.ts";

const forked: ChildProcess[] = [];
vi.mock("node:child_process", async (original) => {
  const real = await original<typeof import("node:child_process")>();
  const fork = (...given: Parameters<typeof real.fork>): ChildProcess => {
    const child = real.fork(...given);
    forked.push(child);
    return child;
  };
  return { ...real, fork };
});

const N = 64;
const folder = mkdtempSync(join(tmpdir(), "selvedge-process-test-"));
const path = join(folder, "model.onnx");
const model = smallModel({
  opset: 17,
  inputs: { x: ["n", N] },
  outputs: ["y"],
  nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
  initializers: [floatTensor("w", [N, N], seededFloats(N * N, 1))],
});
beforeAll(async () => {
  await writeModelFile(path, model, { external: true });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

// A part of a larger buffer: the rest must not be sent.
const feed = { x: { dtype: "float32", dims: [2, N], data: seededFloats(8 * N, 2).subarray(N, 3 * N) } } as const;

test.each(["cpu", "wasm"] as const)(
  "a model with external data runs in a process of its own as in this one: %s",
  async (provider) => {
    const options = { executionProviders: [provider], logSeverityLevel: 4 } as const;
    const here = await openSession(model.write(), provider, { logSeverityLevel: 4 });
    const there = await ModelProcess.open(path, provider, options);
    try {
      const expected = await here.run(feed);
      expect(await there.run(feed)).toEqual(expected);
      expect(await there.run(feed, ["y"])).toEqual(expected);
      expect(there.inputMetadata.map((x) => x.name)).toEqual(["x"]);
      expect(there.busyMs).toBeGreaterThan(0);
      await expect(there.run({})).rejects.toThrow(/x/);
      expect(await there.run(feed)).toEqual(expected);
    } finally {
      await there.release();
      await here.release();
    }
  },
  60_000,
);

test.skipIf(process.platform !== "linux")(
  "WebAssembly holds external data once, not its file beside it (tool-data-twice)",
  { timeout: 60_000 },
  async () => {
    const [rows, tables] = [2 ** 15, 12];
    const names = Array.from({ length: tables }, (_, i) => `t${i}`);
    const large = smallModel({
      opset: 17,
      inputs: { x: [1] },
      outputs: ["y"],
      types: { x: TensorProto_DataType.INT64 },
      nodes: [
        ...names.map((name) => ({ opType: "Gather", input: [name, "x"], output: [`${name}/row`] })),
        { opType: "Sum", input: names.map((name) => `${name}/row`), output: ["y"] },
      ],
      initializers: names.map((name, i) => floatTensor(name, [rows, 128], seededFloats(rows * 128, i))),
    });
    mkdirSync(join(folder, "large"));
    await writeModelFile(join(folder, "large", "model.onnx"), large, { external: true });
    const peakOf = async (of: string): Promise<number> => {
      const opened = await ModelProcess.open(of, "wasm", { executionProviders: ["wasm"], logSeverityLevel: 4 });
      const status = readFileSync(`/proc/${String(forked.at(-1)?.pid)}/status`, "utf8");
      await opened.release();
      return 1024 * Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1]);
    };
    const before = await peakOf(path);
    const added = (await peakOf(join(folder, "large", "model.onnx"))) - before;
    expect(added / large.byteLength).toBeLessThan(1.6);
  },
);

test("external data is found by the graph's own name for it, whatever the model's path and the file's", async () => {
  const [linked, twice] = [join(folder, "linked"), join(folder, "twice")];
  symlinkSync(folder, linked);
  mkdirSync(join(twice, "parts"), { recursive: true });
  await writeModelFile(join(twice, "model.onnx"), model, { external: true });
  const [data = ""] = readdirSync(twice).filter((x) => x.endsWith(".data"));
  renameSync(join(twice, data), join(twice, "parts", "real"));
  symlinkSync(join("parts", "real"), join(twice, data));
  for (const there of [linked, twice]) {
    const opened = await ModelProcess.open(join(there, "model.onnx"), "wasm", {
      executionProviders: ["wasm"],
      logSeverityLevel: 4,
    });
    try {
      expect(Object.keys(await opened.run(feed))).toEqual(["y"]);
    } finally {
      await opened.release();
    }
  }
}, 60_000);

test.each(["cpu", "wasm"] as const)(
  "Ctrl-C, which every process of a terminal gets, ends no run: %s",
  async (provider) => {
    const opened = await ModelProcess.open(path, provider, { executionProviders: [provider], logSeverityLevel: 4 });
    try {
      forked.at(-1)?.kill("SIGINT");
      expect(Object.keys(await opened.run(feed))).toEqual(["y"]);
    } finally {
      await opened.release();
    }
  },
  60_000,
);

test("a process that ends takes its calls with it, and says so", async () => {
  const opened = await ModelProcess.open(path, "cpu", { executionProviders: ["cpu"], logSeverityLevel: 4 });
  // Stopped, so that it does not answer before it is ended.
  forked.at(-1)?.kill("SIGSTOP");
  const call = opened.run(feed);
  await Promise.all([expect(call).rejects.toThrow("the process that ran the model ended (SIGKILL)"), opened.release()]);
  await expect(opened.run(feed)).rejects.toThrow(/ended|closed/i);
});

test("a file that does not load is refused with ONNX Runtime's reason", async () => {
  const options = { executionProviders: ["cpu"], logSeverityLevel: 4 };
  await expect(ModelProcess.open(join(folder, "none.onnx"), "cpu", options)).rejects.toThrow(/none\.onnx/);
});
