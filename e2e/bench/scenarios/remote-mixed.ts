// A device of half the speed, and a server that is 40 ms away: the share of requests answered within their deadline by
// each alone and by both, at a rate that neither can answer alone; the copies that hedging sends; and the cost of the
// server, also at a rate that the device can answer. Each has one core of this machine: where they share them, each
// request that the device answers makes the server slower. The device's speed is that of a model which does its work
// twice (half-speed.ts); the way is a relay that holds back what passes, a process of its own on the server's core.
import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { offloadReport } from "../../../lib/observe/offload.ts";
import type { OffloadStats } from "../../../lib/observe/offload.ts";
import type { EngineOptions } from "../../../lib/index.ts";
import type { Input, MixedTold } from "../../pages/remote.ts";
import { keepOn } from "../../support/cores.ts";
import { writeHalfSpeed } from "../../support/half-speed.ts";
import { ROOT } from "../../support/prepare.ts";
import { startProcess, startServe } from "../../support/serve-process.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import { onceARound } from "../kernel/once-a-round.ts";
import type { OnceARound } from "../kernel/once-a-round.ts";
import type { Bench } from "../kernel/run.ts";
import { bundleFolder, call, isAsked, openPage } from "./remote-page.ts";
import type { Opened } from "./remote-page.ts";

const MODEL = "ocr-rec";
const INPUT: Input = { name: "x", dims: [1, 3, 48, 320] };
const FOLDER = "remote-half-speed";
const RELAY = ["--import", "tsx", join(ROOT, "e2e/bench/scenarios/slow-way.ts")];
/** Time that the way to the server adds to a round trip. */
const WAY_MS = 40;
/**
 * Loads that neither can answer alone, as a share of the server's rate, which is the higher one, each with a deadline: one
 * slightly above the time of the device's run, and one of twice that time.
 */
const FULL = [
  { share: 1.05, deadlineMs: 300 },
  { share: 1.25, deadlineMs: 600 },
] as const;
/** Load at which the cost of the server is compared. */
const [{ share: FULL_SHARE, deadlineMs: DEADLINE_MS }] = FULL;
/** Load that the device can answer, as a share of its rate. */
const LIGHT = 0.5;
const SAMPLE_MS = 6_000;
const CALIBRATE_MS = 3_000;
/** Requests of a sample that are sent one after the other. */
const IN_TURN = 5;
/** Requests that an engine has under way to a server: its default. */
const AT_ONCE = 2;
/** Price of a server that runs one request at a time. */
const PRICE = { pricePerServerHour: 0.5 } as const;

const [LOCAL, REMOTE, AUTO, HEDGED] = ["local only", "remote only", "auto", "auto with hedges"] as const;
const BETTER = "the better of both";
const OPTIONS: Readonly<Record<string, (endpoint: string) => EngineOptions>> = {
  [LOCAL]: (endpoint) => ({ placement: "local", remote: { endpoints: [endpoint] } }),
  [REMOTE]: (endpoint) => ({ placement: "remote", remote: { endpoints: [endpoint] } }),
  [AUTO]: (endpoint) => ({ placement: "auto", remote: { endpoints: [endpoint] } }),
  [HEDGED]: (endpoint) => ({ placement: "auto", remote: { endpoints: [endpoint], hedge: true } }),
};

const SINGLE = `mixed, ${MODEL}: one request after the other`;
const hitsName = (deadlineMs: number): string =>
  `mixed, ${MODEL}: answered within ${deadlineMs} ms, where neither side suffices`;
const COPIES = `mixed, ${MODEL}: copies that hedging sends`;
const COST = `mixed, ${MODEL}: cost of the server for 1,000 requests`;
const COST_FULL = `${COST}, where neither side suffices`;
const COST_LIGHT = `${COST}, where this device suffices`;

/** Yields the cases. */
export async function* mixedCases(bench: Bench): AsyncGenerator<Case> {
  const hitsNames = FULL.map(({ deadlineMs }) => hitsName(deadlineMs));
  if (!isAsked(bench, [SINGLE, ...hitsNames, COPIES, COST_FULL, COST_LIGHT])) return;
  const folder = join(ROOT, "e2e/.cache", FOLDER);
  mkdirSync(folder, { recursive: true });
  await writeHalfSpeed(bundleFolder(MODEL), join(folder, "bundle"));
  const { origin } = new URL(bench.url);
  const server = await startServe(bundleFolder(MODEL), "--origin", origin, "--lanes", "1", "--threads", "1");
  const way = await startProcess(...RELAY, server.url, String(WAY_MS / 2));
  const page = await openPage(bench);
  const cores = Array.from({ length: availableParallelism() }, (_, i) => i);
  try {
    if (cores.length < 2) throw new Error("device and server need a core each");
    keepOn([0]);
    for (const { pid } of [server, way]) keepOn([1], pid);
    for (const [name, options] of Object.entries(OPTIONS))
      await call(page, "open", name, `/corpus/${FOLDER}/bundle/bundle.json`, INPUT, options(way.url));
    yield* casesOf(bench, page);
  } finally {
    await page.close();
    await way.stop();
    await server.stop();
    keepOn(cores);
  }
}

