// The models of a folder as cases for the profile (profile-functions.ts), with synthetic inputs: exporters write what no case
// by hand foresees.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { smallestTable } from "../../lib/compress/bundle/describe.ts";
import { describePorts } from "../../lib/compress/bundle/inspect.ts";
import { float16Value } from "../../lib/compress/onnx/float16.ts";
import { readModelFile } from "../../lib/compress/onnx/model-file.ts";
import type { Feed } from "../../lib/compress/run/feeds.ts";
import { hintsFor } from "../../lib/compress/run/model-hints.ts";
import { syntheticSets } from "../../lib/compress/run/synthetic-inputs.ts";
import type { ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";
import { withExternalData } from "./profile-cases.ts";
import type { Case, LazyCase } from "./profile-cases.ts";

/** Largest model, in bytes: a case is handed to the browser as text. */
const BYTES_MAX = 150_000_000;
/** Sizes of open dims that are tried for a model. */
const GUESSES = 12;

/**
 * Lists the models of a folder and of the folders in it.
 * @throws Error for a folder that does not exist or has none
 */
export function modelCases(folder: string): LazyCase[] {
  if (!existsSync(folder)) throw new Error(`${folder} does not exist`);
  const paths = readdirSync(folder, { encoding: "utf8", recursive: true }).filter((path) => path.endsWith(".onnx"));
  if (paths.length === 0) throw new Error(`${folder} has no .onnx files`);
  return paths.sort().map((path) => ({ title: path, onGpu: true, make: () => readCase(join(folder, path)) }));
}

/** @throws Error for a model that is too large, is none, or has an input that is no tensor of numbers */
async function readCase(path: string): Promise<Case> {
  const model = readModelFile(path);
  const bytes = model.byteLength;
  if (bytes > BYTES_MAX) throw new Error(`${path} has ${bytes} bytes; at most ${BYTES_MAX} are profiled`);
  const { inputs: ports } = await describePorts(model);
  const inputs = ports.map((x) => ({ ...x, batchAxis: null }));
  const feeds: Case["inputs"][] = [];
  const hints = { typical: {}, bound: smallestTable(model), ...hintsFor(path, model) };
  for (const make of syntheticSets(inputs, hints)) {
    feeds.push(...make(1).map(constantsOf));
    if (feeds.length === GUESSES) break;
  }
  const [first = {}, ...others] = feeds;
  return { ...withExternalData({ model, inputs: first }), others };
}

function constantsOf(feed: Feed): Case["inputs"] {
  return Object.fromEntries(
    Object.entries(feed).map(([name, { dtype, dims, data }]): [string, ConstantValues] => {
      if (dtype === "string") throw new Error(`"${name}" is of type string`);
      const numbers = Array.from(data as ArrayLike<number | bigint>, Number);
      return [name, { dtype, dims, values: dtype === "float16" ? numbers.map(float16Value) : numbers }];
    }),
  );
}
