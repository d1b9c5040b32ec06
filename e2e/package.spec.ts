// What a user installs is what was tested: the packed tarball, in a fresh app outside this repository, built by Vite,
// previewed, and served by Vite's dev server; and the package imported in Node and compiled against.
// Needs dist/ (`npm run build`).
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { build, createServer, preview } from "vite";
import { ModelProtoSchema, TensorProto_DataType } from "../lib/compress/onnx.gen.js";

const ROOT = resolve(import.meta.dirname, "..");
const require = createRequire(import.meta.url);

const PAGE = `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="/main.ts"></script>`;

const MAIN = `import { createEngine, isSelvedgeError } from "selvedge";
import type { SelvedgeError } from "selvedge";

async function main(): Promise<void> {
  const engine = await createEngine({ backends: ["wasm"] });
  const model = await engine.load("/double.onnx");
  const { outputs, info } = await model.run({
    x: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) },
  });
  const { dims, data } = outputs["y"]!;
  await engine.close();
  document.title = JSON.stringify({ dims, data: [...data].map(Number), backend: info.backend });
}

main().catch((error: unknown) => {
  const failure: SelvedgeError | null = isSelvedgeError(error) ? error : null;
  document.title = \`failed: \${failure?.code} \${error}\`;
});
`;

/** What a new Vite app has, and the check of declarations that it leaves out. */
const COMPILER = {
  target: "es2022",
  module: "esnext",
  moduleResolution: "bundler",
  lib: ["es2022", "dom", "dom.iterable"],
  types: [],
  strict: true,
  noEmit: true,
  skipLibCheck: false,
};

/** Makes the model y = x + x, batch of any size, three columns. */
function doubleModel(): Uint8Array {
  const port = (name: string) => ({
    name,
    type: {
      value: {
        case: "tensorType" as const,
        value: {
          elemType: TensorProto_DataType.FLOAT,
          shape: {
            dim: [
              { value: { case: "dimParam" as const, value: "batch" } },
              { value: { case: "dimValue" as const, value: 3n } },
            ],
          },
        },
      },
    },
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "double",
      node: [{ opType: "Add", input: ["x", "x"], output: ["y"] }],
      input: [port("x")],
      output: [port("y")],
    },
  });
  return toBinary(ModelProtoSchema, model);
}

/** Takes the code that the README shows a newcomer. */
function readmeCode(): string {
  const [, section = ""] = readFileSync(join(ROOT, "README.md"), "utf8").split(/^## Five minutes$/m);
  const blocks = [
    ...section
      .split(/^## /m, 1)
      .join()
      .matchAll(/^```ts\n(.*?)^```/gms),
  ].map((match) => match[1]);
  if (blocks.length !== 2) throw new Error(`README.md shows ${blocks.length} pieces of code, not 2`);
  return `declare const file: File;\n${blocks.join("\n")}`;
}

/** Packs the package and installs it in a new folder beside no other code. */
function makeApp(): { app: string; packed: string[] } {
  const app = mkdtempSync(join(tmpdir(), "selvedge-app-"));
  const npm = (...words: string[]): string =>
    execFileSync("npm", [...words, "--loglevel=error"], { cwd: app, encoding: "utf8" });
  const pack = JSON.parse(npm("pack", ROOT, "--json", "--ignore-scripts")) as [
    { filename: string; files: { path: string }[] },
  ];
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  npm("install", `./${pack[0].filename}`, "--prefer-offline", "--no-audit", "--no-fund");
  writeFileSync(
    join(app, "tsconfig.json"),
    JSON.stringify({ compilerOptions: COMPILER, files: ["main.ts", "readme.ts"] }),
  );
  writeFileSync(join(app, "index.html"), PAGE);
  writeFileSync(join(app, "main.ts"), MAIN);
  writeFileSync(join(app, "readme.ts"), readmeCode());
  mkdirSync(join(app, "public"));
  writeFileSync(join(app, "public/double.onnx"), doubleModel());
  return { app, packed: pack[0].files.map((file) => file.path) };
}

/** Opens the app and waits for what it says. */
async function answerAt(page: Page, url: string | undefined): Promise<unknown> {
  if (url === undefined) throw new Error("the server has no address");
  await page.goto(url);
  await page.waitForFunction(() => document.title !== "app", null, { timeout: 60_000 });
  const title = await page.title();
  return title.startsWith("{") ? JSON.parse(title) : title;
}

const ANSWER = { dims: [1, 3], data: [2, 4, 6], backend: "wasm" };

test.describe("the packed package, installed in a fresh app", () => {
  test.describe.configure({ timeout: 180_000 });
  let app: string;
  let packed: string[];

  test.beforeAll(() => {
    ({ app, packed } = makeApp());
  });
  test.afterAll(() => {
    rmSync(app, { recursive: true, force: true });
  });

  test("carries what it needs and no more", () => {
    for (const name of ["jspi", "wasm"]) {
      expect(packed).toContain(`dist/worker-${name}.js`);
      expect(packed).toContain(`dist/ort-${name}.wasm`);
    }
    for (const path of ["dist/index.js", "dist/index.d.ts", "dist/cli.js", "README.md", "LICENSE", "NOTICE"])
      expect(packed).toContain(path);
    // Of the source only what starts the command line, which npm gives the folder's map along with.
    const source = packed.filter((path) => !path.startsWith("dist/") && path.includes("/"));
    expect(source.filter((path) => !path.endsWith("README.md"))).toEqual(["lib/compress/bin.js"]);
  });

  test("answers when built by Vite", async ({ page }) => {
    await build({ root: app, configFile: false, logLevel: "error" });
    const server = await preview({ root: app, configFile: false, preview: { port: 0 } });
    try {
      expect(await answerAt(page, server.resolvedUrls?.local[0])).toEqual(ANSWER);
    } finally {
      await server.close();
    }
  });

  test("answers from Vite's dev server", async ({ page }) => {
    const server = await createServer({ root: app, configFile: false, logLevel: "error", server: { port: 0 } });
    try {
      await server.listen();
      expect(await answerAt(page, server.resolvedUrls?.local[0])).toEqual(ANSWER);
    } finally {
      await server.close();
    }
  });

  test("is imported by Node without a word", () => {
    const code = 'console.log(typeof (await import("selvedge")).createEngine)';
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", code], {
      cwd: app,
      encoding: "utf8",
    });
    expect({ stdout, stderr }).toEqual({ stdout: "function\n", stderr: "" });
  });

  test("is compiled against, declarations and the code of the README too", () => {
    const { stdout } = spawnSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", "."], {
      cwd: app,
      encoding: "utf8",
    });
    expect(stdout).toBe("");
  });
});