async function* casesOf(bench: Bench, page: Opened): AsyncGenerator<Case> {
  yield {
    name: SINGLE,
    unit: "ms",
    statistic: "median",
    subjects: [LOCAL, REMOTE].map((name) => ({
      name,
      sample: async (slowBy) => sampleOf(name, (await call(page, "single", name, IN_TURN, slowBy)).ms),
    })),
    of: LOCAL,
    goals: [],
    control: LOCAL,
    rounds: bench.rounds(10),
  };
  const rateOf = async (name: string, atOnce: number): Promise<number> => {
    await call(page, "together", [{ name, atOnce }], CALIBRATE_MS);
    const [rate = 0] = await call(page, "together", [{ name, atOnce }], CALIBRATE_MS);
    return rate;
  };
  const [local, remote] = [await rateOf(LOCAL, 1), await rateOf(REMOTE, AT_ONCE)];
  const rounds = bench.rounds(6);
  // In the first round the engines learn what each side takes.
  const shared = { statistic: "mean", rounds, warmups: 1 } as const;
  const full = runs(page, "full", FULL_SHARE * remote, DEADLINE_MS);
  for (const { share, deadlineMs } of FULL) {
    const load = deadlineMs === DEADLINE_MS ? full : runs(page, `full ${deadlineMs}`, share * remote, deadlineMs);
    const better = onceARound(async (round) => {
      // One after the other: each is measured alone.
      const local = hits(await load(LOCAL).at(round));
      return Math.max(local, hits(await load(REMOTE).at(round)));
    });
    yield {
      ...shared,
      name: hitsName(deadlineMs),
      unit: "% on time",
      subjects: [
        ...[LOCAL, REMOTE, AUTO, HEDGED].map((name) => load(name).subject(name, (told) => sampleOf(name, hits(told)))),
        better.subject(BETTER, (value) => sampleOf(BETTER, value)),
      ],
      of: BETTER,
      goals: [AUTO, HEDGED].map((subject) => ({ subject, minus: BETTER, on: "value", atLeast: 5 })),
    };
  }
  yield {
    ...shared,
    name: COPIES,
    unit: "share of the requests",
    subjects: [full(HEDGED).subject(HEDGED, (told) => sampleOf(HEDGED, copies(told)))],
    goals: [{ subject: HEDGED, on: "value", atMost: 0.1 }],
  };
  const light = runs(page, "light", LIGHT * local, DEADLINE_MS);
  for (const [name, load] of [
    [COST_FULL, full],
    [COST_LIGHT, light],
  ] as const)
    yield {
      ...shared,
      name,
      unit: `at ${PRICE.pricePerServerHour} a server hour`,
      subjects: [REMOTE, AUTO].map((own) => load(own).subject(own, (told) => sampleOf(own, costPer1000(told)))),
      of: REMOTE,
      goals: [{ subject: AUTO, on: "ratio", atMost: 1 }],
    };
}

/** Returns a function that has the runs of an engine at a rate: the same arrivals for each engine, others in each round. */
function runs(page: Opened, seed: string, rate: number, deadlineMs: number): (name: string) => OnceARound<MixedTold> {
  const known = new Map<string, OnceARound<MixedTold>>();
  return (name) => {
    const own =
      known.get(name) ??
      onceARound((round) => call(page, "mixed", name, `${seed} ${round}`, rate, SAMPLE_MS, deadlineMs));
    known.set(name, own);
    return own;
  };
}

function sampleOf(name: string, value: number): Sample {
  const backend = { [LOCAL]: "wasm", [REMOTE]: "remote" }[name] ?? "wasm and remote";
  return { value, backend, model: MODEL, variant: "f32" };
}

function hits({ requests, onTime }: MixedTold): number {
  return (100 * onTime) / requests;
}

function copies({ requests, before, after }: MixedTold): number {
  return (after.hedges.sent - before.hedges.sent) / requests;
}

/** Returns the cost of a run by the engine's counters. */
function costPer1000({ before, after }: MixedTold): number {
  const own: OffloadStats = {
    ...after,
    local: { ...after.local, requests: after.local.requests - before.local.requests },
    remote: { ...after.remote, requests: after.remote.requests - before.remote.requests },
    server: { ...after.server, seconds: after.server.seconds - before.server.seconds },
  };
  return offloadReport(own, PRICE).costPer1000 ?? Number.NaN;
}
