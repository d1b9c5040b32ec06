// The packed package in other people's projects, without a browser: its declarations under each TypeScript and module
// resolution, an install beside other versions of the packages that it also uses, and its entries and command line
// under each Node. Needs dist/ (`npm run build`) and npm; TypeScripts and Nodes are kept in e2e/.cache.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "@playwright/test";
import { readEntries } from "../../../lib/build/entries.ts";
import { identityModel } from "../../../lib/test-support/backend-models.ts";
import { isSoak, sample } from "../../../lib/test-support/slice.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const CACHE = join(ROOT, "e2e/.cache");
const ENTRIES = readEntries(ROOT);

/** The oldest and the newest in each run, all of them in the soak: one takes half a minute. */
const TYPESCRIPTS = ["5.7.3", ...(isSoak ? ["5.9.3", "6.0.3"] : []), "7.0.2"];
const NODES = ["22.23.3", "24.21.0"];

/** How narrow the types of tensors are, in the words of a consumer. */
const BEHAVIOUR = `import { createEngine } from "selvedge";
import type { Inputs, Tensor, TensorInput } from "selvedge";

export const floats = (x: Tensor): Float32Array | null => (x.dtype === "float32" ? x.data : null);
export const texts = (x: Tensor): string[] | null => (x.dtype === "string" ? x.data : null);
export const whole: TensorInput = { dtype: "int64", dims: [1], data: new BigInt64Array(1) };
export const bits: TensorInput = { dtype: "float16", dims: [1], data: new Uint16Array(1) };
export const clamped: TensorInput = { dtype: "uint8", dims: [1], data: new Uint8ClampedArray(1) };
export const again = (x: Tensor): TensorInput => x;
export const one = (x: TensorInput<"float32">): Float32Array => x.data;
// @ts-expect-error -- another array type
export const doubles: TensorInput = { dtype: "float32", dims: [3], data: new Float64Array(3) };
// @ts-expect-error -- numbers where there are big integers
export const ints: TensorInput = { dtype: "int64", dims: [3], data: new Int32Array(3) };
// @ts-expect-error -- no such dtype
export const four: TensorInput = { dtype: "int4", dims: [3], data: new Uint8Array(3) };
export const inputs: Inputs = {
  explicit: { dtype: "float32", dims: [1, 3], data: new Float32Array(3) },
  alone: new Float32Array(3),
  ort: { type: "float32", dims: [1, 3], data: new Float32Array(3) },
  text: "a text",
  image: new Blob([]),
};
// @ts-expect-error -- plain numbers
export const numbers: Inputs = { x: [1, 2, 3] };
// @ts-expect-error -- an object of another kind
export const other: Inputs = { x: { width: 3 } };

export async function answer(): Promise<string | null> {
  const engine = await createEngine();
  await engine.update("/model.onnx", { backend: "wasm" });
  // @ts-expect-error -- an option of a load
  await engine.update("/model.onnx", { labels: ["cat"] });
  const model = await engine.load("/model.onnx");
  const { answer: one, outputs } = await model.run(inputs);
  const y = outputs["y"];
  if (y?.dtype === "float32") y.data.fill(0);
  return one?.kind === "text" ? one.text : null;
}
`;
/** Elements of the page are images where the compiler knows them. */
const ELEMENTS = `import type { ImageInput } from "selvedge";
declare const picture: HTMLImageElement;
export const images: ImageInput[] = [picture, document.createElement("canvas"), document.createElement("video")];
// @ts-expect-error -- an element that is no picture
export const list: ImageInput = document.createElement("ul");
`;
/** float16 values, where the compiler knows them. */
const HALVES = `import type { TensorInput } from "selvedge";
export const halves: TensorInput = { dtype: "float16", dims: [1], data: new Float16Array(1) };
`;

/** The sources and options of `useModel`: those of a load. */
const HOOKS = `import type { Engine, Model } from "selvedge";
import { useModel } from "selvedge/react";
import type { UseModel } from "selvedge/react";

type Source = Parameters<Engine["load"]>[0];
export const of = (source: Source | null): UseModel => useModel(source);
export const some = (source: Source, suspense: boolean): UseModel => useModel(source, { suspense });
export const repository = (): UseModel => useModel({ repo: "owner/name", revision: "main" }, { backend: "wasm" });
export const ready = (): Model => useModel({ repo: "owner/name" }, { suspense: true }).model;
// @ts-expect-error -- not before it is ready
export const early = (): Model => useModel("/model.onnx", { suspense: false }).model;
// @ts-expect-error -- null is never ready
export const none = (source: Source | null): Model => useModel(source, { suspense: true }).model;
// @ts-expect-error -- an option that the hook handles
export const signal = (): UseModel => useModel("/model.onnx", { signal: new AbortController().signal });
`;

