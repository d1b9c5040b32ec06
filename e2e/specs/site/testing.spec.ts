// `selvedge/testing` in an app's own tests: Jest in its default CommonJS, with the package replaced by the fake.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { freshApp } from "../../support/fresh-app.ts";

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

test("Jest 30 mocks the package with a fake engine, under React's hooks too", { tag: "@chromium" }, () => {
  test.setTimeout(240_000);
  const app = freshApp({
    files: { "app.test.js": TEST, "react.test.js": REACT_TEST },
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
    expect(stderr).toContain("2 passed");
    expect(status).toBe(0);
  } finally {
    app.remove();
  }
});
