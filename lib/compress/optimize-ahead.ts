// Has ONNX Runtime's graph passes run when a form is made, in place of at each load: they are half of what a load takes, and
// in Chromium what they leave to be compiled slows the first run down as well. For forms that run on wasm alone, since the
// passes write operators of ONNX Runtime's CPU.
//
// Constants are still folded while loading: folded ahead, weights that are stored in 8 bits would be stored in 32. Whether
// all comes to the same is checked: the operators that are left, with the passes ahead and folding after them, are those
// that a load would have left; else the form stays as it is. (ONNX Runtime's guide calls it the offline mode.)
//
// In a process of its own: ONNX Runtime 1.30 dies of a pass where a model is in float16 (session.ts).
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readModel } from "./onnx.ts";
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
/** So much larger a form may become: what a pass folds or splits is in the file then. */
const GROWTH = 1.01;

/** Writes what ONNX Runtime makes of a model, once for each list of passes that it is to leave out. */
const RUN = `
const [path, folder, lists] = process.argv.slice(1);
const { InferenceSession } = require(path);
(async () => {
  for (const [from, to, extra] of JSON.parse(lists)) {
    const session = await InferenceSession.create(folder + "/" + from, {
      executionProviders: ["cpu"], graphOptimizationLevel: "extended", optimizedModelFilePath: folder + "/" + to,
      logSeverityLevel: 4, extra,
    });
    await session.release();
  }
})().catch(() => process.exit(1));
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
    const lists = [
      ["form", "loaded", session],
      ["form", "ahead", without([FOLDING])],
      ["ahead", "both", without(PASSES)],
    ];
    if (!(await run(folder, lists))) return null;
    const [loaded, both] = [operatorsOf(await read("loaded")), operatorsOf(await read("both"))];
    if (loaded !== both) return null;
    const ahead = readModel(await read("ahead"));
    // Not what values are known of: by that a load is a third faster (name-dims.ts).
    for (const node of ahead.graph.nodes) [node.name, node.docString] = ["", ""];
    const written = ahead.write();
    return written.length > bytes.length * GROWTH ? null : { bytes: written, session: without(PASSES) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(folder: string, lists: unknown): Promise<boolean> {
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-node");
  const child = spawn(process.execPath, ["-e", RUN, runtime, folder, JSON.stringify(lists)], {
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
