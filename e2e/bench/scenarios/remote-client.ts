// The client's cost: `model.run` with placement "remote" beside a bare fetch that sends the same bytes to the same server
// and reads the answer's, and one in a worker, which is the bound of a client that is not on the page's thread; tensors as
// JSON beside tensors as bytes.
import { encodeRequest } from "../../../lib/remote/encode.ts";
import { startServe } from "../../support/serve-process.ts";
import type { Input } from "../../pages/remote.ts";
import type { Case } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { bundleFolder, call, isAsked, openPage } from "./remote-page.ts";
import type { Opened } from "./remote-page.ts";

/** A model, and the number of its requests in a sample. */
interface Item {
  readonly model: string;
  readonly input: Input;
  readonly count: number;
  readonly rounds: number;
}

const ITEMS: readonly Item[] = [
  { model: "fashion-mlp", input: { name: "image", dims: [1, 1, 28, 28] }, count: 50, rounds: 24 },
  { model: "ocr-rec", input: { name: "x", dims: [1, 3, 48, 320] }, count: 6, rounds: 24 },
];
const FETCH = "fetch of the same bytes";
const IN_WORKER = "fetch of the same bytes in a worker";
const [BYTES, JSON_TEXT] = ["selvedge", "selvedge, JSON"] as const;
/** Length of an id that the client chooses, and the most by which a request's length may differ for it. */
const ID = 11;
const ID_SPREAD = 4;

const costOf = ({ model }: Item): string => `client, ${model}: one request`;
const formOf = ({ model }: Item): string => `client, ${model}: JSON beside bytes`;
const sizeOf = ({ model }: Item): string => `client, ${model}: bytes of a request and its answer`;
const namesOf = (item: Item): string[] => [costOf(item), formOf(item), sizeOf(item)];

/** Yields the cases. */
export async function* clientCases(bench: Bench): AsyncGenerator<Case> {
  const items = ITEMS.filter((item) => isAsked(bench, namesOf(item)));
  if (items.length === 0) return;
  const { origin } = new URL(bench.url);
  const server = await startServe(...ITEMS.map(({ model }) => bundleFolder(model)), "--origin", origin);
  const page = await openPage(bench);
  try {
    for (const item of items) yield* casesOf(bench, page, server.url, item);
  } finally {
    await page.close();
    await server.stop();
  }
}

async function* casesOf(bench: Bench, page: Opened, endpoint: string, item: Item): AsyncGenerator<Case> {
  const { model, input, count } = item;
  const engines = { [BYTES]: "always", [JSON_TEXT]: "never" } as const;
  for (const [name, binary] of Object.entries(engines))
    await call(page, "open", name, `/models/${model}/bundle.json`, input, {
      placement: "remote",
      remote: { endpoints: [endpoint], binary },
    });
  const bare = { url: `${endpoint}/v2/models/${model}/infer`, head: headOf(input) };
  const { sent, bare: bareBytes } = await call(page, "bytes", BYTES, bare);
  if (Math.abs(sent - bareBytes) > ID_SPREAD) throw new Error(`the engine sends ${sent} bytes, the fetch ${bareBytes}`);
  const ran = { backend: "remote", model, variant: "f32" };
  const run = async (name: string, slowBy = 0): Promise<typeof ran & { value: number }> => {
    const { ms, backend, variant } = await call(page, "single", name, count, slowBy);
    return { value: ms, backend, model, variant };
  };
  const rounds = bench.rounds(item.rounds);
  yield {
    name: costOf(item),
    unit: "ms",
    statistic: "median",
    subjects: [
      {
        name: FETCH,
        sample: async (slowBy) => ({ ...ran, value: await call(page, "fetched", bare, input, count, slowBy) }),
      },
      {
        name: IN_WORKER,
        sample: async (slowBy) => ({ ...ran, value: await call(page, "fetchedInWorker", bare, input, count, slowBy) }),
      },
      { name: BYTES, sample: (slowBy) => run(BYTES, slowBy) },
    ],
    of: FETCH,
    goals: [{ subject: BYTES, on: "ratio", atMost: 1.1 }],
    control: FETCH,
    rounds,
    warmups: 3,
  };
  yield {
    name: formOf(item),
    unit: "ms",
    statistic: "median",
    subjects: [JSON_TEXT, BYTES].map((name) => ({ name, sample: (slowBy) => run(name, slowBy) })),
    of: JSON_TEXT,
    goals: [],
    control: BYTES,
    rounds: Math.ceil(rounds / 2),
  };
  yield {
    name: sizeOf(item),
    unit: "bytes",
    statistic: "max",
    subjects: [JSON_TEXT, BYTES].map((name) => ({
      name,
      sample: async () => ({ ...ran, value: (await call(page, "bytes", name, bare)).engine }),
    })),
    of: JSON_TEXT,
    goals: [],
    rounds: 1,
    warmups: 0,
  };
  for (const name of Object.keys(engines)) await call(page, "close", name);
}

/** Returns the JSON in front of an input's bytes, as the client writes it. */
function headOf({ name, dims }: Input): string {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  const inputs = [{ name, datatype: "FP32", tensor: { dtype: "float32", dims, data } }] as const;
  const { body, headerLength } = encodeRequest({ id: "0".repeat(ID), inputs, outputs: undefined }, null);
  return new TextDecoder().decode(body.subarray(0, headerLength ?? 0));
}
