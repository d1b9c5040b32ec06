// Rules of the source that no linter knows: the page's run-time imports, effects on the outside world, module-level
// state. .ci/borders.js has the allowed imports between folders.
//
// Uses TypeScript's syntax trees and checker, not text: a field named `fetch` is not a fetch. The rules are also run on
// a file that breaks them all, so that a rule which finds nothing is known to work.
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import { readProgram, ROOT } from "./test-support/read-program.ts";

/** Names that only lib/effects/, the inside of a worker, and tools that run in Node may touch. */
const EFFECTS: ReadonlySet<string> = new Set([
  ...["fetch", "setTimeout", "setInterval", "requestAnimationFrame", "requestIdleCallback", "performance", "navigator"],
  ...[
    "Worker",
    "SharedWorker",
    "BroadcastChannel",
    "localStorage",
    "sessionStorage",
    "indexedDB",
    "caches",
    "location",
  ],
  ...[
    "createImageBitmap",
    "Date.now",
    "Math.random",
    "crypto.getRandomValues",
    "crypto.randomUUID",
    "AbortSignal.timeout",
  ],
]);

/** The files that esbuild makes a worker of: ONNX Runtime is theirs alone. */
const ENTRY = /\/worker-(jspi|wasm|cache|offline)\.ts$/;

const WRONG_PATH = join(ROOT, "lib/schedule/wrong.ts");
const WRONG = `
import { engine } from "../pool/worker-client.ts";
import * as ort from "onnxruntime-web";
import { place } from "../pool/placement.js";
import { deleteStores } from "selvedge/cache";
export type WrongPool = typeof import("../pool/worker-client.ts");
let count = 0;
const seen = new Map<string, number>();
const known: ReadonlySet<string> = new Set(["a"]);
export const table = { fetch: 1, now: 2 };
export function tick(effects: { fetch(url: string): void; Worker: number }): number {
  effects.fetch("/");
  const setTimeout = (ms: number): number => ms;
  setTimeout(effects.Worker);
  void globalThis.fetch("/");
  new Worker("/worker.js");
  count += Date.now() + performance.now() + table.fetch;
  return count + Math.random() + new Date(0).getTime() + Number(new Date()) + seen.size + known.size;
}
export const kept = [engine, ort, place, deleteStores];
`;

interface Import {
  readonly from: string;
  /** The file that is imported, or the name of the package. */
  readonly to: string;
  readonly isPackage: boolean;
  readonly isType: boolean;
  /** Whether it is `import("…")` in a type, which ESLint's borders do not see. */
  readonly isInType?: boolean;
}

/** Lists the TypeScript files under a folder, tests and generated code left out. */
function sources(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith(".ts") && !/\.(test|gen|d)\.ts$/.test(path));
}

/** Whether an import or export brings in types alone. */
function isTypeOnly(statement: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(statement)) return statement.isTypeOnly;
  return statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

