// Memory of a load: the peak and the settled memory of the browser's processes above the idle page with its runtime
// started, and the time to load. Bare models of random numbers, whose files have the size that a row names, from loopback
// into a new profile; and once more in that profile by a browser that was started anew, "from the store". Beside ONNX
// Runtime Web by URL, which stores nothing, and transformers.js with its cache. Selvedge alone hashes what it fetches.
import { statSync } from "node:fs";
import type { MemoryName } from "../../pages/memory.ts";
import { hubPath, memoryOf, withProfile } from "../../support/memory-page.ts";
import { layersOf, STACK_KINDS, writeStack } from "../../support/stack-model.ts";
import type { StackKind } from "../../support/stack-model.ts";
import type { Case, Sample, Subject } from "../kernel/kernel.ts";
import { onceARound } from "../kernel/once-a-round.ts";
import type { Bench } from "../kernel/run.ts";

const PEERS = ["onnxruntime-web by url", "transformers.js"] as const satisfies readonly MemoryName[];
/** Sizes of the files in MB. */
const SIZES = [200, 50, 600] as const;
/** The size whose peak has a goal in bytes: 1.5 times the file and 40 MB. */
const GOAL_SIZE = 200;
/** The size that is loaded over a line of 100 Mbit/s, too. */
const LINE_SIZE = 50;

/** A load; memory as a multiple of the file. */
interface Load {
  readonly peak: number;
  readonly settled: number;
  readonly ms: number;
}

/** The loads of two visits. */
interface Visits {
  readonly first: Load;
  readonly second: Load;
}

/** Measures: unit, how it is read, and the most that it may be of a peer's. */
const MEASURES = {
  peak: ["times the file", (x: Load) => x.peak, 0.5],
  settled: ["times the file", (x: Load) => x.settled, 1],
  "time to load": ["ms", (x: Load) => x.ms, 1],
} as const;

/** A model on a backend. */
interface Loaded {
  readonly name: string;
  readonly model: string;
  readonly kind: StackKind;
  readonly bytes: number;
  readonly backend: "wasm" | "webgpu";
}

/** Yields the cases. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  let isFirst = true;
  for (const size of SIZES)
    for (const kind of STACK_KINDS)
      for (const backend of ["wasm", "webgpu"] as const) {
        const name = `${kind} of ${size} MB, ${backend}`;
        if (!name.includes(bench.only)) continue;
        const model = `${kind}-${size}`;
        const path = hubPath(model);
        writeStack(path, kind, layersOf(size * 1e6, kind));
        const loaded = { name, model, kind, bytes: statSync(path).size, backend };
        for await (const item of casesOf(bench, loaded, size)) {
          yield { ...item, ...(isFirst && { control: "selvedge" }) };
          isFirst = false;
        }
      }
}

async function* casesOf(bench: Bench, loaded: Loaded, size: number): AsyncGenerator<Case> {
  const base = { statistic: "median", rounds: bench.rounds(3), warmups: 0 } as const;
  const { subject, peers } = await subjectsOf(bench, loaded);
  for (const [when, loadOf] of [
    ["", (x: Visits) => x.first],
    [", from the store", (x: Visits) => x.second],
  ] as const) {
    const name = loaded.name + when;
    for (const [what, [unit, read, atMost]] of Object.entries(MEASURES))
      for (const [i, peer] of peers.entries())
        yield {
          ...{ ...base, name: `${name}: ${what}${i === 0 ? "" : ` beside ${peer}`}`, unit, of: peer },
          subjects: [...(i === 0 ? peers : [peer]), "selvedge" as const].map((x) => subject(x, (y) => read(loadOf(y)))),
          goals: [{ subject: "selvedge", on: "ratio", atMost }],
        };
    yield {
      ...{ ...base, name: `${name}: peak beyond 1.5 times the file`, unit: "MB" },
      subjects: [subject("selvedge", (x) => ((loadOf(x).peak - 1.5) * loaded.bytes) / 1e6)],
      goals: size === GOAL_SIZE ? [{ subject: "selvedge", on: "value", atMost: 40 }] : [],
    };
  }
  if (size !== LINE_SIZE) return;
  const slow = await subjectsOf(bench, loaded, "line");
  for (const [i, peer] of slow.peers.entries())
    yield {
      ...{ ...base, name: `${loaded.name}, 100 Mbit/s: time to load${i === 0 ? "" : ` beside ${peer}`}`, unit: "ms" },
      ...{ of: peer, goals: [{ subject: "selvedge", on: "ratio", atMost: 1 }] },
      subjects: [...(i === 0 ? slow.peers : [peer]), "selvedge" as const].map((x) =>
        slow.subject(x, (y) => y.first.ms),
      ),
    };
}

/** The subjects that can load a model. */
interface Subjects {
  readonly peers: readonly MemoryName[];
  readonly subject: (name: MemoryName, read: (visits: Visits) => number) => Subject;
}

/** Returns the subjects, each with one measurement a round for all cases; a peer that fails in the first is left out. */
async function subjectsOf(bench: Bench, loaded: Loaded, way: "memory" | "line" = "memory"): Promise<Subjects> {
  const measure = (name: MemoryName, slowBy = 0, heldBytes = 0): Promise<Visits> =>
    visit(bench, name, loaded, way, slowBy, heldBytes);
  const rounds = new Map(
    ([...PEERS, "selvedge"] as const).map((name) => [name, onceARound(() => measure(name))] as const),
  );
  const peers: MemoryName[] = [];
  for (const name of PEERS)
    await rounds
      .get(name)
      ?.at(0)
      .then(
        () => peers.push(name),
        (error: unknown) => console.log(`${loaded.name}: ${name} does not load it: ${String(error)}`),
      );
  const subject: Subjects["subject"] = (name, read) => {
    const once = rounds.get(name);
    if (once === undefined) throw new TypeError(name);
    const sampleOf = (visits: Visits): Sample => {
      const { backend, model, kind } = loaded;
      return { value: read(visits), backend, model, variant: kind };
    };
    const usual = once.subject(name, sampleOf);
    const sample = async (slowBy: number): Promise<Sample> => {
      if (slowBy === 0) return usual.sample(0);
      const { first } = await once.at(0);
      return sampleOf(await measure(name, slowBy, Math.round(slowBy * first.peak * loaded.bytes)));
    };
    return { name, sample };
  };
  return { peers, subject };
}

/** Loads in a new profile, and once more in it. */
function visit(
  bench: Bench,
  name: MemoryName,
  { model, bytes, backend }: Loaded,
  way: "memory" | "line",
  slowBy: number,
  heldBytes: number,
): Promise<Visits> {
  const url = `/${way}/${model}/onnx/model.onnx`;
  return withProfile(async (profile) => {
    const load = async (isStored: boolean): Promise<Load> => {
      const measured = await memoryOf(
        bench,
        { name, backend, profile },
        async (call) => {
          await call("hold", heldBytes);
          return call<number>("load", url, slowBy);
        },
        async (call) => {
          // Before the idle page is measured: the question sends a HEAD request and loads nothing.
          if (name !== "selvedge" || isStored === (await call("isStored", url))) return;
          throw new Error(`${url} is ${isStored ? "not " : ""}stored`);
        },
      );
      return { peak: measured.peakBytes / bytes, settled: measured.settledBytes / bytes, ms: measured.result };
    };
    const first = await load(false);
    const hasSecond = way === "memory" && name !== PEERS[0] && slowBy === 0;
    return { first, second: hasSecond ? await load(true) : first };
  });
}
