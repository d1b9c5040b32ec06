// `selvedge/testing` in an app's own tests, with the package replaced by the fake: Vitest, and Jest in its default
// CommonJS.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { freshApp } from "../../support/fresh-app.ts";
import { snippetsOf } from "../../support/snippets.ts";

const TEST = `const { createEngine, isSelvedgeError } = require("selvedge");
jest.mock("selvedge", () => {
  const x = { name: "x", dtype: "float32", dims: [1, 3] };
  const run = ({ x }) => ({ y: { ...x, data: x.data.map((v) => 2 * v) } });
  const models = { "/double.onnx": { inputs: [x], outputs: [{ ...x, name: "y" }], run } };
  return require("selvedge/testing").mock({ models });
});
test("runs", async () => {
  const engine = await createEngine();
  const model = await engine.load("/double.onnx");
  const { outputs } = await model.run({ x: { dtype: "float32", dims: [1, 3], data: new Float32Array([1, 2, 3]) } });
  expect([...outputs.y.data]).toEqual([2, 4, 6]);
  expect(await engine.load("/gone.onnx").catch(isSelvedgeError)).toBe(true);
  await engine.close();
});
`;

const REACT_TEST = `const { createElement } = require("react");
const { renderToString } = require("react-dom/server");
const { EngineProvider, useModel } = require("selvedge/react");
jest.mock("selvedge", () => require("selvedge/testing").mock({ models: {} }));
const Status = () => useModel("/double.onnx").status;
test("renders", () => {
  expect(renderToString(createElement(EngineProvider, null, createElement(Status)))).toBe("loading");
});
`;

/** The code of docs/testing.md that mocks the package for a runner, and a test that uses the mock. */
const documented = (mocks: string, imports: string): string => `${imports}
${snippetsOf("docs/testing.md").find(({ code }) => code.startsWith(mocks))?.code ?? ""}
test("the documented mock answers", async () => {
  const engine = await createEngine();
  const model = await engine.load("/models/x.onnx");
  const { outputs } = await model.run({ x: new Float32Array([1, 2, 3]) });
  expect([...outputs.y.data]).toEqual([0, 0, 0]);
  await engine.close();
});
`;

test("Vitest 4 mocks the package by the code of docs/testing.md", { tag: "@chromium" }, () => {
  const imports = `import { expect, test, vi } from "vitest";\nimport { createEngine } from "selvedge";`;
  const app = freshApp({
    files: { "app.test.js": documented('vi.mock("selvedge"', imports) },
    links: { vitest: "node_modules/vitest" },
  });
  try {
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [join(app.folder, "node_modules/vitest/vitest.mjs"), "run", "--root", app.folder],
      { cwd: app.folder, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
    );
    expect(stdout + stderr).toMatch(/Tests +1 passed/);
    expect(status).toBe(0);
  } finally {
    app.remove();
  }
});

test(
  "Jest 30 mocks the package with a fake engine, under React's hooks too, and by the code of docs/testing.md",
  { tag: "@chromium" },
  () => {
    test.setTimeout(240_000);
    const app = freshApp({
      files: {
        ...{ "app.test.js": TEST, "react.test.js": REACT_TEST },
        "documented.test.js": documented('jest.mock("selvedge"', `const { createEngine } = require("selvedge");`),
      },
      links: { react: "node_modules/react", "react-dom": "node_modules/react-dom" },
    });
    try {
      writeFileSync(join(app.folder, "package.json"), JSON.stringify({ name: "app", private: true }));
      const words = ["install", "--no-save", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
      const jest = join(app.folder, "runner");
      execFileSync("npm", [...words, "--prefix", jest, "jest@30.5.2"], { cwd: app.folder });
      const { stderr, status } = spawnSync(join(jest, "node_modules/.bin/jest"), ["--rootDir", app.folder], {
        cwd: app.folder,
        encoding: "utf8",
      });
      expect(stderr).toContain("3 passed");
      expect(status).toBe(0);
    } finally {
      app.remove();
    }
  },
);
