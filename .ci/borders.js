// Which top folder may import which, and which folder of lib/, for ESLint. lib/README.md and e2e/README.md draw the same
// pictures for people. Globals, module state and what the page may reach at run time are lib/borders.test.ts's: no linter
// knows them.
import { readdirSync } from "node:fs";
import boundaries from "eslint-plugin-boundaries";
import importX from "eslint-plugin-import-x";
import { createNodeResolver } from "eslint-plugin-import-x";

/** Folders that each folder may import beside itself; `types` admits types alone. What is not listed is forbidden. */
/** @type {Readonly<Record<string, { readonly code?: readonly string[], readonly types?: readonly string[] }>>} */
const FOLDERS = {
  core: {},
  effects: { code: ["core"] },
  rpc: { code: ["core"], types: ["effects"] },
  schedule: { code: ["core"] },
  observe: { code: ["core"], types: ["schedule"] },
  pool: { code: ["core", "rpc"], types: ["effects"] },
  offline: { code: ["core"] },
  engine: { code: ["core", "effects", "rpc", "schedule", "observe", "pool", "cache", "offline", "source", "entries"] },
  worker: { code: ["core", "effects", "rpc", "remote"] },
  source: { code: ["core"] },
  remote: { code: ["core", "effects"] },
  cache: { code: ["core", "effects", "rpc", "source"] },
  replay: { code: ["core", "schedule", "observe"] },
  compress: { code: ["core", "worker", "source"], types: ["rpc"] },
  doctor: { code: ["core", "compress"] },
  export: { code: ["core", "compress", "remote"] },
  explain: { code: ["core", "doctor"] },
  serve: { code: ["core", "compress", "export", "remote", "schedule", "worker"] },
  cli: { code: ["core", "compress", "replay", "doctor", "explain", "export", "serve", "source"] },
  build: { code: ["core", "worker", "compress", "explain"] },
  // They import the entries by the package's name, as an app does.
  bindings: { code: ["core"] },
  testing: { code: ["core", "effects", "rpc", "engine", "worker", "cache"] },
  entries: {
    code: ["core", "effects", "engine", "offline"],
    types: ["cache", "rpc", "pool", "schedule", "observe"],
  },
};

/** Top folders that each may import beside itself. The tests of lib/ are held to this too; its product to {@link FOLDERS}. */
/** @type {Readonly<Record<string, readonly string[]>>} */
const TOPS = {
  lib: [],
  demo: ["lib"],
  // The spam classifier is trained on what the demo's page makes of a mail.
  models: ["lib", "demo"],
  e2e: ["lib", "demo", "models"],
};
const TESTS_OF_LIB = ["lib/**/*.test.ts", "lib/test-support/**"];

const names = Object.keys(FOLDERS);
for (const { name } of readdirSync(new URL("../lib", import.meta.url), { withFileTypes: true }).filter((x) =>
  x.isDirectory(),
))
  if (name !== "test-support" && !names.includes(name))
    throw new Error(`lib/${name} is not listed in .ci/borders.js: say there what it may import`);
/** Never imported by the product. */
const OTHERS = ["lib/test-support", "demo", "models", "e2e"].map((folder) => ({
  type: folder,
  pattern: `${folder}/**`,
  partialMatch: false,
}));
const EXTENSIONS = [".ts", ".tsx", ".js"];
const resolver = { "import/resolver": { node: { extensions: EXTENSIONS } } };
/** @type {(from: string, to: readonly string[], kind: string | undefined) => object} */
const allow = (from, to, kind) => ({
  from: { element: { type: from } },
  allow: {
    to: { element: { types: { anyOf: to } } },
    ...(kind === undefined ? {} : { dependency: { kind } }),
  },
});

/** Borders between the folders of lib/, no import cycles, and ONNX Runtime only where a worker or Node runs it. */
export const borders = [
  {
    files: ["lib/**/*.ts"],
    ignores: TESTS_OF_LIB,
    plugins: { boundaries },
    settings: {
      "boundaries/elements": [
        ...OTHERS,
        ...names.map((type) => ({
          type,
          pattern: type === "entries" ? "lib" : `lib/${type}/**`,
          partialMatch: false,
        })),
      ],
      ...resolver,
    },
    rules: {
      "boundaries/dependencies": [
        "error",
        {
          default: "disallow",
          policies: Object.entries(FOLDERS).flatMap(([from, { code = [], types = [] }]) => [
            allow(from, [from, ...code], undefined),
            ...(types.length === 0 ? [] : [allow(from, types, "type")]),
          ]),
        },
      ],
    },
  },
  {
    files: [...TESTS_OF_LIB, "{demo,models,e2e}/**/*.{ts,tsx}"],
    plugins: { boundaries },
    settings: {
      "boundaries/elements": Object.keys(TOPS).map((type) => ({ type, pattern: `${type}/**`, partialMatch: false })),
      ...resolver,
    },
    rules: {
      "boundaries/dependencies": [
        "error",
        {
          default: "disallow",
          policies: Object.entries(TOPS).map(([from, to]) => allow(from, [from, ...to], undefined)),
        },
      ],
    },
  },
  {
    files: ["{lib,demo,models,e2e}/**/*.{ts,tsx}"],
    // Nothing imports them.
    ignores: ["**/*.{test,spec}.ts"],
    plugins: { "import-x": importX },
    settings: {
      "import-x/resolver-next": [createNodeResolver({ extensions: EXTENSIONS })],
      // Without these two the rule reads no TypeScript, and so finds nothing.
      "import-x/extensions": EXTENSIONS,
      "import-x/parsers": { "@typescript-eslint/parser": [".ts", ".tsx"] },
    },
    // What the page imports when it first needs it may import the importer: nothing waits for it.
    rules: { "import-x/no-cycle": ["error", { ignoreExternal: true, allowUnsafeDynamicCyclicDependency: true }] },
  },
];
