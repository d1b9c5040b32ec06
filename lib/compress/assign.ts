// Tells where the operators of a model run, from ONNX Runtime's own log, in Node: onnxruntime-node has a WebGPU provider
// too, and takes the same decisions as the browser builds. The log goes to the process's standard error, hence a process
// of its own for each model.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assignmentFromLog } from "../backend/assignment.ts";
import type { Assignment } from "../bundle.ts";
import { SelvedgeError } from "../errors.ts";

const PROVIDERS = { webgpu: "webgpu", wasm: "cpu" } as const;
const TIMEOUT_MS = 120_000;

/** Loads the model at argv[2] and ends; the module onnxruntime-node is named by argv[1]. */
const LOAD = `
const [runtime, path, provider, extra] = process.argv.slice(1);
require(runtime).InferenceSession.create(path, {
  executionProviders: [provider], logSeverityLevel: 0, logVerbosityLevel: 0, extra: JSON.parse(extra),
}).then(() => process.exit(0), (error) => { console.error(error.message); process.exit(1); });
`;

/**
 * Counts the operators of a model by where they run. Needs the package onnxruntime-node and, for `webgpu`, a Vulkan, Metal
 * or Direct3D adapter; a software one decides the same.
 * @throws SelvedgeError `no-backend` where the model could not be loaded on that backend.
 */
export async function assign(
  bytes: Uint8Array,
  backend: "webgpu" | "wasm",
  session: Readonly<Record<string, string>> = {},
): Promise<Assignment> {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-assign-"));
  try {
    const path = join(folder, "model.onnx");
    await writeFile(path, bytes);
    const { code, log } = await load(path, backend, session);
    const assignment = code === 0 ? assignmentFromLog(log.split("\n"), backend) : null;
    if (assignment === null) {
      const message = `onnxruntime-node did not load the model on ${backend}`;
      throw new SelvedgeError("no-backend", message, {
        backend,
        exit: code ?? "ended by a signal",
        log: log.slice(-2000),
      });
    }
    return assignment;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function load(
  path: string,
  backend: "webgpu" | "wasm",
  session: Readonly<Record<string, string>>,
): Promise<{ code: number | null; log: string }> {
  const runtime = createRequire(import.meta.url).resolve("onnxruntime-node");
  const args = ["-e", LOAD, runtime, path, PROVIDERS[backend], JSON.stringify(session)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], timeout: TIMEOUT_MS });
  const parts: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => parts.push(part));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, log: Buffer.concat(parts).toString("utf8") }));
  });
}
