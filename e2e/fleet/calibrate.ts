// `npm run fleet -- --calibrate`: measures how many requests a second servers on this machine answer with the 99th
// percentile within 100 ms: a real `selvedge serve`, and with `--triton` NVIDIA Triton from PyPI with the bundle as
// `selvedge export` writes it (its ONNX backend is one in Python). The sender is on the same machine, and takes its part
// of the cores.
//
// Beside other work a 99th percentile is that of the other work. Then the processor time of a request is measured, with
// the server saturated, and the rate is that of a machine of its own at a share of saturation, which is assumed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import type { Bundle } from "../../lib/core/bundle.ts";
import { exportBundle } from "../../lib/export/export.ts";
import { Random } from "../../lib/test-support/random.ts";
import { startExported } from "../support/engines.ts";
import { freePort } from "../support/free-port.ts";
import { machine } from "../support/origin.ts";
import { ROOT } from "../support/prepare.ts";
import { CALIBRATION_PATH, QUIET_LOAD, readCalibration } from "./measured.ts";
import type { Calibration, Rate } from "./measured.ts";
import { arrivals, searchRate, summarize } from "./search-rate.ts";
import type { AtRate } from "./search-rate.ts";

const P99_MS = 100;
/** Requests of a measurement, and the bounds of its time. */
const REQUESTS = 1_500;
const [LEAST_MS, MOST_MS] = [5_000, 12_000];
/** Rate at which the search begins. */
const START_PER_S = 8;
/** A request without an answer for so long has failed. */
const GIVEN_UP_MS = 5_000;
/** The same where the server is saturated. */
const PATIENT_MS = 60_000;

/** Requests that a saturated server has at once, and for how long. */
const [AT_ONCE, SATURATED_MS] = [64, 12_000];
/** Share of saturation at which the 99th percentile is taken to hold, where it can't be measured. */
const SHARE = 0.7;
/** Clock ticks a second of /proc, on every Linux that Node runs on. */
const TICKS_PER_S = 100;

interface Server {
  readonly pid: number;
  readonly engine: string;
  readonly version: string;
  readonly url: string;
  stop(): Promise<void>;
}

/** Measures models on servers, and writes calibration.json; entries of other models and servers stay. */
export async function calibrate(models: readonly string[], withTriton: boolean): Promise<void> {
  for (const model of models) {
    const folder = join(ROOT, "models/dist", model);
    const bundle = JSON.parse(readFileSync(join(folder, "bundle.json"), "utf8")) as Bundle;
    const body = bodyOf(bundle);
    const [shipped] = bundle.variants;
    if (shipped === undefined) continue;
    for (const start of withTriton ? [startSelvedge, startTriton] : [startSelvedge]) {
      const [load = 0] = loadavg();
      const server = await start(model, folder);
      try {
        const isQuiet = load <= QUIET_LOAD;
        const held = isQuiet
          ? await searchRate((rate) => measure(server.url, model, body, rate), {
              ...{ p99Ms: P99_MS, startPerS: START_PER_S },
            })
          : await measureTime(server, model, body);
        await write(model, shipped.id, shipped.wireBytes ?? 0, body.bytes.byteLength, {
          ...{ engine: server.engine, model, variant: "f32", p99Ms: P99_MS, by: isQuiet ? "p99" : "processor time" },
          ...{ ratePerS: rounded(held.ratePerS), medianMs: rounded(held.medianMs), version: server.version },
          ...{ date: new Date().toISOString(), machine: machine(), load: rounded(load) },
        });
        console.error(`${server.engine}, ${model}: ${held.ratePerS.toFixed(1)} requests/s`);
      } finally {
        await server.stop();
      }
    }
  }
}

