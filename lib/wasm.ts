// `selvedge/wasm`: the main entry without the build that has WebGPU, whose files a bundler does not find from here. The
// types are the main entry's own, and its code is not imported.
import { SelvedgeError as OwnError, isSelvedgeError as isOwnError } from "./core/errors.ts";
import { makeEngine } from "./engine/engine.ts";
import type * as Main from "selvedge";

export type * from "selvedge";

/**
 * Creates an engine that runs on WebAssembly alone.
 * @throws TypeError or RangeError for a wrong option, `"webgpu"` among the `backends` included
 */
export function createEngine(options: Main.EngineOptions = {}): Promise<Main.Engine> {
  return makeEngine(options, null);
}

/** The error class of `selvedge`. */
export const SelvedgeError: typeof Main.SelvedgeError = OwnError;
/** An error of `selvedge`. */
export type SelvedgeError = Main.SelvedgeError;
/** Whether a value is a SelvedgeError, from this copy of the package or another. */
export const isSelvedgeError: typeof Main.isSelvedgeError = isOwnError;
