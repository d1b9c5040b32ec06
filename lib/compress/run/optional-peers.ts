// The toolchain's optional packages, resolved on first use. They are large or native, so an app that only runs models
// does not install them. They are no peer dependencies either: an exact peer makes `npm install selvedge` fail beside
// another version of ONNX Runtime. So versions are checked here, and the error includes the install command.
//
// A package is resolved from the working directory first and from this file second: `npx -p selvedge -p
// onnxruntime-node@1.30.0` finds its own next to an app that is pinned to another, and a strict node_modules (pnpm)
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
  "playwright-core": { version: "1.64.1", from: "1.50.0", isExact: false },
  sharp: { version: "0.33.5", from: "0.33.0", isExact: false },
  fastify: { version: "5.12.8", from: "5.0.0", isExact: false },
};

/** Loads ONNX Runtime for Node. */
export async function loadRuntime(): Promise<typeof import("onnxruntime-node")> {
  return load<typeof import("onnxruntime-node")>("onnxruntime-node");
}

/** Loads sharp, which reads images. */
export async function loadSharp(): Promise<typeof import("sharp")> {
  const { default: sharp } = await load<{ default: typeof import("sharp") }>("sharp");
  return sharp;
}

/** Loads fastify, an HTTP server. */
export async function loadFastify(): Promise<typeof import("fastify")> {
  return load<typeof import("fastify")>("fastify");
}

/** Loads Playwright, which drives browsers. */
export async function loadPlaywright(): Promise<typeof import("playwright-core")> {
  return load<typeof import("playwright-core")>("playwright-core");
}

/**
 * Returns the path of an optional package's module.
 * @param folders - where the search starts; default the working directory, then this file's folder
 * @throws SelvedgeError `setup-failed` where the package is missing or of another version, with the install command
 */
export function findPackage(name: string, entry = ".", folders: readonly string[] = searched()): string {
  const found = look(name, entry, folders);
  if (typeof found === "string") return found;
  throw missing([[name, found]]);
}

/**
 * Checks that all packages of a command are installed, before anything else is done.
 * @param folders - as for `findPackage`
 * @throws SelvedgeError `setup-failed` that names every missing package, with one install command for all
 */
export function requirePackages(names: readonly string[], folders: readonly string[] = searched()): void {
  const lacking = names.flatMap((name) => {
    const found = look(name, ".", folders);
    return typeof found === "string" ? [] : [[name, found] as const];
  });
  if (lacking.length > 0) throw missing(lacking);
}

/** Returns the path of a package's module; the unsuitable versions that were found where there is none. */
function look(name: string, entry: string, folders: readonly string[]): string | readonly string[] {
  const wanted = OPTIONAL[name];
  const found: string[] = [];
  for (const folder of folders) {
    const root = rootOf(name, folder);
    if (root === null) continue;
    const json = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as PackageJson;
    if (wanted === undefined || fits(json.version, wanted)) return join(root, entryOf(json, entry));
    found.push(json.version);
  }
  return found;
}

/** Returns the error for packages that are missing, or of another version. */
function missing(lacking: readonly (readonly [name: string, versions: readonly string[]])[]): SelvedgeError {
  const atVersion = ([name]: (typeof lacking)[number]): string => `${name}@${OPTIONAL[name]?.version ?? "latest"}`;
  // The install script of onnxruntime-node fetches CUDA from another host, and fails behind a firewall.
  const flag = lacking.some(([name]) => name === "onnxruntime-node") ? "--ignore-scripts " : "";
  const install = `npm install --save-dev ${flag}${lacking.map(atVersion).join(" ")}`;
  const absent = lacking.filter(([, versions]) => versions.length === 0).map(([name]) => name);
  const wrong = lacking.filter(([, versions]) => versions.length > 0);
  const sentences = wrong.map(
    ([name, versions]) =>
      `The package ${name} is installed in version ${versions.join(" and ")}, but ${OPTIONAL[name]?.version ?? ""} is needed`,
  );
  if (absent.length === 1) sentences.push(`The package ${absent.join()} is missing`);
  if (absent.length > 1) sentences.push(`The packages ${absent.join(" and ")} are missing`);
  const beside =
    wrong.length === 0
      ? ""
      : `; or, to keep the installed version: npx ${flag}-p selvedge ${lacking.map((x) => `-p ${atVersion(x)}`).join(" ")} selvedge …`;
  return new SelvedgeError("setup-failed", `${sentences.join(". ")}: ${install}${beside}`, {
    reason: "package",
    package: lacking.map(([name]) => name).join(" "),
    ...(wrong[0] && { version: wrong[0][1][0] ?? "" }),
  });
}

async function load<Module>(name: string, entry = "."): Promise<Module> {
  const path = findPackage(name, entry);
  try {
    return (await import(pathToFileURL(path).href)) as Module;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SelvedgeError(
      "setup-failed",
      `The package ${name} does not load: ${reason}`,
      { reason: "package", package: name },
      error,
    );
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