/** `using` and `await using`, where the compiler knows them. */
const DISPOSAL = `import { createEngine } from "selvedge";

export async function answer(): Promise<string> {
  await using engine = await createEngine();
  using model = await engine.load("/model.onnx");
  await using other = await engine.load("/other.onnx");
  using state = model.stateful();
  await state.run({});
  // @ts-expect-error -- an engine closes asynchronously
  using wrong = engine;
  return model.name + other.name + String(wrong);
}
`;

const importAll = (isNode: boolean): string =>
  ENTRIES.filter((x) => x.isNode === isNode)
    .map(({ name }, i) => `export type * as e${i} from "selvedge${name === "" ? "" : `/${name}`}";\n`)
    .join("");
const requireAll = (isNode: boolean): string =>
  ENTRIES.filter((x) => x.isNode === isNode)
    .map(({ name }, i) => `export const e${i} = import("selvedge${name === "" ? "" : `/${name}`}");\n`)
    .join("");

function npmIn(folder: string, ...words: string[]): string {
  return execFileSync("npm", [...words, "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts"], {
    cwd: folder,
    encoding: "utf8",
  });
}

/** Installs exact versions of packages in the cache, unless they are there. */
function cached(folder: string, ...packages: string[]): string {
  const path = join(CACHE, folder);
  if (existsSync(join(path, "node_modules"))) return path;
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "package.json"), JSON.stringify({ private: true }));
  npmIn(path, "install", "--prefer-offline", ...packages);
  return path;
}

function newApp(dependencies: object = {}): string {
  const app = mkdtempSync(join(tmpdir(), "selvedge-consumer-"));
  writeFileSync(join(app, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }));
  return app;
}

