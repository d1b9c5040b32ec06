// Tests the installed package: the packed tarball, in a fresh app outside this repository, built by Vite, previewed,
// and served by Vite's dev server; and the package imported in Node and compiled against. Needs dist/ (`npm run
// build`).
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { builtinModules, createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium, expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import ts from "typescript";
import { build, createServer, preview } from "vite";
import { REPORTS, reportOf } from "../../../lib/build/declarations.ts";
import { ERROR_CODES } from "../../../lib/core/errors.ts";
import { readEntries } from "../../../lib/build/entries.ts";
import { serveFolder } from "../../../lib/doctor/serve-folder.ts";
import { BROWSER_PATHS } from "../../support/browsers.ts";
import { doubleModel } from "../../support/double-model.ts";
import { pages, snippetGlobals, snippetsOf } from "../../support/snippets.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
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

/** Uses the toolchain's declarations: messages of ONNX are among them. */
const TOOLS = `import { compress, readModel } from "selvedge/compress";
import type { CompressReport, WeightFacts } from "selvedge/compress";

export const report: Promise<CompressReport> = compress("model.onnx", { out: "dist" });
export const opset: number = readModel(new Uint8Array()).opset;
export const facts = (x: WeightFacts): WeightFacts => x;
`;

/** The entries that are another one in another form; consumers.spec.ts compiles the others. */
const FORMS = `import { createEngine as createMin } from "selvedge/min";
import { createEngine as createWasm } from "selvedge/wasm";
import { createFakeEngine } from "selvedge/testing";
import { selvedge } from "selvedge/vite";
import type { Engine } from "selvedge";

export const engines = (): Promise<Engine>[] => [createMin(), createWasm()];
export const fake = (): Promise<Engine> => createFakeEngine({ models: {} });
export const plugin = selvedge({ precompress: ["br"] });
`;
/** The fake engine in CommonJS, as Jest loads it. */
const FAKE_CJS = `import testing = require("selvedge/testing");
import type { Engine } from "selvedge" with { "resolution-mode": "import" };
export const fake = (): Promise<Engine> => testing.createFakeEngine({ models: {} });
`;

/** Options of a new Vite app, plus the check of declarations that it leaves out. */
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

/** Options for the code of the documentation, which uses packages whose declarations are not ours to check. */
const SNIPPETS = {
  ...COMPILER,
  ...{ jsx: "react-jsx", types: ["node"], skipLibCheck: true, allowImportingTsExtensions: true },
};
/** Packages that the documentation's code imports beside selvedge. */
const BESIDE = ["vite", "@types/react", "@types/node", "onnxruntime-web", "@huggingface/transformers", "ai"];
const DECLARED = `declare module "svelte" {
  export function onMount(run: () => unknown): void;
}
`;

/** Writes each piece of TypeScript of the documentation as a file of its own; the one that others import by its name. */
function writeSnippets(app: string): void {
  const folder = join(app, "snippets");
  mkdirSync(folder);
  const files = pages()
    .flatMap(snippetsOf)
    .filter(({ language }) => ["ts", "tsx"].includes(language))
    .map(({ name, language, code }) => {
      const file = code.includes("export async function double(") ? "double.ts" : `${name}.${language}`;
      writeFileSync(join(folder, file), `${code}\nexport {};\n`);
      return file;
    });
  expect(files.length).toBeGreaterThan(20);
  expect(files).toContain("double.ts");
  writeFileSync(join(folder, "globals.ts"), snippetGlobals());
  writeFileSync(join(folder, "modules.d.ts"), DECLARED);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: SNIPPETS }));
  mkdirSync(join(app, "node_modules/@types"), { recursive: true });
  mkdirSync(join(app, "node_modules/@huggingface"), { recursive: true });
  for (const name of BESIDE) symlinkSync(join(ROOT, "node_modules", name), join(app, "node_modules", name));
}

function npmIn(folder: string, ...words: string[]): string {
  return execFileSync("npm", [...words, "--loglevel=error", "--no-audit", "--no-fund"], {
    cwd: folder,
    encoding: "utf8",
  });
}

