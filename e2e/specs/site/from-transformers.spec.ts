// The code before and after in docs/from-transformers-js.md: both run, on the same repositories, with equal answers.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { build } from "esbuild";
import { serveFaulty } from "../../support/faulty-server.ts";
import type { Reply } from "../../support/faulty-server.ts";
import { encoderRepository, textRepository } from "../../support/hub-models.ts";
import { ROOT } from "../../support/prepare.ts";
import { snippetsOf } from "../../support/snippets.ts";

/** transformers.js brings an ONNX Runtime of its own. */
const ORT = join(ROOT, "node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist");
const TEXTS = ["dog", "good film", "bad dog bad"];

/** Bundles a piece of code as a module for the page. */
async function bundled(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, loader: "ts", resolveDir: ROOT },
    ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022", logLevel: "error" },
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

/** The encoder's config.json names its external data, as transformers.js reads it. */
function encoder(): ReturnType<typeof encoderRepository> {
  const files = encoderRepository();
  const config = JSON.parse(String(files["config.json"])) as object;
  const named = { ...config, "transformers.js_config": { use_external_data_format: { "model.onnx": 2 } } };
  return { ...files, "config.json": JSON.stringify(named) };
}

function answer(type: string, body: Uint8Array | string): Reply {
  const headers = { "content-type": type, "content-length": String(Buffer.byteLength(body)), etag: '"1"' };
  return { status: 200, headers, body };
}

test("before and after give the same answers", async ({ page }) => {
  const code = snippetsOf("docs/from-transformers-js.md").map((x) => x.code);
  expect(code.map((x) => x.split("\n")[0])).toEqual(["// before", "// after"]);
  const modules = await Promise.all(code.map(bundled));
  const repositories = { "/models/owner/encoder/": encoder(), "/models/owner/text/": textRepository() };
  const server = await serveFaulty();
  server.use((path) => {
    for (const [base, files] of Object.entries(repositories)) {
      if (!path.startsWith(base)) continue;
      const file = files[path.slice(base.length)];
      return file === undefined ? undefined : answer("application/octet-stream", file);
    }
    if (path === "/0.js" || path === "/1.js") return answer("text/javascript", modules[Number(path[1])] ?? "");
    const file = /^\/ort\/(ort-wasm-simd-threaded[\w.]*\.(?:mjs|wasm))$/.exec(path)?.[1];
    if (file === undefined) return undefined;
    return answer(file.endsWith("wasm") ? "application/wasm" : "text/javascript", readFileSync(join(ORT, file)));
  });
  try {
    await page.goto(`${server.origin}/`);
    const [before, after] = await page.evaluate(async (texts) => {
      interface Code {
        embed(texts: readonly string[]): Promise<number[][]>;
        classify(text: string): Promise<string>;
      }
      const ask = async (path: string): Promise<{ vectors: number[][]; labels: string[] }> => {
        const { embed, classify } = (await import(path)) as Code;
        const labels: string[] = [];
        for (const text of texts) labels.push(await classify(text));
        return { vectors: await embed(texts), labels };
      };
      return [await ask("/0.js"), await ask("/1.js")] as const;
    }, TEXTS);
    expect(after.labels).toEqual(before.labels);
    expect(new Set(after.labels).size).toBeGreaterThan(1);
    expect(after.vectors).toHaveLength(TEXTS.length);
    for (const [i, vector] of after.vectors.entries())
      for (const [j, x] of vector.entries()) expect(x).toBeCloseTo(before.vectors[i]?.[j] ?? Number.NaN, 5);
  } finally {
    await server.close();
  }
});
