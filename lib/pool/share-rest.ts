// The second part of ONNX Runtime's binary (build/split.ts), compiled once for the workers of a pool.
import type { Compiled } from "./lane-options.ts";

/**
 * Returns the second part, compiled by `compile` unless it is compiled or compiling; null where the page can't compile
 * it.
 */
export function shareRest(
  compiled: Compiled,
  compile: () => Promise<WebAssembly.Module>,
): Promise<WebAssembly.Module | null> {
  compiled.rest ??= compile().then(
    (rest) => {
      keepRest(compiled, rest);
      return rest;
    },
    () => {
      compiled.rest = null; // the next model may succeed
      return null;
    },
  );
  return compiled.rest;
}

/** Keeps the second part for workers that start later. */
export function keepRest(compiled: Compiled, rest: WebAssembly.Module): void {
  compiled.rest = Promise.resolve(rest);
  const { modules } = compiled;
  if (modules !== null) compiled.modules = modules.then((parts) => (parts === null ? null : { ...parts, rest }));
}
