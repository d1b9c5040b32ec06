// The entries that are the main one in another form: `selvedge/wasm`, whose build by Vite holds no WebGPU files, and the
// single file, by an import map and no build.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { build as esbuild } from "esbuild";
import { build, preview } from "vite";
import { readEntries } from "../../../lib/build/entries.ts";
import { serveFolder } from "../../../lib/doctor/serve-folder.ts";
import { doubleModel } from "../../support/double-model.ts";
import { freshApp } from "../../support/fresh-app.ts";
import type { FreshApp } from "../../support/fresh-app.ts";
import { ROOT } from "../../support/prepare.ts";

const mainOf = (entry: string): string => `import { createEngine, isSelvedgeError } from "${entry}";
const say = (error) => (isSelvedgeError(error) ? error.code + ": " : "") + error.message;
async function main() {
  const refused = await createEngine({ backends: ["webgpu", "wasm"] }).then(() => "", say);
  const engine = await createEngine();
  const pinned = await engine.load("./double.onnx", { backend: "webgpu" }).then(() => "", say);
  const model = await engine.load("./double.onnx", { backend: "wasm" });
  const { outputs, info } = await model.run({ x: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) } });
  document.title = JSON.stringify({ data: [...outputs.y.data], backend: info.backend, refused, pinned });
}
main().catch((error) => (document.title = JSON.stringify({ failed: say(error) })));
`;
const html = (head: string, main: string): string =>
  `<!doctype html><meta charset="utf-8"><title>app</title>${head}<script type="module" src="${main}"></script>`;
const mapTo = (file: string): string =>
  `<script type="importmap">{ "imports": { "selvedge": "./node_modules/selvedge/dist/${file}" } }</script>`;

interface Answer {
  readonly data: readonly number[];
  readonly backend: string;
  readonly refused: string;
  readonly pinned: string;
}

async function answerAt(page: Page, url: string): Promise<Answer> {
  await page.goto(url);
  await page.waitForFunction(() => document.title !== "app", null, { timeout: 60_000 });
  return JSON.parse(await page.title()) as Answer;
}

test.describe("entries", () => {
  test.describe.configure({ timeout: 180_000 });
  let app: FreshApp;

  test.beforeAll(() => {
    app = freshApp({
      files: {
        "index.html": html("", "/wasm.js"),
        "one.html": html(mapTo("selvedge.min.js"), "./main.js"),
        "many.html": html(mapTo("index.js"), "./main.js"),
        "wasm.js": mainOf("selvedge/wasm"),
        "main.js": mainOf("selvedge"),
        "double.onnx": doubleModel(),
        "public/double.onnx": doubleModel(),
      },
    });
  });
  test.afterAll(() => {
    app.remove();
  });

  test("selvedge/wasm runs, and a build of it holds no file of the other build", async ({ page }) => {
    await build({ root: app.folder, configFile: false, logLevel: "error" });
    const names = readdirSync(join(app.folder, "dist/assets"));
    expect(names.filter((name) => name.includes("jspi"))).toEqual([]);
    expect(names.filter((name) => /^(worker|ort)-wasm.*\.(js|wasm)$/.test(name))).toHaveLength(3);
    const server = await preview({ root: app.folder, configFile: false, preview: { port: 0 } });
    try {
      const answer = await answerAt(page, server.resolvedUrls?.local[0] ?? "");
      expect(answer).toMatchObject({ data: [2, 4, 6], backend: "wasm" });
      expect(answer.refused).toMatch(/^backends: "selvedge\/wasm" has no "webgpu"; import "selvedge"/);
      expect(answer.pinned).toMatch(/^no-backend: backend: "selvedge\/wasm" has no "webgpu"/);
    } finally {
      await server.close();
    }
  });

  test("an import of nothing adds no byte to an app, and one function adds little", async () => {
    const sizeOf = async (contents: string): Promise<number> => {
      const options = { bundle: true, minify: true, format: "esm", write: false, logLevel: "error" } as const;
      const stdin = { contents, resolveDir: app.folder };
      const { outputFiles } = await esbuild({ stdin, external: ["react"], ...options });
      return outputFiles[0]?.contents.byteLength ?? -1;
    };
    for (const name of ["min", ...readEntries(ROOT).flatMap((x) => (x.isNode ? [] : [x.name]))])
      expect(await sizeOf(`import "selvedge${name && `/${name}`}";`), name).toBe(0);
    expect(await sizeOf(`import { isSelvedgeError } from "selvedge"; export { isSelvedgeError };`)).toBeLessThan(250);
  });

  test("one file serves an import map, with two scripts instead of dozens", async ({ page }) => {
    const { url, close } = await serveFolder(app.folder);
    const scripts: string[] = [];
    page.on("request", (request) => {
      if (request.resourceType() === "script" && !/worker-/.test(request.url())) scripts.push(request.url());
    });
    try {
      const answer = await answerAt(page, `${url}one.html`);
      expect(answer).toMatchObject({ data: [2, 4, 6], backend: "wasm" });
      expect(scripts.map((x) => x.slice(x.lastIndexOf("/") + 1)).sort()).toEqual(["main.js", "selvedge.min.js"]);
      scripts.length = 0;
      await answerAt(page, `${url}many.html`);
      expect(scripts.length).toBeGreaterThan(30);
      console.log(`import map: 2 scripts by the single file, ${scripts.length} by index.js`);
    } finally {
      await close();
    }
  });
});
