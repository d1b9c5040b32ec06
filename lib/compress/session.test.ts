import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { seededFloats, smallModel } from "./fixtures.ts";
import { floatTensor } from "./weights.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

test("a float16 Transpose of rows and batch before a MatMul runs: in a process of its own, which it would take down", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-session-"));
  try {
    const model = smallModel({
      opset: 17,
      inputs: { x: [2, 16, 10] },
      outputs: ["y"],
      nodes: [
        { opType: "Cast", input: ["x"], output: ["half"], attributes: { to: 10 } },
        { opType: "Relu", input: ["half"], output: ["rectified"] },
        { opType: "Transpose", input: ["rectified"], output: ["turned"], attributes: { perm: [1, 0, 2] } },
        { opType: "Cast", input: ["turned"], output: ["whole"], attributes: { to: 1 } },
        { opType: "MatMul", input: ["whole", "w"], output: ["y"] },
      ],
      initializers: [floatTensor("w", [10, 8], seededFloats(80))],
    });
    const path = join(folder, "model.onnx");
    writeFileSync(path, model.write());
    const code = `import { openModel } from "./lib/compress/session.ts";
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
