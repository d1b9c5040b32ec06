import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { withPlace, writeAll } from "./durable.ts";
import { float16Bits } from "./float16.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import { floatTensor } from "./tensor-proto.ts";

/** The error of a real write to a full device. */
async function fullError(): Promise<unknown> {
  const file = await open("/dev/full", "w");
  try {
    return await writeAll(file, new Uint8Array(1)).catch((error: unknown) => error);
  } finally {
    await file.close();
  }
}

const message = async (path: string): Promise<string> =>
  String(withPlace(await fullError(), path, [{ length: 1_000 }, { length: 24 }]));

test("a full disk names the file, the bytes that it needs and those that were free", async () => {
  expect(await message("/nowhere/model.onnx")).toBe(
    "Error: the disk is full: /nowhere/model.onnx needs 1024 bytes; free some space, or choose another --out",
  );
  expect(await message(resolve("/", "x.onnx"))).toMatch(/needs 1024 bytes, and \d+ were free; free some/);
});

test("where a temporary folder is full, the message names TMPDIR", async () => {
  expect(await message(join(tmpdir(), "x.onnx"))).toContain(`set TMPDIR, now ${tmpdir()}, to a folder with room`);
});

// A file system of its own needs user namespaces, which many containers forbid; the tests above hold the message there.
const hasNamespaces = spawnSync("unshare", ["-rm", "true"]).status === 0;
if (hasNamespaces)
  test("a compression whose temporary folder is full stops with that", { timeout: 60_000 }, () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-full-"));
    const [model, small, script] = ["model.onnx", "small", "run.mjs"].map((x) => join(folder, x)) as [
      string,
      string,
      string,
    ];
    try {
      const weights = floatTensor("w", [1_000, 1_000], seededFloats(1e6));
      weights.rawData = new Uint8Array(Uint16Array.from(seededFloats(1e6), float16Bits).buffer);
      weights.dataType = TensorProto_DataType.FLOAT16;
      const types = { x: TensorProto_DataType.FLOAT16, y: TensorProto_DataType.FLOAT16 };
      const nodes = [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }];
      const inputs = { x: ["n", 1_000] };
      writeFileSync(
        model,
        smallModel({ opset: 17, inputs, outputs: ["y"], types, nodes, initializers: [weights] }).write(),
      );
      const at = JSON.stringify(new URL("../../cli/cli.ts", import.meta.url).href);
      const words = JSON.stringify(["compress", model, "--out", join(folder, "out"), "--targets", "wasm"]);
      writeFileSync(script, `const { main } = await import(${at}); process.exit(await main(${words}));`);
      mkdirSync(small);
      const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
      const run = `mount -t tmpfs -o size=1m none ${small} && TMPDIR=${small} exec ${process.execPath} --import ${loader} ${script}`;
      const begun = spawnSync("unshare", ["-rm", "sh", "-c", run], { encoding: "utf8" });
      expect(begun.stderr).toMatch(
        /the disk is full: .*\.data needs 4\d{6} bytes, and \d+ were free; set TMPDIR, now /,
      );
      expect(begun.status).toBe(1);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
