// Which folder of lib/ may import which, for ESLint. lib/README.md draws the same picture for people. Globals, module
// state and what the page may reach at run time are lib/borders.test.ts's: no linter knows them.
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

const names = Object.keys(FOLDERS);
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
    ignores: ["lib/**/*.test.ts", "lib/test-support/**"],
    plugins: { boundaries },
    settings: {
      "boundaries/elements": names.map((type) => ({
        type,
        pattern: type === "entries" ? "lib" : `lib/${type}/**`,
        partialMatch: false,
      })),
      "import/resolver": { node: { extensions: [".ts", ".js"] } },
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
    files: ["lib/**/*.ts", "demo/**/*.ts"],
    plugins: { "import-x": importX },
    settings: { "import-x/resolver-next": [createNodeResolver({ extensions: [".ts", ".js"] })] },
    rules: { "import-x/no-cycle": "error" },
  },
];