/** Packs the package and installs it in a new folder beside no other code. */
function makeApp(): { app: string; packed: string[] } {
  const app = mkdtempSync(join(tmpdir(), "selvedge-app-"));
  const npm = (...words: string[]): string => npmIn(app, ...words);
  const pack = JSON.parse(npm("pack", ROOT, "--json", "--ignore-scripts")) as [
    { filename: string; files: { path: string }[] },
  ];
  writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  npm("install", `./${pack[0].filename}`, "--prefer-offline");
  writeFileSync(
    join(app, "tsconfig.json"),
    JSON.stringify({ compilerOptions: COMPILER, files: ["main.ts", "tools.ts", "forms.ts"] }),
  );
  const nodeNext = { ...COMPILER, module: "nodenext", moduleResolution: "nodenext" };
  writeFileSync(join(app, "tsconfig.cjs.json"), JSON.stringify({ compilerOptions: nodeNext, files: ["fake.cts"] }));
  symlinkSync(join(ROOT, "node_modules/react"), join(app, "node_modules/react"));
  writeFileSync(join(app, "index.html"), PAGE);
  writeFileSync(join(app, "main.ts"), MAIN);
  writeFileSync(join(app, "tools.ts"), TOOLS);
  writeFileSync(join(app, "forms.ts"), FORMS);
  writeFileSync(join(app, "fake.cts"), FAKE_CJS);
  mkdirSync(join(app, "public"));
  writeFileSync(join(app, "public/double.onnx"), doubleModel());
  return { app, packed: pack[0].files.map((file) => file.path) };
}

/** Opens the app and waits for its output. */
async function answerAt(page: Page, url: string | undefined): Promise<unknown> {
  if (url === undefined) throw new Error("the server has no address");
  await page.goto(url);
  await page.waitForFunction(() => document.title !== "app", null, { timeout: 60_000 });
  const title = await page.title();
  return title.startsWith("{") ? JSON.parse(title) : title;
}

/** Opens README's code; returns the answer that it writes to the console, and every error. */
async function loggedAt(page: Page, url: string | undefined): Promise<{ answer: unknown; wrong: string[] }> {
  // Kept by the page: Firefox hands typed arrays of console lines over empty.
  await page.addInitScript(() => {
    const { log } = console;
    console.log = (...words: unknown[]) => {
      if (words.length === 3) Object.assign(window, { logged: words });
      log(...words);
    };
  });
  const wrong: string[] = [];
  page.on("pageerror", ({ message }) => wrong.push(message));
  page.on("console", (line) => line.type() === "error" && wrong.push(line.text()));
  await page.goto(url ?? "");
  await page.waitForFunction(() => "logged" in window, null, { timeout: 60_000 });
  const answer = await page.evaluate(() => (Reflect.get(window, "logged") as unknown[])[0]);
  page.removeAllListeners();
  return { answer, wrong };
}

/** Returns a piece of README's code by its language and number. */
const codeOf = (language: string, at: number): string =>
  snippetsOf("README.md").filter((x) => x.language === language)[at]?.code ?? "";

