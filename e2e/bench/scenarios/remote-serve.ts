// `selvedge serve` beside other servers, on the same cores, with the load generator beside them: the time of a request that
// is alone, and the highest rate at which 99 of 100 requests take at most 100 ms. With batches and without; ocr-rec and
// MiniLM beside Triton, KServe and MLServer, fashion-mlp beside the least that serves it. All have the same ONNX file and
// the same request, as bytes where they take them; before they are measured their answers are compared.
//
// Triton's wheel has no onnxruntime backend: its front end and its batches are real, ONNX runs in its Python backend.
// Triton gets an instance of one thread per core, as `selvedge serve` has its lanes; KServe and MLServer run one request at
// a time, with a thread per core.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Tensor } from "../../../lib/core/tensor.ts";
import { describe } from "../../../lib/compress/bundle/describe.ts";
import { writeBundle } from "../../../lib/compress/bundle/pack.ts";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import { exportBundle } from "../../../lib/export/export.ts";
import { datatypeOf } from "../../../lib/remote/datatypes.ts";
import { decodeReply } from "../../../lib/remote/decode.ts";
import { encodeRequest } from "../../../lib/remote/encode.ts";
import { writeData } from "../../../lib/remote/json-tensors.ts";
import { makeMiniLm } from "../../../models/minilm.ts";
import { startEngine, startExported } from "../../support/engines.ts";
import { freePort } from "../../support/free-port.ts";
import { highestRate, openSender } from "../../support/load-generator.ts";
import type { Sender } from "../../support/load-generator.ts";
import { ROOT } from "../../support/prepare.ts";
import { startProcess, startServe } from "../../support/serve-process.ts";
import type { Case, Goal, Subject } from "../kernel/kernel.ts";
import { onceARound } from "../kernel/once-a-round.ts";
import type { OnceARound } from "../kernel/once-a-round.ts";
import type { Bench } from "../kernel/run.ts";
import { bundleFolder, isAsked } from "./remote-page.ts";

const FOLDER = join(ROOT, "e2e/.cache/remote-serve");
const LIMIT_MS = 100;
/** Requests of a sample, one after the other. */
const SINGLE = 20;
const CORES = availableParallelism();
/** Largest difference of two servers' answers, relative to the largest value. */
const TOLERANCE = 1e-3;

const [SELVEDGE, ALONE] = ["selvedge serve", "selvedge serve, one at a time"] as const;
const BARE = "fastify and onnxruntime-node";
const TRITON = "Triton 2.51, ONNX in its Python backend";
const [KSERVE, MLSERVER] = ["KServe 0.21", "MLServer 1.7"] as const;
const BEST = "the best of the others";

/** A model, its request, and the servers beside `selvedge serve`. */
interface Item {
  readonly model: string;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly peers: readonly string[];
}

const TOKENS = [1, 32];
const ITEMS: readonly Item[] = [
  { model: "fashion-mlp", feeds: { image: picture(1, 1, 28, 28) }, peers: [BARE] },
  { model: "ocr-rec", feeds: { x: picture(1, 3, 48, 320) }, peers: [TRITON, KSERVE, MLSERVER] },
  {
    model: "minilm",
    feeds: {
      input_ids: tokens((i) => 1_000 + 37 * i),
      attention_mask: tokens(() => 1),
      token_type_ids: tokens(() => 0),
    },
    peers: [TRITON, KSERVE, MLSERVER],
  },
];

const singleOf = ({ model }: Item): string => `serve, ${model}: one request after the other`;
const rateOf = ({ model }: Item): string => `serve, ${model}: 99 of 100 within ${LIMIT_MS} ms`;
const batchesOf = (item: Item): string => `${rateOf(item)}, batches beside one at a time`;

/** Yields the cases. */
export async function* serveCases(bench: Bench): AsyncGenerator<Case> {
  for (const item of ITEMS) {
    if (
      !isAsked(
        bench,
        [singleOf, rateOf, batchesOf].map((nameOf) => nameOf(item)),
      )
    )
      continue;
    const servers = await start(item);
    try {
      yield* casesOf(bench, item, servers);
    } finally {
      for (const { sender, stop } of servers.values()) {
        sender.close();
        await stop();
      }
    }
  }
}

/** A server that runs, and the connections to it. */
interface Server {
  readonly sender: Sender;
  stop(): Promise<void>;
}

