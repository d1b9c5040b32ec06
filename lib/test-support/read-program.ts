// Parses TypeScript with the compiler, for the tests that check the source itself (borders, docblocks). Node only; no
// part of the package.
import { join, resolve } from "node:path";
import ts from "typescript";

/** The root of the repository. */
export const ROOT: string = resolve(import.meta.dirname, "../..");

/**
 * Parses files, and an extra one given as text, with this repository's compiler options. Packages are not read, which
 * takes a third of the time: what is imported from one has no type here.
 */
export function readProgram(paths: readonly string[], extraPath: string, extraText: string): ts.Program {
  const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), (path) => ts.sys.readFile(path)) as {
    config: Readonly<Record<string, unknown>>;
  };
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const read = host.readFile.bind(host);
  const exists = host.fileExists.bind(host);
  host.readFile = (path) => (path === extraPath ? extraText : read(path));
  host.fileExists = (path) => path === extraPath || exists(path);
  const resolved = ts.createModuleResolutionCache(ROOT, (path) => path, options);
  host.resolveModuleNameLiterals = (names, from) =>
    names.map(({ text }) =>
      text.startsWith(".") ? ts.resolveModuleName(text, from, options, host, resolved) : { resolvedModule: undefined },
    );
  return ts.createProgram([...paths, extraPath], options, host);
}