async function startSelvedge(_: string, folder: string): Promise<Server> {
  const port = await freePort();
  const args = [join(ROOT, "lib/cli/bin.js"), "serve", folder, "--port", String(port), "--log-level", "error"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    const gone = child.exitCode === null ? once(child, "exit") : null;
    child.kill();
    await gone;
  };
  for (let tries = 0; !(await isReady(url)); tries += 1) {
    if (child.exitCode !== null || tries > 300) {
      await stop();
      throw new Error("selvedge serve did not start");
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { version } = (await (await fetch(`${url}/v2`)).json()) as { version: string };
  const { version: runtime } = JSON.parse(
    readFileSync(join(ROOT, "node_modules/onnxruntime-node/package.json"), "utf8"),
  ) as { version: string };
  const pid = child.pid ?? 0;
  return { engine: "selvedge serve", version: `${version}, ONNX Runtime ${runtime}`, url, stop, pid };
}

async function startTriton(model: string, folder: string): Promise<Server> {
  const out = join(ROOT, "e2e/.cache/fleet", model);
  await exportBundle("triton", folder, { out });
  const running = await startExported("triton", [model], out, await freePort());
  const { version } = (await (await fetch(`${running.url}/v2`)).json()) as { version: string };
  return {
    ...{ engine: "triton", version: `${version}, ONNX Runtime in its Python backend`, url: running.url },
    pid: running.pid,
    stop: () => running.stop(),
  };
}

async function isReady(url: string): Promise<boolean> {
  const reply = await fetch(`${url}/v2/health/ready`).catch(() => null);
  await reply?.arrayBuffer();
  return reply?.status === 200;
}

interface Body {
  readonly bytes: Uint8Array;
  readonly headerLength: number;
}

/** Returns a request of one row as bytes, with the sizes that the bundle names as usual. */
function bodyOf({ model }: Bundle): Body {
  const tensors = model.inputs.map(({ name, dtype, dims }) => {
    if (dtype !== "float32") throw new TypeError(`${model.name}: input ${name} is ${dtype}, not float32`);
    const shape = dims.map((x) => (typeof x === "number" ? x : (model.exampleDims?.[x] ?? 1)));
    return { name, shape, bytes: 4 * shape.reduce((product, x) => product * x, 1) };
  });
  const inputs = tensors.map(({ name, shape, bytes }) => {
    return { name, datatype: "FP32", shape, parameters: { binary_data_size: bytes } };
  });
  const header = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
  const values = tensors.map(({ bytes }) => {
    return Buffer.from(Float32Array.from({ length: bytes / 4 }, (_, i) => Math.sin(i)).buffer);
  });
  return { bytes: Buffer.concat([header, ...values]), headerLength: header.byteLength };
}

/** Sends random arrivals at a rate, and returns their times from when each was due. */
async function measure(url: string, model: string, body: Body, ratePerS: number): Promise<AtRate> {
  const forMs = Math.min(MOST_MS, Math.max(LEAST_MS, (REQUESTS / ratePerS) * 1_000));
  const due = arrivals(ratePerS, forMs, new Random(1));
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const sent: Promise<number>[] = [];
  const startMs = performance.now();
  for (const dueMs of due) {
    const waitMs = dueMs - (performance.now() - startMs);
    if (waitMs > 0.5) await new Promise((resolve) => setTimeout(resolve, waitMs));
    sent.push(
      post(`${url}/v2/models/${model}/infer`, agent, body).then((isAnswered) =>
        isAnswered ? performance.now() - startMs - dueMs : Infinity,
      ),
    );
    // A server that is far behind does not catch up.
    if (sent.length % 64 === 0) await new Promise(setImmediate);
  }
  const times = await Promise.all(sent);
  agent.destroy();
  return summarize(times);
}

/** Keeps a server saturated, and returns the rate by the processor time that a request takes. */
async function measureTime({ url, pid }: Server, model: string, body: Body): Promise<AtRate & { ratePerS: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const path = `${url}/v2/models/${model}/infer`;
  const times: number[] = [];
  const keep = async (endMs: number): Promise<void> => {
    while (performance.now() < endMs) {
      const startMs = performance.now();
      if (!(await post(path, agent, body, PATIENT_MS))) throw new Error(`${path}: a request failed`);
      times.push(performance.now() - startMs);
    }
  };
  const all = async (forMs: number): Promise<void> => {
    await Promise.all(Array.from({ length: AT_ONCE }, () => keep(performance.now() + forMs)));
  };
  // The scheduler learns the cost of batches first.
  await all(SATURATED_MS / 3);
  times.length = 0;
  const before = processorS(pid);
  await all(SATURATED_MS);
  const secondsEach = (processorS(pid) - before) / times.length;
  for (let i = 0; i < 100; i += 1) {
    const startMs = performance.now();
    await post(path, agent, body);
    times[i] = performance.now() - startMs;
  }
  agent.destroy();
  return { ...summarize(times.slice(0, 100)), ratePerS: (SHARE * availableParallelism()) / secondsEach };
}

/** Returns the processor time of a process and of its group, in seconds. Linux only. */
function processorS(pid: number): number {
  let ticks = 0;
  for (const id of readdirSync("/proc").filter((x) => /^\d+$/.test(x))) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${id}/stat`, "utf8");
    } catch {
      continue; // it has ended
    }
    const [, , group, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Of the fields from the state on: the group is the third, the times in user and kernel mode the 12th and 13th.
    if (Number(id) === pid || Number(group) === pid) ticks += Number(rest[8]) + Number(rest[9]);
  }
  return ticks / TICKS_PER_S;
}

function post(url: string, agent: Agent, { bytes, headerLength }: Body, timeout = GIVEN_UP_MS): Promise<boolean> {
  const headers = {
    "content-type": "application/octet-stream",
    "content-length": bytes.byteLength,
    "inference-header-content-length": headerLength,
  };
  return new Promise((resolve) => {
    const call = request(url, { method: "POST", agent, headers, timeout }, (reply) => {
      reply.resume().once("close", () => {
        resolve(reply.statusCode === 200 && reply.complete);
      });
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => {
      resolve(false);
    });
    call.end(bytes);
  });
}

async function write(model: string, variant: string, wireBytes: number, inputBytes: number, rate: Rate): Promise<void> {
  const { format, resolveConfig } = await import("prettier");
  const before = readCalibration();
  const rates = before.rates.filter((x) => x.model !== model || x.engine !== rate.engine);
  const next: Calibration = {
    note: "Written by `npm run fleet -- --calibrate`. `load` is the load average before. Entries by processor time were measured beside other work and are to be measured again on a quiet machine.",
    models: { ...before.models, [model]: { variant, wireBytes, inputBytes } },
    rates: [...rates, rate].sort((a, b) => `${a.engine} ${a.model}`.localeCompare(`${b.engine} ${b.model}`, "en")),
  };
  const options = await resolveConfig(CALIBRATION_PATH);
  writeFileSync(CALIBRATION_PATH, await format(JSON.stringify(next), { ...options, parser: "json" }));
}

function rounded(value: number): number {
  return Math.round(10 * value) / 10;
}
