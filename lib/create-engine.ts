// `createEngine` of the main entry: both builds of ONNX Runtime are within its reach.
import { makeEngine } from "./engine/engine.ts";
import type { Engine } from "./engine/engine.ts";
import type { EngineOptions } from "./engine/options.ts";
import { jspiFiles } from "./jspi-files.ts";

/**
 * Creates an engine. Workers start with the first model, not here.
 * @throws TypeError or RangeError for a wrong option; SelvedgeError `setup-failed` where there are no Web Workers, as in
 * Node, in jsdom and in service workers
 * @example
 * const engine = await createEngine();
 * const model = await engine.load("/models/ocr-rec/bundle.json");
 */
export function createEngine(options: EngineOptions = {}): Promise<Engine> {
  return makeEngine(options, jspiFiles);
}
