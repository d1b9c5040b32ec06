// `selvedge serve` under many requests and many connections, as a process of its own: its memory stays as it is, and no
// request is lost. 100,000 requests in the soak, 3,000 in `npm test`.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { describe } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { twoLayers } from "../test-support/compress/fixtures.ts";
import { opened } from "../test-support/open-socket.ts";

const IS_SOAK = process.env["SELVEDGE_SOAK"] === "1";
const REQUESTS = IS_SOAK ? 100_000 : 2_000;
/** Requests after which the process has grown to its size. */
const WARM = IS_SOAK ? 25_000 : 1_000;
/** Growth after that, in MB: V8 sizes its heap over some ten thousand requests, then it stays. */
const GROWTH_MAX_MB = IS_SOAK ? 24 : 96;
const CONNECTIONS = 1_000;
const BODY = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 64], data: Array(64).fill(0.5) }] });

let folder: string;
let child: ChildProcess;
let url = "";
let errors = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-serve-load-"));
  const model = twoLayers({ opset: 17, inputs: 64, units: 32, outputs: 10 });
  const description = await describe(model, "layers.onnx", undefined);
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  await writeBundle(join(folder, "bundle"), { model: description, variants });
  const words = ["serve", join(folder, "bundle"), "--port", "0", "--log-level", "error"];
  child = spawn(process.execPath, [join(import.meta.dirname, "bin.js"), ...words], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr?.on("data", (part) => (errors += String(part)));
  const ready = async (): Promise<void> => {
    url = /listening on (\S+)/.exec(errors)?.[1] ?? "";
    expect((await fetch(`${url}/v2/health/ready`)).status).toBe(200);
  };
  await vi.waitFor(ready, { timeout: 50_000, interval: 50 });
}, 60_000);

afterAll(async () => {
  child.kill();
  if (child.exitCode === null) await once(child, "exit");
  rmSync(folder, { recursive: true, force: true });
});

/** Sends a request over an agent's connections; returns its status. */
function post(agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}/v2/models/layers/infer`, { method: "POST", agent }, (reply) => {
      reply.on("error", reject).on("end", () => {
        resolve(reply.statusCode);
      });
      reply.resume();
    });
    call.on("error", reject).end(BODY);
  });
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

test(`its memory is flat over ${REQUESTS} requests`, async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const send = async (count: number): Promise<void> => {
    let left = count;
    const work = async (): Promise<void> => {
      while (left-- > 0) expect(await post(agent)).toBe(200);
    };
    await Promise.all(Array.from({ length: 16 }, work));
  };
  const sizes: number[] = [];
  await send(WARM);
  for (let part = 0; part < 4; part += 1) {
    sizes.push((await metric("process_resident_memory_bytes")) / 1e6);
    await send(REQUESTS / 4);
  }
  sizes.push((await metric("process_resident_memory_bytes")) / 1e6);
  agent.destroy();
  const [first = 0] = sizes;
  print(`resident after each quarter of ${REQUESTS} requests, MB: ${sizes.map((x) => x.toFixed(0)).join(" ")}`);
  expect((sizes.at(-1) ?? Infinity) - first).toBeLessThan(GROWTH_MAX_MB);
  expect(errors).not.toContain("Warning");
}, 900_000);

/** Sends a request on a connection of its own; returns the status, or how the connection ended. */
function status(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (part) => {
      text += part.toString("latin1");
      if (text.includes("\r\n\r\n")) resolve(text.slice(9, 12));
    });
    socket.on("error", (error) => {
      resolve(error.message);
    });
    socket.on("close", () => {
      resolve("closed");
    });
    const head = `POST /v2/models/layers/infer HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY.length}\r\n\r\n`;
    socket.write(head + BODY);
  });
}

test(`${CONNECTIONS} open connections that send at once are each answered, or told that the server is busy`, async () => {
  const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => opened(url)));
  const before = (await metric('selvedge_requests_total\\{model="layers",status="200"\\}')) || 0;
  for (let round = 0; round < 2; round += 1) {
    const found = await Promise.all(sockets.map(status));
    const count = (own: string): number => found.filter((x) => x === own).length;
    expect([...new Set(found)].filter((x) => !["200", "429", "503"].includes(x))).toEqual([]);
    expect(count("200")).toBeGreaterThan(0);
    print(
      `${CONNECTIONS} connections: ${count("200")} answered, ${count("429")} of status 429, ${count("503")} of 503`,
    );
    for (const socket of sockets) socket.removeAllListeners();
  }
  expect(await metric('selvedge_requests_total\\{model="layers",status="200"\\}')).toBeGreaterThan(before);
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => metric("selvedge_pending_requests")).toBe(0);
  const agent = new Agent();
  expect(await post(agent)).toBe(200);
  agent.destroy();
}, 60_000);
