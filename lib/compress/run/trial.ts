// The first load and the first runs of a given model, in a process of its own. ONNX Runtime checks a model as it loads
// it, but not all that its kernels take for granted: on some models it crashes, and with it the process that it runs in.
// Here that process ends alone, and the error names the node. Found by halving: the first nodes of the model are run
// until one of them makes the difference.
import { SelvedgeError } from "../../core/errors.ts";
import { create } from "@bufbuild/protobuf";
import { uses } from "../onnx/graph.ts";
import { readModelFile } from "../onnx/model-file.ts";
import { decodeModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { ValueInfoProtoSchema } from "../onnx/onnx.gen.js";
import type { NodeProto } from "../onnx/onnx.gen.js";
import { LARGE_BYTES } from "../onnx/stored-bytes.ts";
import { labelOf } from "../onnx/tensors-in.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import type { Feed } from "./feeds.ts";
import { CrashError } from "./model-process.ts";
import type { Outputs } from "./metric.ts";
import { isLarge } from "./ort-session.ts";
import { openModel } from "./session.ts";
import type { LoadedModel } from "./session.ts";

/**
 * Opens a user's model on onnxruntime-node's CPU, in a process of its own.
 * @param path - of its file, for the error
 * @throws SelvedgeError `model-invalid` where it crashes, now or in a later run
 */
export async function openTrial(source: OnnxSource, path?: string): Promise<LoadedModel> {
  const tried = async <T>(work: Promise<T>, feed?: Feed): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw error instanceof CrashError ? await crashed({ source, path, feed }, error) : error;
    }
  };
  const model = await tried(openApart(source));
  return {
    ...model,
    run: (feed) => tried(model.run(feed), feed),
    runTensors: (feed) => tried(model.runTensors(feed), feed),
  };
}

/** Runs a model on every feed, as `openTrial` does. */
export async function runTrial(source: OnnxSource, feeds: readonly Feed[]): Promise<Outputs[]> {
  const model = await openTrial(source);
  try {
    const outputs: Outputs[] = [];
    for (const feed of feeds) outputs.push(await model.run(feed));
    return outputs;
  } finally {
    await model.release();
  }
}

/**
 * Loads a model once, and runs it where there is a feed, before it is used in this process; a large one never is. Errors
 * other than a crash are left to its use, which reports them.
 * @throws SelvedgeError `model-invalid` where it crashes
 */
export async function tryModel(
  source: OnnxSource,
  { path, feed }: { readonly path: string; readonly feed?: Feed | undefined },
): Promise<void> {
  if (isLarge(source)) return;
  let model: LoadedModel | undefined;
  try {
    model = await openTrial(source, path);
    if (feed !== undefined) await model.run(feed);
  } catch (error) {
    if (isCrash(error)) throw error;
  } finally {
    await model?.release();
  }
}

/** Whether an error is that of a trial that crashed. */
export function isCrash(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof CrashError;
}

function openApart(source: OnnxSource): Promise<LoadedModel> {
  return openModel(source, "cpu", {}, { isApart: true });
}

/** A load, or the run of a feed. */
interface TrialJob {
  readonly source: OnnxSource;
  readonly path: string | undefined;
  readonly feed: Feed | undefined;
}

async function crashed({ source, path, feed }: TrialJob, cause: CrashError): Promise<SelvedgeError> {
  const node = await nodeAtFault(source, feed);
  const which = path === undefined ? "" : `${path}: `;
  const where = node === undefined ? "" : ` at ${labelOf(node)}`;
  return new SelvedgeError(
    "model-invalid",
    `${which}ONNX Runtime crashes (${cause.signal}) as it ${feed === undefined ? "loads" : "runs"} the model${where}: export it with all inputs of its operators, or with other operators`,
    {},
    cause,
  );
}

/** Finds the node at which a model crashes; undefined for a large one, and where it does not crash again. */
async function nodeAtFault(source: OnnxSource, feed: Feed | undefined): Promise<NodeProto | undefined> {
  const model = typeof source === "string" ? readModelFile(source) : decodeModel(source);
  const { nodes } = model.graph;
  if (model.byteLength >= LARGE_BYTES || !(await isCrashing(firstNodes(model, nodes.length), feed))) return undefined;
  let [running, crashing] = [0, nodes.length];
  while (crashing - running > 1) {
    const count = Math.floor((running + crashing) / 2);
    if (await isCrashing(firstNodes(model, count), feed)) crashing = count;
    else running = count;
  }
  return nodes[crashing - 1];
}

async function isCrashing(model: OnnxModel, feed: Feed | undefined): Promise<boolean> {
  let loaded: LoadedModel | undefined;
  try {
    loaded = await openApart(model.write());
    if (feed !== undefined) await loaded.run(feed);
    return false;
  } catch (error) {
    return error instanceof CrashError;
  } finally {
    await loaded?.release();
  }
}

/** Returns a model of the first nodes, with all that no other of them reads as its outputs. */
function firstNodes(model: OnnxModel, count: number): OnnxModel {
  const copy = model.copy();
  const { proto } = copy.graph;
  proto.node = proto.node.slice(0, count);
  const read = new Set(proto.node.flatMap((node) => [...uses(node)]));
  const known = new Map(proto.output.map((x) => [x.name, x]));
  const made = proto.node.flatMap((node) => node.output);
  proto.valueInfo = proto.valueInfo.filter((x) => made.includes(x.name));
  proto.output = made
    .filter((name) => name !== "" && (!read.has(name) || known.has(name)))
    .map((name) => known.get(name) ?? create(ValueInfoProtoSchema, { name }));
  return copy;
}
