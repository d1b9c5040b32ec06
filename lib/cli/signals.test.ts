import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { twoLayers } from "../test-support/compress/fixtures.ts";

test.each([
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s exits with %i and leaves no temporary folder", { timeout: 60_000 }, async (signal, code) => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-signals-"));
  try {
    const [model, temporary, script] = ["model.onnx", "tmp", "run.mjs"].map((x) => join(folder, x)) as [
      string,
      string,
      string,
    ];
    mkdirSync(temporary);
    writeFileSync(model, twoLayers({ opset: 11, inputs: 64, units: 96, outputs: 32 }).write());
    const at = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const words = ["compress", model, "--out", join(folder, "out"), "--targets", "wasm"];
    const begun = `
      const { start } = await import(${at("./cli.ts")});
      const { temporaryFolder } = await import(${at("../compress/onnx/at-exit.ts")});
      process.argv.splice(2, Infinity, ...${JSON.stringify(words)});
      temporaryFolder("selvedge-left-");
      void start();
      process.kill(process.pid, "${signal}");`;
    writeFileSync(script, begun);
    const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
    const env = { ...process.env, TMPDIR: temporary };
    const child = spawn(process.execPath, ["--import", loader, script], { stdio: "ignore", env });
    expect(await once(child, "exit")).toEqual([code, null]);
    expect(readdirSync(temporary).filter((x) => x.startsWith("selvedge-"))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
