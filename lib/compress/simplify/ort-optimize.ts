// Runs ONNX Runtime's graph passes when a form is made, instead of at each load: they are half of the load time, and in
// Chromium the code they leave to be compiled slows the first run down as well. For forms that run on wasm only, since
// the passes produce operators of ONNX Runtime's CPU provider.
//
// Constants are folded ahead as well where that makes a form little larger. Otherwise they are still folded while
// loading, since weights that are stored in 8 bits would be stored in 32. Weights stored in 16 bits are widened for the
// passes, since most passes match constants and not their producers, and narrowed again afterwards, which is exact. The
// result is checked for equality: the remaining operators, with the passes ahead and folding after them, must be those
// that a load would have left; else the form is not changed. (ONNX Runtime's guide calls it the offline mode.)
//
// In a child process: ONNX Runtime 1.30 crashes in a pass on a float16 model (session.ts).
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CHILD_GUARD, endWithThis, temporaryFolder } from "../onnx/at-exit.ts";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import { readModelFile, writeModelFile } from "../onnx/model-file.ts";
import { writeModel } from "../onnx/written-model.ts";
import type { OnnxSource, Scratch, WrittenModel } from "../onnx/written-model.ts";
import { packConstants, widenConstants } from "./pack-constants.ts";
import { findPackage, loadRuntime } from "../run/optional-peers.ts";
import { withRightPasses } from "../run/right-passes.ts";
import { DISABLED } from "../run/session.ts";

/** A form after the passes. */
export interface OptimizedModel extends WrittenModel {
  /** ONNX Runtime's session entries for loading it. */
  readonly session: Readonly<Record<string, string>>;
}

/** Constant folding, which is left to the load. */
const FOLDING = "ConstantFolding";

/** The passes of ONNX Runtime 1.30 that are run ahead, by their names in its log. */
export const PASSES: readonly string[] = [
  "AttentionFusion",
  "BiasDropoutFusion",
  "BiasGeluFusion",
  "BiasSkipLayerNormFusion",
  "BiasSoftmaxFusion",
  "CommonSubexpressionElimination",
  "ConstantSharing",
  "ConvActivationFusion",
  "DoubleQDQPairsRemover",
  "DynamicQuantizeMatMulFusion",
  "EmbedLayerNormFusion",
  "FastGeluFusion",
  "GatherSliceToSplitFusion",
  "GatherToSliceFusion",
  "GeluFusionL1",
  "GeluFusionL2",
  "GemmActivationFusion",
  "GroupQueryAttentionFusion",
  "GroupQueryAttentionPreNormFusion",
  "LayerNormFusionL1",
  "LayerNormFusionL2",
  "Level1_RuleBasedTransformer",
  "Level2_RuleBasedTransformer",
  "MatMulActivationFusion",
  "MatMulAddFusion",
  "MatMulIntegerToFloatFusion",
  "MatMulNBitsFusion",
  "MatMulScaleFusion",
  "MatmulTransposeFusion",
  "QDQFinalCleanupTransformer",
  "QDQPropagationTransformer",
  "QDQS8ToU8Transformer",
  "QDQSelectorActionTransformer",
  "QuickGeluFusion",
  "ReshapeFusion",
  "SimplifiedLayerNormFusion",
  "SkipLayerNormFusion",
  "SliceConcatToSpaceToDepthFusion",
  "TransposeOptimizer",
  "WeightBiasQuantization",
  "WhereDummyDq",
];

const TIMEOUT_MS = 120_000;
/**
 * Maximum growth of a form when constants are folded ahead too, so that a load has nothing to fold: in Chromium the
 * first folded node costs 40 ms, however small, for code that nothing else needs; in Firefox 6.
 */
const FOLDED_GROWTH = 1.08;
/** Maximum growth when they are not. */
const GROWTH = 1.01;
/** Options that narrow constants back to 16 bits. */
const NARROWED = { minElements: 64, hasSubnormals: true } as const;

/** Script that writes ONNX Runtime's optimized model. */
const RUN = `${CHILD_GUARD}
const [path, job] = process.argv.slice(1);
const { InferenceSession } = require(path);
const [from, to, extra] = JSON.parse(job);
const options = {
  executionProviders: ["cpu"], graphOptimizationLevel: "extended", optimizedModelFilePath: to,
  logSeverityLevel: 4, extra,
};
InferenceSession.create(from, options).then((x) => x.release()).catch(() => process.exit(1));
`;

