import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { deadlyTranspose, padded } from "../../test-support/compress/fixtures.ts";
import { runInChildProcess } from "./child-process.ts";
import { runAll } from "./session.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

test("a float16 Transpose of rows and batch before a MatMul runs: in a child process, for it may crash", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-session-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, deadlyTranspose().write());
    const code = `import { openModel } from "./lib/compress/run/session.ts";
      const model = await openModel(${JSON.stringify(path)}, "cpu");
      const { y } = await model.run({ x: { dtype: "float32", dims: [2, 16, 10], data: new Float32Array(320).fill(1) } });
      process.stdout.write(JSON.stringify(y.dims));`;
    const args = ["--import", "tsx", "--input-type=module", "--eval", code];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
    expect(JSON.parse(stdout)).toEqual([16, 2, 8]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a Pad before a MaxPool keeps its zeros, in bytes, in a file and in a child process", async () => {
  const x = { dtype: "float32" as const, dims: [1, 1, 4, 4], data: new Float32Array(16).fill(-1) };
  const bytes = padded("MaxPool").write();
  const folder = mkdtempSync(join(tmpdir(), "selvedge-session-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, bytes);
    for (const source of [bytes, path]) {
      const [outputs] = await runAll(source, [{ x }]);
      expect(outputs?.["y"]?.data).toEqual(Float32Array.of(0, 0, 0, -1));
      const { outputs: others } = await runInChildProcess(source, "cpu", {}, [{ x }]);
      expect(others[0]?.["y"]?.data).toEqual(Float32Array.of(0, 0, 0, -1));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