async function* casesOf(bench: Bench, item: Item, servers: ReadonlyMap<string, Server>): AsyncGenerator<Case> {
  await checkAnswers(servers);
  const names = [...servers.keys()];
  const { model, peers } = item;
  const ran = { backend: "remote", model, variant: "f32" };
  const single = async ({ sender }: Server, slowBy: number): Promise<number> => {
    const startMs = performance.now();
    for (let i = 0; i < SINGLE; i += 1) {
      const ownMs = performance.now();
      await sender.send();
      for (const endMs = performance.now() + slowBy * (performance.now() - ownMs); performance.now() < endMs;);
    }
    return (performance.now() - startMs) / SINGLE;
  };
  const [first = BARE] = peers;
  yield {
    name: singleOf(item),
    unit: "ms",
    statistic: "median",
    subjects: names.map((name) => ({
      name,
      sample: async (slowBy) => ({ ...ran, value: await single(servers.get(name) as Server, slowBy) }),
    })),
    of: first,
    goals: [],
    control: SELVEDGE,
    rounds: bench.rounds(10),
    warmups: 2,
  };
  const rates = new Map(
    [...servers].map(([name, { sender }]) => [
      name,
      onceARound((round) => highestRate(sender, `${model} ${round}`, LIMIT_MS)),
    ]),
  );
  const get = (name: string): OnceARound<number> => rates.get(name) as OnceARound<number>;
  // The best one of each round: above the round's best server, chance favours it.
  const best = onceARound(async (round) => {
    const all: number[] = [];
    for (const name of peers) all.push(await get(name).at(round));
    return Math.max(...all);
  });
  const subject = (name: string): Subject => get(name).subject(name, (value) => ({ ...ran, value }));
  const shared = { unit: "requests/s", statistic: "median", rounds: bench.rounds(5), warmups: 0 } as const;
  const of = peers.length > 1 ? BEST : first;
  const goal: Goal = { subject: SELVEDGE, on: "ratio", atLeast: 0.9 };
  yield {
    ...shared,
    name: rateOf(item),
    subjects: [...names.map(subject), ...(of === BEST ? [best.subject(BEST, (value) => ({ ...ran, value }))] : [])],
    of,
    goals: [goal],
  };
  // The same samples, since a row has one ratio.
  yield {
    ...shared,
    name: batchesOf(item),
    subjects: [SELVEDGE, ALONE].map(subject),
    of: ALONE,
    goals: [{ subject: SELVEDGE, on: "ratio", atLeast: 1, byInterval: true }],
  };
}

/** Starts all servers of a model. */
async function start(item: Item): Promise<Map<string, Server>> {
  const { model, peers } = item;
  const bundle = model === "minilm" ? await writeMiniLm() : bundleFolder(model);
  const onnx = await readVariantModel(bundle, "f32");
  const servers = new Map<string, Server>();
  const add = (name: string, { url, stop }: { url: string; stop(): Promise<void> }): void => {
    servers.set(name, { sender: senderOf(url, item, name === MLSERVER), stop: () => stop() });
  };
  const folderOf = (name: string): string => join(FOLDER, `${model}-${name}`);
  try {
    add(SELVEDGE, await startServe(bundle));
    add(ALONE, await startServe(bundle, "--max-batch", "1"));
    for (const name of peers) {
      if (name === BARE) {
        mkdirSync(FOLDER, { recursive: true });
        const path = `${folderOf("bare")}.onnx`;
        writeFileSync(path, onnx);
        const script = join(import.meta.dirname, "bare-fastify.ts");
        add(name, await startProcess("--import", "tsx", script, model, path));
      } else if (name === TRITON) {
        const out = folderOf("triton");
        rmSync(out, { recursive: true, force: true });
        await exportBundle("triton", bundle, { out, instances: CORES });
        add(name, await startExported("triton", [model], out, await freePort()));
      } else {
        const engine = name === KSERVE ? "kserve" : "mlserver";
        const folder = folderOf(engine);
        add(name, await startEngine(engine, { [model]: onnx }, folder, await freePort(), CORES));
      }
    }
  } catch (error) {
    for (const { stop } of servers.values()) await stop();
    throw error;
  }
  return servers;
}

/** Opens connections for a model's request, as bytes or in JSON. */
function senderOf(url: string, { model, feeds }: Item, isJson: boolean): Sender {
  const inputs = Object.entries(feeds).map(([name, tensor]) => ({ name, datatype: datatypeOf(tensor.dtype), tensor }));
  const request = { id: "bench", inputs, outputs: undefined };
  const { body, headerLength } = encodeRequest(request, isJson ? { writeData } : null);
  const headers = {
    "content-type": isJson ? "application/json" : "application/octet-stream",
    ...(headerLength !== null && { "inference-header-content-length": String(headerLength) }),
  };
  return openSender({ url: `${url}/v2/models/${model}/infer`, headers, body });
}

/** Throws where a server's answer is another than that of the first. */
async function checkAnswers(servers: ReadonlyMap<string, Server>): Promise<void> {
  let first: readonly number[] | null = null;
  for (const [name, { sender }] of servers) {
    const { bytes, headers } = await sender.send();
    const length = headers["inference-header-content-length"];
    const { outputs } = await decodeReply(new Uint8Array(bytes), typeof length === "string" ? length : null);
    const values = [...(outputs[0]?.tensor.data as Float32Array)];
    first ??= values;
    const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const other = first;
    const difference = values.reduce((most, x, i) => Math.max(most, Math.abs(x - (other[i] ?? Number.NaN))), 0);
    if (values.length !== first.length || !(difference <= TOLERANCE * largest))
      throw new Error(`${name} answers differently: by ${difference} of ${largest}`);
  }
}

/** Writes the bundle of all-MiniLM-L6-v2 in float32; returns its folder. */
async function writeMiniLm(): Promise<string> {
  const model = readModel(new Uint8Array(readFileSync(join(await makeMiniLm(), "onnx/model.onnx"))));
  const folder = join(FOLDER, "minilm");
  mkdirSync(FOLDER, { recursive: true });
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  await writeBundle(folder, { model: await describe(model, "minilm.onnx", undefined), variants });
  return folder;
}

function picture(...dims: number[]): Tensor {
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.37));
  return { dtype: "float32", dims, data };
}

function tokens(id: (at: number) => number): Tensor {
  const [, length = 0] = TOKENS;
  return { dtype: "int64", dims: TOKENS, data: BigInt64Array.from({ length }, (_, i) => BigInt(id(i))) };
}