/** Reads the imports of a file, static and dynamic. */
function importsOf(file: ts.SourceFile): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Expression | undefined, isType: boolean, isInType = false): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    const isPackage = !specifier.text.startsWith(".");
    const to = isPackage ? specifier.text : resolve(dirname(file.fileName), specifier.text);
    found.push({ from: file.fileName, to, isPackage, isType, isInType });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node));
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      if (ts.isStringLiteral(node.argument.literal)) add(node.argument.literal, true, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** The folders and files of lib/ that import the package by its name, as an app does. */
const BY_NAME = /^lib\/(bindings|testing)\/|^lib\/(wasm|test-support\/react-(loads|roots))\.ts$/;

/**
 * Returns the import that is forbidden, or null: ONNX Runtime is a worker's, the demo imports the package by its name, and
 * all others a file by its path as it is on the disk, since ESLint resolves no other.
 */
function forbidden({ from, to, isPackage, isType, isInType }: Import): string | null {
  const [here, name] = [relative(ROOT, from), `${relative(ROOT, from)} imports ${isPackage ? to : relative(ROOT, to)}`];
  if (here.startsWith("demo/")) return !isPackage && to.startsWith(join(ROOT, "lib")) ? `${name}: not by name` : null;
  if (!isPackage && !existsSync(to)) return `${name}: no such file; a TypeScript file ends in .ts`;
  if (/^selvedge(\/|$)/.test(to) && !BY_NAME.test(here)) return `${name}: not by path`;
  if (!isPackage && isInType === true) return `${name}: by import type`;
  // The toolchain runs the same WebAssembly, in Node.
  if (!isPackage || /^lib\/(compress|cli)\//.test(here)) return null;
  return /^onnxruntime-web\b/.test(to) && !isType && !ENTRY.test(from) ? `${name}: only a worker's entry may` : null;
}

/** Collects the modules that are loaded at run time with some files, packages too. */
function reach(entries: readonly string[], imports: readonly Import[]): Set<string> {
  const seen = new Set(entries);
  for (const path of seen) for (const x of imports) if (x.from === path && !x.isType) seen.add(x.to);
  return seen;
}

/** Lists the effects that a file has on the world, by name. */
function effectsOf(file: ts.SourceFile, checker: ts.TypeChecker): string[] {
  const found: string[] = [];
  const isGlobal = (node: ts.Node): boolean => {
    const declarations = checker.getSymbolAtLocation(node)?.declarations ?? [];
    return declarations.length > 0 && declarations.every((x) => x.getSourceFile().isDeclarationFile);
  };
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node)) return;
    if (ts.isNewExpression(node) && node.expression.getText(file) === "Date" && !node.arguments?.length)
      found.push("new Date()");
    if (ts.isIdentifier(node)) {
      const parent = node.parent;
      const isMember = ts.isPropertyAccessExpression(parent) && parent.name === node;
      const owner = isMember ? parent.expression.getText(file) : "";
      const name = isMember && !/^(globalThis|self|window)$/.test(owner) ? `${owner}.${node.text}` : node.text;
      if (EFFECTS.has(name) && isGlobal(node)) found.push(name);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** Lists the mutable state of a module: top-level `let`, and collections that are not typed as read-only. */
function stateOf(file: ts.SourceFile): string[] {
  return file.statements.filter(ts.isVariableStatement).flatMap(({ declarationList }) =>
    declarationList.declarations
      .filter(({ type, initializer }) => {
        if ((declarationList.flags & ts.NodeFlags.Const) === 0) return true;
        if (type !== undefined && /^(Readonly|readonly)/.test(type.getText(file))) return false;
        if (initializer === undefined) return false;
        if (ts.isArrayLiteralExpression(initializer)) return initializer.elements.length === 0;
        return ts.isNewExpression(initializer) && /^(Weak)?(Map|Set)$/.test(initializer.expression.getText(file));
      })
      .map(({ name }) => name.getText(file)),
  );
}

let program: ts.Program;
let paths: string[];
let imports: Import[];

const source = (path: string): ts.SourceFile => {
  const file = program.getSourceFile(path);
  if (file === undefined) throw new Error(`${path} was not read`);
  return file;
};

beforeAll(() => {
  paths = [...sources(join(ROOT, "lib")), ...sources(join(ROOT, "demo"))];
  program = readProgram(paths, WRONG_PATH, WRONG);
  imports = paths.flatMap((path) => importsOf(source(path)));
}, 120_000);

describe("the source", () => {
  test("is read", () => {
    expect(paths.map((path) => relative(ROOT, path))).toContain("lib/index.ts");
    expect(paths.filter((path) => ENTRY.test(path)).length).toBeGreaterThan(0);
    expect(imports.length).toBeGreaterThan(10);
  });

  test("imports ONNX Runtime in workers alone, the package by its name in the demo, and else files by their paths", () => {
    expect(imports.map(forbidden).filter((x) => x !== null)).toEqual([]);
  });

  test("loads on the page neither ONNX Runtime nor what runs in a worker or in Node", () => {
    const page = [...reach([join(ROOT, "lib/index.ts")], imports)].map((path) => relative(ROOT, path));
    const foreign =
      /onnxruntime|^lib\/(compress|cli|doctor|export|serve|build|worker)\/|^lib\/cache\/(?!messages\.ts)|node:/;
    expect(page.filter((path) => foreign.test(path))).toEqual([]);
  });

  test("touches the world only through the injected effects", () => {
    const entries = paths.filter((path) => ENTRY.test(path));
    const page = reach([join(ROOT, "lib/index.ts")], imports);
    const inWorker = new Set([...reach(entries, imports)].filter((path) => !page.has(path)));
    const free = (path: string): boolean =>
      inWorker.has(path) ||
      /^(lib\/(effects|build|compress|cli|doctor|serve|bindings|testing)\/|demo\/)|^lib\/(engine\/(delete-site-data|devtools-tracks|keep-page|result-store)|test-support\/(fake-network|read-program|store-model\/store-world|simulate\/shares|react-loads))\.ts/.test(
        relative(ROOT, path),
      );
    const touched = paths
      .filter((path) => !free(path))
      .flatMap((path) => effectsOf(source(path), program.getTypeChecker()).map((x) => `${relative(ROOT, path)}: ${x}`));
    expect(touched).toEqual([]);
  });

  test("keeps nothing at module level on the page", () => {
    const page = [...reach([join(ROOT, "lib/index.ts")], imports)].filter((path) => existsSync(path));
    const kept = page.flatMap((path) => stateOf(source(path)).map((x) => `${relative(ROOT, path)}: ${x}`));
    expect(kept).toEqual([]);
  });
});

describe("a file that breaks every rule", () => {
  test("is caught at each import that is forbidden", () => {
    const found = importsOf(source(WRONG_PATH)).map(forbidden);
    expect(found.filter((x) => x !== null)).toEqual([
      "lib/schedule/wrong.ts imports onnxruntime-web: only a worker's entry may",
      "lib/schedule/wrong.ts imports lib/pool/placement.js: no such file; a TypeScript file ends in .ts",
      "lib/schedule/wrong.ts imports selvedge/cache: not by path",
      "lib/schedule/wrong.ts imports lib/pool/worker-client.ts: by import type",
    ]);
    const demo = { from: join(ROOT, "demo/page.ts"), to: join(ROOT, "lib/index.ts"), isPackage: false, isType: true };
    expect(forbidden(demo)).toBe("demo/page.ts imports lib/index.ts: not by name");
  });

  test("is caught at each effect, and at no field or local of the same name", () => {
    const found = effectsOf(source(WRONG_PATH), program.getTypeChecker());
    expect(found.sort()).toEqual(["Date.now", "Math.random", "Worker", "fetch", "new Date()", "performance"]);
  });

  test("is caught with its state, and not with its constants", () => {
    expect(stateOf(source(WRONG_PATH))).toEqual(["count", "seen"]);
  });
});