const RIGHT = { answer: { kind: "text", text: "Read on your own device" }, wrong: [] };
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
    for (const path of [
      "dist/index.js",
      ...readEntries(ROOT).map(({ types }) => `dist/${types}.d.ts`),
      ...[
        "dist/selvedge.min.js",
        "dist/min.d.ts",
        "dist/testing.cjs",
        "dist/testing.d.cts",
        "dist/react.cjs",
        "dist/react.d.cts",
      ],
      ...readEntries(ROOT).map(({ code }) => `dist/${code}.js`),
      "dist/cli.js",
      "dist/brotli.wasm",
      "dist/bundle.schema.json",
      "docs/bundle.md",
      ...ERROR_CODES.map((code) => `docs/errors/${code}.md`),
      "docs/reference/selvedge.md",
      "llms.txt",
      "README.md",
      "LICENSE",
      "NOTICE",
    ])
      expect(packed).toContain(path);
    // Of the source only the command line's entry, which npm adds along with the folder's map.
    const source = packed.filter((path) => !/^(?:dist|docs)\//.test(path) && path.includes("/"));
    expect(source.filter((path) => !path.endsWith("README.md"))).toEqual(["lib/cli/bin.js"]);
  });

  test("carries workers that replace Blobs' streams, whose reads into buffers Chromium loses", () => {
    for (const name of ["jspi", "wasm"])
      expect(readFileSync(join(app, `node_modules/selvedge/dist/worker-${name}.js`), "utf8")).toMatch(
        /Blob\.prototype\.stream ?= ?/,
      );
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

  test("README's first code, typed into an empty Vite app, answers from the dev server and built", async ({ page }) => {
    const folder = mkdtempSync(join(app, "empty-"));
    writeFileSync(join(folder, "index.html"), `${PAGE}<link rel="icon" href="data:,">`);
    writeFileSync(join(folder, "main.ts"), codeOf("ts", 0));
    const [, ...line] = /^npx (selvedge init public .*)$/m.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
    execFileSync("npx", line[0]?.split(" ") ?? [], { cwd: folder });
    const options = { root: folder, configFile: false, logLevel: "error" } as const;
    const dev = await createServer({ ...options, server: { port: 0 } });
    try {
      await dev.listen();
      expect(await loggedAt(page, dev.resolvedUrls?.local[0])).toMatchObject(RIGHT);
    } finally {
      await dev.close();
    }
    await build(options);
    const built = await preview({ ...options, preview: { port: 0 } });
    try {
      expect(await loggedAt(page, built.resolvedUrls?.local[0])).toMatchObject(RIGHT);
    } finally {
      await built.close();
    }
  });

  test("README's lines for a page without a bundler, and its first code there, answer from a static server", async ({
    page,
  }) => {
    const folder = mkdtempSync(join(app, "plain-"));
    for (const name of ["node_modules", "package.json"]) symlinkSync(join(app, name), join(folder, name));
    const [, init = ""] = /^(npx selvedge init) public --model-only$/m.exec(codeOf("sh", 0)) ?? [];
    const copy = codeOf("sh", 2);
    expect(copy).toMatch(/^mkdir selvedge\ncp .*\n$/);
    for (const lines of [`${init} . --model-only`, copy]) execFileSync("sh", ["-ec", lines], { cwd: folder });
    const scripts = `${codeOf("html", 0)}<script type="module">\n${codeOf("ts", 0)}</script>`;
    const head = `<meta charset="utf-8"><title>app</title><link rel="icon" href="data:,">`;
    writeFileSync(join(folder, "index.html"), `<!doctype html>${head}${scripts}`);
    const server = await serveFolder(folder);
    try {
      expect(await loggedAt(page, server.url)).toMatchObject(RIGHT);
    } finally {
      await server.close();
    }
  });

  test("each of its entries is imported by Node without output", () => {
    const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { exports: object };
    const entries = Object.keys(exports).filter((x) => !x.endsWith(".json"));
    const code = `for (const entry of ${JSON.stringify(entries)})
      console.log(String(Object.keys(await import("selvedge" + entry.slice(1))).length > 0));`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", code], {
      cwd: app,
      encoding: "utf8",
    });
    expect({ stdout, stderr }).toEqual({ stdout: "true\n".repeat(entries.length), stderr: "" });
  });

  test("imports nothing that is not in it, but for Node's own modules, and React in its hooks", () => {
    const dist = join(app, "node_modules/selvedge/dist");
    const wrong = packed
      .filter((path) => /^dist\/(?!templates\/).*\.(js|d\.ts)$/.test(path))
      .flatMap((path) => {
        const file = join(dist, path.slice("dist/".length));
        return ts
          .preProcessFile(readFileSync(file, "utf8"), true, true)
          .importedFiles.map((x) => x.fileName)
          .filter((name) =>
            name.startsWith(".")
              ? ![name, name.replace(/\.[jt]s$/, ".d.ts")].some((x) => existsSync(resolve(file, "..", x)))
              : !builtinModules.includes(name.replace(/^node:/, "")) &&
                name !== "selvedge" &&
                !(name === "react" && /\breact\b/.test(path)),
          )
          .map((name) => `${path}: ${name}`);
      });
    expect(wrong).toEqual([]);
  });

  test("names the package that a command lacks, with the line that installs it", () => {
    const { stderr, status } = spawnSync("npx", ["selvedge", "check", "public/double.onnx"], {
      cwd: app,
      encoding: "utf8",
    });
    expect(stderr).toContain("npm install --save-dev --ignore-scripts onnxruntime-node@1.30.0");
    expect(status).toBe(1);
  });

  /** Puts packages of this repository into the app. */
  const link = (...names: string[]): void => {
    for (const name of names)
      if (!existsSync(join(app, "node_modules", name)))
        symlinkSync(join(ROOT, "node_modules", name), join(app, "node_modules", name));
  };

  test("checks a model in a browser by its command", () => {
    link("onnxruntime-node", "onnxruntime-common", "playwright-core");
    const words = ["selvedge", "check", "public/double.onnx", "--browser", "chromium", "--targets", "wasm"];
    const { stdout, stderr } = spawnSync("npx", words, { cwd: app, encoding: "utf8", timeout: 150_000 });
    expect(stdout, stderr).toMatch(/^wasm: passed/);
  });

  /** Compresses the model for wasm by the command, and expects a bundle that was checked. */
  const compresses = (out: string, options: readonly string[] = [], env: Record<string, string> = {}): void => {
    const words = ["compress", "public/double.onnx", "--out", out, "--targets", "wasm", "--forms", "f32", ...options];
    const { stdout, stderr, status } = spawnSync("npx", ["selvedge", ...words], {
      cwd: app,
      env: { ...process.env, ...env },
      encoding: "utf8",
      timeout: 150_000,
    });
    expect({ status, isLeft: /Not done|unchecked/.test(stdout) }, stdout + stderr).toEqual({
      status: 0,
      isLeft: false,
    });
    const text = readFileSync(join(app, out, "bundle/bundle.json"), "utf8");
    const { variants } = JSON.parse(text) as { variants: { unchecked?: string[] }[] };
    expect(variants.map((x) => x.unchecked?.includes("wasm") ?? false)).toEqual([false]);
  };

  test("compresses for wasm by its own WebAssembly, without onnxruntime-web (apps-3)", () => {
    link("onnxruntime-node", "onnxruntime-common");
    expect(existsSync(join(app, "node_modules/onnxruntime-web"))).toBe(false);
    compresses("small");
  });

  test("compresses by a check in a browser", () => {
    link("onnxruntime-node", "onnxruntime-common", "playwright-core");
    const path = existsSync(BROWSER_PATHS.chromium) ? BROWSER_PATHS.chromium : chromium.executablePath();
    const [wrapper, started] = [join(app, "chromium"), join(app, "started")];
    writeFileSync(wrapper, `#!/bin/sh\n: > "${started}"\nexec "${path}" "$@"\n`, { mode: 0o755 });
    compresses("checked", ["--browser", "chromium"], { SELVEDGE_CHROMIUM: wrapper });
    expect(existsSync(started)).toBe(true);
  });

  test("has the public API that is under review: npm run build -- --accept-api takes a new one", () => {
    for (const entry of readEntries(ROOT)) {
      const report = readFileSync(join(ROOT, REPORTS, reportOf(entry)), "utf8");
      expect(report).toBe(readFileSync(join(ROOT, "docs/api", reportOf(entry)), "utf8"));
      expect(report).not.toContain("(undocumented)");
    }
  });

  const compile = (project: string): string =>
    spawnSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", project], { cwd: app, encoding: "utf8" })
      .stdout;

  test("is compiled against, its declarations too", () => {
    expect(compile(".")).toBe("");
    expect(compile("tsconfig.cjs.json")).toBe("");
  });

  test("every piece of TypeScript in the documentation compiles", () => {
    writeSnippets(app);
    expect(compile("snippets")).toBe("");
  });
});