test.describe("the packed package, in projects of others", { tag: "@chromium" }, () => {
  test.describe.configure({ timeout: 300_000 });
  let app: string;
  let tarball: string;

  test.beforeAll(() => {
    app = newApp();
    const [{ filename }] = JSON.parse(npmIn(app, "pack", ROOT, "--json", "--ignore-scripts")) as [{ filename: string }];
    tarball = join(app, filename);
    npmIn(app, "install", `./${filename}`, "@types/node@20.19.43", "@types/react@19.2.0", "--prefer-offline");
    const files = {
      ...{ "behaviour.ts": BEHAVIOUR, "elements.ts": ELEMENTS, "halves.ts": HALVES, "disposal.ts": DISPOSAL },
      "hooks.ts": HOOKS,
      ...{ "page.ts": importAll(false), "page.cts": requireAll(false) },
      ...{ "node.ts": importAll(true), "node.cts": requireAll(true) },
    };
    for (const [name, code] of Object.entries(files)) writeFileSync(join(app, name), code);
  });
  test.afterAll(() => {
    rmSync(app, { recursive: true, force: true });
  });

  for (const version of TYPESCRIPTS) {
    const major = Number(version.split(".")[0]);
    test(`compiles under TypeScript ${version} without skipLibCheck`, () => {
      const tsc = join(cached(`typescript-${version}`, `typescript@${version}`), "node_modules/typescript/bin/tsc");
      // TypeScript 7 has no node10 resolution.
      const resolutions = ["bundler", "node16", "nodenext", ...(major < 7 ? ["node10"] : [])];
      const settings = resolutions.flatMap((x) =>
        (["page", "worker", "node"] as const).map((kind) => [x, kind] as const),
      );
      for (const [resolution, kind] of sample(settings, 2))
        expect(errors(tsc, resolution, kind, version), `${resolution}, ${kind}`).toBe("");
    });
  }

  /** Compiles the consumer and returns what the compiler said. */
  function errors(tsc: string, resolution: string, kind: "page" | "worker" | "node", version: string): string {
    const hasHalves = kind === "page" && !version.startsWith("5.7");
    const isNodeLike = resolution.startsWith("node1") || resolution === "nodenext";
    const compilerOptions = {
      ...{ target: "es2022", strict: true, noEmit: true, skipLibCheck: false, esModuleInterop: true },
      module: isNodeLike && resolution !== "node10" ? resolution : "esnext",
      moduleResolution: resolution,
      types: kind === "node" ? ["node"] : [],
      lib: [
        "es2022",
        ...{ page: ["dom"], worker: ["webworker"], node: [] }[kind],
        ...(hasHalves ? ["esnext.float16"] : []),
        // Elsewhere the symbols do not exist: the declarations must compile all the same.
        ...(kind === "page" && resolution === "bundler" ? ["esnext.disposable"] : []),
      ],
      ...(resolution === "node10" && version.startsWith("6") ? { ignoreDeprecations: "6.0" } : {}),
    };
    const files = {
      page: [
        "page.ts",
        "behaviour.ts",
        "elements.ts",
        "hooks.ts",
        ...(hasHalves ? ["halves.ts"] : []),
        ...(resolution === "bundler" ? ["disposal.ts"] : []),
      ],
      worker: ["page.ts", "behaviour.ts", "hooks.ts"],
      node: ["node.ts"],
    }[kind];
    if (resolution.startsWith("node1") || resolution === "nodenext")
      if (resolution !== "node10" && kind !== "worker") files.push(`${kind}.cts`);
    const project = join(app, `tsconfig.${resolution}-${kind}.json`);
    writeFileSync(project, JSON.stringify({ compilerOptions, files }));
    return spawnSync(process.execPath, [tsc, "-p", project], { cwd: app, encoding: "utf8" }).stdout;
  }

  const others = [
    ["onnxruntime-web", "1.22.0", "1.22.0"],
    ["onnxruntime-web", "^1.26.0", "1.26.0"],
    ["@huggingface/transformers", "^4.3.0", "4.3.1"],
    ["sharp", "0.32.6", "0.32.6"],
    ["playwright-core", "1.49.1", "1.49.1"],
    // Versions that the hooks do not work with, or that no range of releases has: npm holds an optional peer to its range.
    ["react", "19.0.0-rc.1", "19.0.0-rc.1"],
    ["react", "17.0.2", "17.0.2"],
    ["react", "19.3.0-canary-ff8f88fc-20260915", "19.3.0-canary-ff8f88fc-20260915"],
  ] as const;
  for (const [name, wanted, version] of sample(others, 2))
    test(`is installed beside ${name} ${wanted}, and changes nothing of the app's own`, () => {
      const other = newApp({ [name]: version });
      try {
        const packages = (): Record<string, { version?: string; extraneous?: boolean }> => {
          const lock = readFileSync(join(other, "package-lock.json"), "utf8");
          const { packages } = JSON.parse(lock) as { packages: Record<string, { version?: string }> };
          return Object.fromEntries(Object.entries(packages).filter(([path]) => path !== ""));
        };
        npmIn(other, "install", "--package-lock-only", "--prefer-offline");
        const manifest = { private: true, type: "module", dependencies: { [name]: wanted } };
        writeFileSync(join(other, "package.json"), JSON.stringify(manifest));
        npmIn(other, "install", "--package-lock-only", "--prefer-offline");
        const before = packages();
        expect(before[`node_modules/${name}`]?.version).toBe(version);
        npmIn(other, "install", tarball, "--package-lock-only", "--prefer-offline");
        const { "node_modules/selvedge": own, ...after } = packages();
        expect(own).toBeDefined();
        expect(after).toEqual(before);
      } finally {
        rmSync(other, { recursive: true, force: true });
      }
    });

  for (const version of [process.versions.node, ...sample(NODES, 2)])
    test(`is imported and run by Node ${version}`, () => {
      const platform = `${process.platform}-${process.arch}`;
      const node =
        version === process.versions.node
          ? process.execPath
          : join(cached(`node-${version}`, `node-${platform}@${version}`), `node_modules/node-${platform}/bin/node`);
      // The React binding needs React.
      const names = ENTRIES.filter((x) => x.name !== "react").map(({ name }) => `selvedge${name && `/${name}`}`);
      const code = `for (const name of ${JSON.stringify(names)})
        console.log(String(Object.keys(await import(name)).length > 0));`;
      const run = (...words: string[]) => {
        const { stdout, stderr, status } = spawnSync(node, words, { cwd: app, encoding: "utf8" });
        return { stdout, stderr, status };
      };
      expect(run("--version").stdout.trim()).toBe(`v${version}`);
      expect(run("--input-type=module", "--eval", code)).toEqual({
        ...{ stdout: "true\n".repeat(names.length), stderr: "", status: 0 },
      });
      const cli = join(app, "node_modules/selvedge/lib/cli/bin.js");
      expect(run(cli, "--help")).toMatchObject({ status: 0, stderr: "" });
      writeFileSync(join(app, "same.onnx"), identityModel("float32"));
      expect(run(cli, "inspect", "same.onnx")).toMatchObject({ status: 0, stderr: "" });
    });
});
