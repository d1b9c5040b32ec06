// Files of the JSPI build, in a module of their own: a bundler emits them into an app's output where it finds this one.
// Each literal stays in one piece (assets.ts).
import type { BuildFiles } from "./assets.ts";

/** Returns the worker script and the binaries of the build that serves both backends. */
export function jspiFiles(): BuildFiles {
  return [
    new URL("./worker-jspi.js", import.meta.url),
    new URL("./ort-jspi.wasm", import.meta.url),
    new URL("./ort-jspi-rest.wasm", import.meta.url),
  ];
}
