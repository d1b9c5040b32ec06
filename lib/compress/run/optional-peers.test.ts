import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import messages from "../../explain/messages.json" with { type: "json" };
import { findPackage, OPTIONAL, requirePackages } from "./optional-peers.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "selvedge-packages-"));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Installs a package of one module in a folder. */
function install(folder: string, name: string, version: string, more: object = { main: "main.js" }): string {
  const at = join(root, folder, "node_modules", name);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "package.json"), JSON.stringify({ name, version, ...more }));
  return at;
}

const folders = (): string[] => ["app/src", "tool/dist"].map((x) => join(root, x));

test.each([
  ["onnxruntime-node", "npm install --save-dev --ignore-scripts onnxruntime-node@1.30.0"],
  ["sharp", "npm install --save-dev sharp@0.33.5"],
  ["playwright-core", "npm install --save-dev playwright-core@1.64.1"],
])("%s that is missing is named with the line that installs it", (name, line) => {
  expect(() => findPackage(name, ".", folders())).toThrow(line);
});

test("the errors' pages show the message of a package that is missing", () => {
  const { message } = caught(() => requirePackages(["sharp"], folders()));
  expect(messages["setup-failed package"]).toEqual([message]);
});

test.each([
  ["onnxruntime-node", "1.22.0"],
  ["onnxruntime-node", "1.31.0"],
  ["onnxruntime-node", "2.30.0"],
  ["sharp", "0.32.6"],
  ["playwright-core", "1.49.9"],
])("%s %s is refused by its version", (name, version) => {
  install("app", name, version);
  const flag = name === "onnxruntime-node" ? "--ignore-scripts " : "";
  const line = `version ${version}, but ${OPTIONAL[name]?.version ?? ""} is needed: npm install --save-dev ${flag}${name}@`;
  expect(() => findPackage(name, ".", folders())).toThrow(line);
});

test.each([
  ["onnxruntime-node", "1.30.0"],
  ["onnxruntime-node", "1.30.2-dev.1"],
  ["sharp", "0.33.0"],
  ["sharp", "0.35.1"],
  ["sharp", "1.0.0"],
  ["playwright-core", "1.64.1"],
])("%s %s is taken", (name, version) => {
  const at = install("app", name, version);
  expect(findPackage(name, ".", folders())).toBe(join(at, "main.js"));
});

test("every package that is missing is named at once, with one line that installs all (apps-3)", () => {
  install("app", "playwright-core", "1.49.0");
  const names = ["onnxruntime-node", "sharp", "playwright-core"];
  const error = caught(() => requirePackages(names, folders()));
  expect(error).toMatchObject({ code: "setup-failed", retryable: false, details: { package: names.join(" ") } });
  expect(error.message).toContain("The packages onnxruntime-node and sharp are missing");
  expect(error.message).toContain("playwright-core is installed in version 1.49.0, but 1.64.1 is needed");
  expect(error.message).toContain(
    "npm install --save-dev --ignore-scripts onnxruntime-node@1.30.0 sharp@0.33.5 playwright-core@1.64.1",
  );
  for (const name of names) install("app", name, OPTIONAL[name]?.version ?? "");
  expect(() => requirePackages(names, folders())).not.toThrow();
});

/** Runs what must throw. */
function caught(work: () => void): Error {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

test("the app's package comes first, and this package's own where the app has another version", () => {
  const own = install("tool", "onnxruntime-node", "1.30.0");
  const app = install("app", "onnxruntime-node", "1.30.1");
  expect(findPackage("onnxruntime-node", ".", folders())).toBe(join(app, "main.js"));
  install("app", "onnxruntime-node", "1.22.0");
  expect(findPackage("onnxruntime-node", ".", folders())).toBe(join(own, "main.js"));
});

test("the module is the one that an import in Node resolves to", () => {
  const wasm = {
    types: "./t.d.ts",
    import: { "some-condition": "./no.mjs", default: "./wasm.mjs" },
    require: "./no.js",
  };
  const at = install("app", "onnxruntime-node", "1.30.0", {
    main: "no.js",
    exports: { ".": "./all.js", "./wasm": wasm },
  });
  expect(findPackage("onnxruntime-node", "./wasm", folders())).toBe(join(at, "wasm.mjs"));
  expect(findPackage("onnxruntime-node", ".", folders())).toBe(join(at, "all.js"));
});

test("the versions in messages are those that the tests run on", () => {
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
    devDependencies: Record<string, string>;
  };
  for (const [name, { version }] of Object.entries(OPTIONAL)) expect(devDependencies[name]).toBe(version);
});
