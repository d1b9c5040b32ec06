// Has ONNX Runtime's graph passes run when a form is made, in place of at each load: they are half of what a load takes, and
// in Chromium what they leave to be compiled slows the first run down as well. For forms that run on wasm alone, since the
// passes write operators of ONNX Runtime's CPU.
//
// Constants are folded ahead as well where that makes a form little larger. Else they are still folded while loading, for
// weights that are stored in 8 bits would be stored in 32; and what is stored in 16 is widened for the passes, since most
// look for constants and not for what makes them, and narrowed again behind them, which is exact. Whether all comes to the
// same is checked: the operators that are left, with the passes ahead and folding after them, are those that a load would
// have left; else the form stays as it is. (ONNX Runtime's guide calls it the offline mode.)
//
// In a process of its own: ONNX Runtime 1.30 dies of a pass where a model is in float16 (session.ts).
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readModel } from "./onnx.ts";
import type { Transform } from "./onnx.ts";
import { packConstants, widenConstants } from "./pack-constants.ts";
import { loadRuntime } from "./runtime.ts";
import { DISABLED } from "./session.ts";

/** A form with the passes behind it. */
export interface Ahead {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** ONNX Runtime's session entries for its loads. */
  readonly session: Readonly<Record<string, string>>;
}

/** Folds constants; is left to the load. */
const FOLDING = "ConstantFolding";

/** The passes of ONNX Runtime 1.30, as its log names them, that are run ahead. */
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
 * By so much a form may grow where constants are folded ahead, too, so that a load has nothing to fold: in Chromium the
 * first node that is folded costs 40 ms, however small, for code that nothing else needs; in Firefox 6.
 */
const FOLDED_GROWTH = 1.08;
/** By so much where they are not. */
const GROWTH = 1.01;
/** What had 16 bits gets them back. */
const NARROWED = { minElements: 64, hasSubnormals: true } as const;

/** Writes what ONNX Runtime makes of a model. */
const RUN = `
const [path, folder, job] = process.argv.slice(1);
const { InferenceSession } = require(path);
const [from, to, extra] = JSON.parse(job);
const options = {
  executionProviders: ["cpu"], graphOptimizationLevel: "extended", optimizedModelFilePath: folder + "/" + to,
  logSeverityLevel: 4, extra,
};
InferenceSession.create(folder + "/" + from, options).then((x) => x.release()).catch(() => process.exit(1));
`;

/**
 * Runs the passes on a form that runs on wasm alone; gives null where that would change what runs, or make it larger.
 * @throws SelvedgeError where onnxruntime-node is missing
 */
export async function optimizeAhead(
  bytes: Uint8Array,
  session: Readonly<Record<string, string>> = {},
): Promise<Ahead | null> {
  await loadRuntime();
  const without = (names: readonly string[]): Record<string, string> => ({
    ...session,
    [DISABLED]: [session[DISABLED] ?? [], names].flat().join(";"),
  });
  const folder = await mkdtemp(join(tmpdir(), "selvedge-ahead-"));
  const read = async (name: string): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(await readFile(join(folder, name)));
  try {
    await writeFile(join(folder, "form"), bytes);
    if (!(await run(folder, ["form", "loaded", session]))) return null;
    const loaded = await read("loaded");
    const folded = tidied(loaded);
    if (folded.length <= bytes.length * FOLDED_GROWTH) return { bytes: folded, session: without(PASSES) };
    const wide = readModel(bytes);
    const { length } = wide.graph.nodes;
    await writeFile(join(folder, "wide"), wide.transform(widenConstants()).write());
    if (!(await run(folder, ["wide", "passed", without([FOLDING])]))) return null;
    const isNarrow = wide.graph.nodes.length < length;
    const ahead = tidied(await read("passed"), ...(isNarrow ? [packConstants(NARROWED)] : []));
    if (ahead.length > bytes.length * GROWTH) return null;
    await writeFile(join(folder, "ahead"), ahead);
    if (!(await run(folder, ["ahead", "both", without(PASSES)]))) return null;
    return operatorsOf(await read("both")) === operatorsOf(loaded) ? { bytes: ahead, session: without(PASSES) } : null;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes a model without its nodes' names. Not without what values are known of: by that a load is a third faster (name-dims.ts). */
function tidied(bytes: Uint8Array, ...transforms: Transform[]): Uint8Array<ArrayBuffer> {
  const model = readModel(bytes).transform(...transforms);
  for (const node of model.graph.nodes) [node.name, node.docString] = ["", ""];
  return model.write();
}

/** Has a file of the folder read, with session entries, and what becomes of it written to another. */
function run(
  folder: string,
  job: readonly [from: string, to: string, session: Readonly<Record<string, string>>],
): Promise<boolean> {
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-node");
  const child = spawn(process.execPath, ["-e", RUN, runtime, folder, JSON.stringify(job)], {
    stdio: "ignore",
    timeout: TIMEOUT_MS,
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve(code === 0);
    });
  });
}

/** Says how often each operator stands in a model. */
function operatorsOf(bytes: Uint8Array): string {
  const counts = new Map<string, number>();
  for (const { domain, opType } of readModel(bytes).graph.nodes) {
    const name = `${domain}.${opType}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .map(([name, count]) => `${count} ${name}`)
    .sort()
    .join(", ");
}