/**
 * Runs the passes on a form that runs on wasm only; returns null where that would change which operators run, or make
 * it larger.
 * @throws SelvedgeError where onnxruntime-node is missing
 */
export async function optimizeAhead(
  { model, source, byteLength }: WrittenModel,
  scratch: Scratch,
  session: Readonly<Record<string, string>> = {},
): Promise<OptimizedModel | null> {
  await loadRuntime();
  const without = (names: readonly string[]): Record<string, string> => ({
    ...session,
    [DISABLED]: [session[DISABLED] ?? [], names].flat().join(";"),
  });
  const temporary = temporaryFolder("selvedge-ahead-");
  const folder = temporary.path;
  const made: string[] = [];
  const optimized = async (from: OnnxSource, name: string, entries: typeof session): Promise<OnnxModel | null> => {
    const path = await optimize(from, join(folder, name), entries);
    if (path !== null) made.push(path);
    return path === null ? null : readModelFile(path);
  };
  try {
    const loaded = await optimized(source, "form", session);
    if (loaded === null) return null;
    const folded = tidied(loaded);
    if (folded.byteLength <= byteLength * FOLDED_GROWTH) {
      made.length = 0; // the form may read its weights from there
      return { ...(await writeModel(folded, scratch)), session: without(PASSES) };
    }
    const wide = model.copy();
    const { length } = wide.graph.nodes;
    await writeModelFile(join(folder, "wide"), wide.transform(widenConstants()));
    const passed = await optimized(join(folder, "wide"), "", without([FOLDING]));
    if (passed === null) return null;
    const isNarrow = wide.graph.nodes.length < length;
    tidied(passed, ...(isNarrow ? [packConstants(NARROWED)] : []));
    if (passed.byteLength > byteLength * GROWTH) return null;
    const ahead = await writeModel(passed, scratch);
    const both = await optimized(ahead.source, "ahead", without(PASSES));
    return both !== null && operatorsOf(both) === operatorsOf(loaded) ? { ...ahead, session: without(PASSES) } : null;
  } finally {
    for (const path of made) await rm(path, { force: true });
    await temporary.remove();
  }
}

/**
 * Loads a model and writes it as the load leaves it, beside it, since it refers to external data by name; returns the path,
 * or null where it does not load. Bytes are written to `path` first.
 */
async function optimize(
  source: OnnxSource,
  path: string,
  session: Readonly<Record<string, string>>,
): Promise<string | null> {
  const from = typeof source === "string" ? source : path;
  if (typeof source !== "string") await writeFile(path, source);
  const to = join(dirname(from), `${randomUUID()}.onnx`);
  return (await run([from, to, withRightPasses(source, session)])) ? to : null;
}

/** Passes on the model as ONNX Runtime's CPU provider leaves it after loading; returns null where it does not load. */
export async function afterLoading<T>(
  source: OnnxSource,
  session: Readonly<Record<string, string>>,
  use: (model: OnnxModel) => T,
): Promise<T | null> {
  const temporary = temporaryFolder("selvedge-loaded-");
  let path: string | null = null;
  try {
    path = await optimize(source, join(temporary.path, "form"), session);
    return path === null ? null : use(readModelFile(path));
  } catch {
    // Past 2 GB the written model has no file format.
    return null;
  } finally {
    if (path !== null) await rm(path, { force: true });
    await temporary.remove();
  }
}

/**
 * Removes the names of nodes. Recorded shapes of values are kept: they make a load a third faster
 * (name-dims.ts).
 */
function tidied(model: OnnxModel, ...transforms: Transform[]): OnnxModel {
  model.transform(...transforms);
  for (const node of model.graph.nodes) [node.name, node.docString] = ["", ""];
  return model;
}

/** Loads a file with session entries and writes the optimized model to another. */
function run(job: readonly [from: string, to: string, session: Readonly<Record<string, string>>]): Promise<boolean> {
  const runtime = findPackage("onnxruntime-node");
  const child = spawn(process.execPath, ["-e", RUN, runtime, JSON.stringify(job)], {
    stdio: ["pipe", "ignore", "ignore"],
    timeout: TIMEOUT_MS,
  });
  endWithThis(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve(code === 0);
    });
  });
}

/** Returns the count of each operator in a model, as text. */
function operatorsOf({ graph }: OnnxModel): string {
  const counts = new Map<string, number>();
  for (const { domain, opType } of graph.nodes) {
    const name = `${domain}.${opType}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .map(([name, count]) => `${count} ${name}`)
    .sort()
    .join(", ");
}
