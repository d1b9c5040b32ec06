// The toolchain's optional packages, resolved on first use. They are large or native, so an app that only runs models
// does not install them. They are no peer dependencies either: an exact peer makes `npm install selvedge` fail beside
// another version of ONNX Runtime. So versions are checked here, and the error includes the install command.
//
// A package is resolved from the working directory first and from this file second: `npx -p selvedge -p
// onnxruntime-web@1.30.0` finds its own next to an app that is pinned to another, and a strict node_modules (pnpm)
// exposes an app's packages to the app alone.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SelvedgeError } from "../../core/errors.ts";

/** An optional package: the version in the install command, and the oldest supported one. */
interface Optional {
  readonly version: string;
  readonly from: string;
  /** Whether a newer minor version is refused: graphs are rewritten for this version's kernels and passes. */
  readonly isExact: boolean;
}

/** The optional packages, by name. */
export const OPTIONAL: Readonly<Record<string, Optional>> = {
  "onnxruntime-node": { version: "1.30.0", from: "1.30.0", isExact: true },
  "onnxruntime-web": { version: "1.30.0", from: "1.30.0", isExact: true },
  "playwright-core": { version: "1.64.1", from: "1.50.0", isExact: false },
  sharp: { version: "0.33.5", from: "0.33.0", isExact: false },
};

/** Loads ONNX Runtime for Node. */
export async function loadRuntime(): Promise<typeof import("onnxruntime-node")> {
  return load<typeof import("onnxruntime-node")>("onnxruntime-node");
}

/** Loads ONNX Runtime Web, whose WebAssembly runs in Node as in a browser. */
export async function loadWebRuntime(): Promise<typeof import("onnxruntime-web/wasm")> {
  return load<typeof import("onnxruntime-web/wasm")>("onnxruntime-web", "./wasm");
}

/** Loads sharp, which reads images. */
export async function loadSharp(): Promise<typeof import("sharp")> {
  const { default: sharp } = await load<{ default: typeof import("sharp") }>("sharp");
  return sharp;
}

/** Loads Playwright, which drives browsers. */
export async function loadPlaywright(): Promise<typeof import("playwright-core")> {
  return load<typeof import("playwright-core")>("playwright-core");
}

/**
 * Returns the path of an optional package's module.
 * @param folders - where the search starts; default the working directory, then this file's folder
 * @throws SelvedgeError `internal` where the package is missing or of another version, with the install command
 */
export function findPackage(name: string, entry = ".", folders: readonly string[] = searched()): string {
  const wanted = OPTIONAL[name];
  const install = `npm install --save-dev ${name}@${wanted?.version ?? "latest"}`;
  const found: string[] = [];
  for (const folder of folders) {
    const root = rootOf(name, folder);
    if (root === null) continue;
    const json = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as PackageJson;
    if (wanted === undefined || fits(json.version, wanted)) return join(root, entryOf(json, entry));
    found.push(json.version);
  }
  if (found.length === 0)
    throw new SelvedgeError("internal", `The package ${name} is missing: ${install}`, { package: name });
  const beside = `or, to keep that one: npx -p selvedge -p ${name}@${wanted?.version ?? ""} selvedge …`;
  const message = `The package ${name} is installed in version ${found.join(" and ")}, but ${wanted?.version ?? ""} is needed: ${install}; ${beside}`;
  throw new SelvedgeError("internal", message, { package: name, version: found[0] ?? "" });
}

async function load<Module>(name: string, entry = "."): Promise<Module> {
  const path = findPackage(name, entry);
  try {
    return (await import(pathToFileURL(path).href)) as Module;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SelvedgeError("internal", `The package ${name} does not load: ${reason}`, { package: name }, error);
  }
}

interface PackageJson {
  readonly version: string;
  readonly main?: string;
  readonly exports?: unknown;
}

function searched(): string[] {
  return [process.cwd(), dirname(fileURLToPath(import.meta.url))];
}

/** Finds a package's folder as Node does: in the node_modules of a folder, or of one of its parents. */
function rootOf(name: string, folder: string): string | null {
  const root = join(folder, "node_modules", name);
  if (existsSync(join(root, "package.json"))) return root;
  return dirname(folder) === folder ? null : rootOf(name, dirname(folder));
}

/** Returns the file to which an `import` of a package resolves in Node. */
function entryOf({ exports, main = "index.js" }: PackageJson, entry: string): string {
  const isMap = typeof exports === "object" && exports !== null && entry in exports;
  const target = targetOf(isMap ? (exports as Record<string, unknown>)[entry] : exports);
  return target ?? main;
}

function targetOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [condition, each] of Object.entries(value)) {
    const target = ["node", "import", "default"].includes(condition) ? targetOf(each) : undefined;
    if (target !== undefined) return target;
  }
  return undefined;
}

/** Whether a version is at least the oldest supported one and, where required, of the same minor version. */
function fits(version: string, { from, isExact }: Optional): boolean {
  const [have, least] = [version, from].map((x) => x.split(/[.+-]/).slice(0, 3).map(Number));
  if (have === undefined || least === undefined) return false;
  const same = (until: number): boolean => have.slice(0, until).every((x, i) => x === least[i]);
  if (isExact) return same(2) && (have[2] ?? 0) >= (least[2] ?? 0);
  const at = have.findIndex((x, i) => x !== least[i]);
  return at === -1 || (have[at] ?? 0) > (least[at] ?? 0);
}
