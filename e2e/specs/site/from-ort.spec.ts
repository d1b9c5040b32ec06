// The code before and after in docs/from-onnxruntime-web.md: both run, on one model, with equal outputs.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { build } from "esbuild";
import { doubleModel } from "../../support/double-model.ts";
import { serveFaulty } from "../../support/faulty-server.ts";
import type { Reply } from "../../support/faulty-server.ts";
import { ROOT } from "../../support/prepare.ts";
import { snippetsOf } from "../../support/snippets.ts";

/** Bundles a piece of code as a module for the page. */
async function bundled(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, loader: "ts", resolveDir: ROOT },
    bundle: true,
    write: false,
    format: "esm",
    alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
    plugins: [
      {
        name: "served",
        setup(own) {
          own.onResolve({ filter: /^selvedge$/ }, () => ({ path: "/dist/index.js", external: true }));
        },
      },
    ],
  });
  return outputFiles[0]?.text ?? "";
}

test("before and after give the same outputs", async ({ page }) => {
  const code = snippetsOf("docs/from-onnxruntime-web.md").map((x) => x.code);
  expect(code.map((x) => x.split("\n")[0])).toEqual(["// before", "// after"]);
  const modules = await Promise.all(code.map(bundled));
  const answer = (type: string, body: Uint8Array | string): Reply => ({
    status: 200,
    headers: { "content-type": type },
    body,
  });
  const server = await serveFaulty();
  server.use((path) => {
    if (path === "/models/double.onnx") return answer("application/octet-stream", doubleModel());
    if (path === "/0.js" || path === "/1.js") return answer("text/javascript", modules[Number(path[1])] ?? "");
    const file = /^\/ort\/(ort-wasm-simd-threaded\.(?:mjs|wasm))$/.exec(path)?.[1];
    if (file === undefined) return undefined;
    const bytes = readFileSync(join(ROOT, "node_modules/onnxruntime-web/dist", file));
    return answer(file.endsWith("wasm") ? "application/wasm" : "text/javascript", bytes);
  });
  try {
    await page.goto(`${server.origin}/`);
    const outputs = await page.evaluate(async () => {
      const all: number[][] = [];
      for (const path of ["/0.js", "/1.js"]) {
        const { run } = (await import(path)) as { run(numbers: Float32Array): Promise<Float32Array> };
        all.push([...(await run(new Float32Array([1, -2.5, 3e7])))]);
      }
      return all;
    });
    expect(outputs).toEqual([
      [2, -5, 6e7],
      [2, -5, 6e7],
    ]);
  } finally {
    await server.close();
  }
});
