// Starts real inference servers for tests: NVIDIA Triton, KServe and MLServer, from PyPI with the pins of e2e/servers,
// on 127.0.0.1, on processors. Each is installed once, into a virtual environment in e2e/.cache that its pins name.
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "./free-port.ts";
import { withLock } from "./lock.ts";
import { ROOT } from "./prepare.ts";

const SERVERS = join(ROOT, "e2e/servers");
const CACHE = join(ROOT, "e2e/.cache/servers");

/** Name of an engine. */
export type EngineName = "triton" | "kserve" | "mlserver";

/** A running engine. */
export interface RunningEngine {
  readonly url: string;
  readonly pid: number;
  /** Returns how many requests to a model this process has answered, by its own counter; waits 10 s for `atLeast`. */
  countAnswers(model: string, atLeast?: number): Promise<number>;
  /** Ends it with a signal and waits until its process is gone. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

/** Models to serve: the bytes of each ONNX file by name. `bf16` is added on Triton. */
export type Models = Readonly<Record<string, Uint8Array>>;

/**
 * Finds a Python that the engines run on. Triton's wheel needs NumPy 1, which there is for CPython 3.10 to 3.12.
 * @throws Error that says what is missing
 */
function findPython(): string {
  const seen: string[] = [];
  for (const name of ["python3.11", "python3.12", "python3.10", "python3"]) {
    try {
      const code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sys.executable)";
      const [version = "", path = ""] = execFileSync(name, ["-c", code], { encoding: "utf8", stdio: "pipe" })
        .trim()
        .split(" ");
      if (/^3\.1[0-2]$/.test(version)) return path;
      seen.push(`${name} is ${version}`);
    } catch {
      seen.push(`${name} is missing, or has no venv`);
    }
  }
  throw new Error(`The servers need CPython 3.10 to 3.12 with venv: ${seen.join(", ")}.`);
}

/** Installs an engine, unless it is; returns the path of its virtual environment. */
export function installEngine(name: EngineName): Promise<string> {
  return installPins(name, join(SERVERS, `${name}.txt`), (venv) => {
    if (name === "triton") placeStub(venv);
  });
}

/** Installs pinned packages of PyPI, unless they are; returns the path of their virtual environment. */
export async function installPins(
  name: string,
  path: string,
  finish: (venv: string) => void = () => undefined,
): Promise<string> {
  const python = findPython();
  const key = createHash("sha256").update(readFileSync(path)).update(python).digest("hex").slice(0, 12);
  const venv = join(CACHE, `${name}-${key}`);
  const done = join(venv, "installed");
  if (existsSync(done)) return venv;
  mkdirSync(CACHE, { recursive: true });
  // Tests of several workers want the same engine.
  await withLock(`${venv}.lock`, () => {
    if (existsSync(done)) return;
    rmSync(venv, { recursive: true, force: true });
    const run = (file: string, args: readonly string[]): void => {
      // They end with this process, as its lock does.
      execFileSync("setpriv", ["--pdeathsig", "KILL", file, ...args], {
        stdio: ["ignore", "ignore", "inherit"],
        timeout: 600_000,
      });
    };
    run(python, ["-m", "venv", venv]);
    const options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-q"];
    run(join(venv, "bin/pip"), ["install", ...options, "-r", path]);
    finish(venv);
    writeFileSync(done, "");
  });
  return venv;
}

const evaluate = (venv: string, code: string): string =>
  execFileSync(join(venv, "bin/python"), ["-c", `import sys, sysconfig; print(${code})`], { encoding: "utf8" }).trim();

const siteOf = (venv: string): string => evaluate(venv, "sysconfig.get_paths()['purelib']");

/** Puts the python backend's program for this version of Python where Triton looks for it. */
function placeStub(venv: string): void {
  const server = join(siteOf(venv), "pytriton/tritonserver");
  const stub = "triton_python_backend_stub";
  const version = evaluate(venv, "'%d.%d' % sys.version_info[:2]");
  copyFileSync(join(server, "python_backend_stubs", version, stub), join(server, "backends/python", stub));
}

/**
 * Starts an engine on a port, with a folder of its own for its files, and waits until its models are ready. Each run has
 * so many threads.
 */
export async function startEngine(
  name: EngineName,
  models: Models,
  folder: string,
  port: number,
  threads = 1,
): Promise<RunningEngine> {
  const venv = await installEngine(name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const own = { triton, kserve, mlserver }[name](venv, models, folder, port, await freePort());
  const command = { ...own, env: { ...own.env, ONNX_THREADS: String(threads) } };
  return launch(command, [...Object.keys(models), ...(name === "triton" ? ["bf16"] : [])], folder, port);
}

/**
 * Starts an engine on the folder that `selvedge export` wrote for it. Triton's wheel has no onnxruntime backend; one in
 * Python takes its place.
 */
export async function startExported(
  name: "triton" | "mlserver",
  models: readonly string[],
  folder: string,
  port: number,
): Promise<RunningEngine> {
  const venv = await installEngine(name);
  const otherPort = await freePort();
  const command =
    name === "triton"
      ? tritonCommand(venv, folder, placeOnnxBackend(venv, `${folder}-backends`), port, otherPort)
      : mlserverCommand(venv, folder, port, otherPort);
  return launch(command, models, folder, port);
}

async function launch(
  command: Command,
  names: readonly string[],
  folder: string,
  port: number,
): Promise<RunningEngine> {
  const { file, args, env, counter } = command;
  const child = spawn(file, args, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => {
      output = (output + part.toString()).slice(-4_000);
    });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; !(await areReady(url, names)); tries += 1) {
    if (child.exitCode !== null || tries > 600) {
      await end(child, "SIGKILL");
      throw new Error(`${file} did not start: ${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const countAnswers = async (model: string, atLeast = 0): Promise<number> => {
    // Triton counts an answer after it has sent it.
    for (let tries = 0; ; tries += 1) {
      const count = await readCounter(counter, model);
      if (count >= atLeast || tries === 100) return count;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  return { url, pid: child.pid ?? 0, countAnswers, stop: (signal) => end(child, signal) };
}

/** Reads a counter from metrics in Prometheus' format. */
async function readCounter({ url, name }: Counter, model: string): Promise<number> {
  const text = await (await fetch(url)).text();
  const lines = text.split("\n").filter((x) => x.startsWith(`${name}{`) && x.includes(`"${model}"`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

async function areReady(url: string, names: readonly string[]): Promise<boolean> {
  for (const name of names) {
    const response = await fetch(`${url}/v2/models/${name}/ready`).catch(() => null);
    await response?.arrayBuffer();
    if (response?.status !== 200) return false;
  }
  return true;
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await gone;
    clearTimeout(timer);
  }
  try {
    // Triton's Python processes may outlive it where it is killed or crashes.
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // None is left.
  }
}

interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly counter: Counter;
}

/** Address of an engine's metrics, and the name of the one that counts answers. */
interface Counter {
  readonly url: string;
  readonly name: string;
}

type Prepare = (venv: string, models: Models, folder: string, port: number, otherPort: number) => Command;

const CONFIG = 'backend: "python"\ninstance_group [ { count: 1 kind: KIND_CPU } ]\n';
const BF16 =
  'max_batch_size: 0\ninput [ { name: "x" data_type: TYPE_BF16 dims: [ -1 ] } ]\noutput [ { name: "y" data_type: TYPE_BF16 dims: [ -1 ] } ]\n';

const triton: Prepare = (venv, models, folder, port, otherPort) => {
  const add = (name: string, config: string, model: string, onnx: Uint8Array | null): void => {
    const version = join(folder, name, "1");
    mkdirSync(version, { recursive: true });
    writeFileSync(join(folder, name, "config.pbtxt"), config);
    copyFileSync(join(SERVERS, model), join(version, "model.py"));
    copyFileSync(join(SERVERS, "onnx_session.py"), join(version, "onnx_session.py"));
    if (onnx !== null) writeFileSync(join(version, "model.onnx"), onnx);
  };
  for (const [name, onnx] of Object.entries(models)) add(name, CONFIG, "triton_model.py", onnx);
  add("bf16", CONFIG + BF16, "triton_bf16.py", null);
  return tritonCommand(venv, folder, join(siteOf(venv), "pytriton/tritonserver/backends"), port, otherPort);
};

/** Makes a folder of backends: Triton's Python backend, and one of ONNX Runtime that it runs. */
function placeOnnxBackend(venv: string, folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  const onnx = join(folder, "onnxruntime");
  mkdirSync(onnx, { recursive: true });
  symlinkSync(join(siteOf(venv), "pytriton/tritonserver/backends/python"), join(folder, "python"));
  copyFileSync(join(SERVERS, "triton_onnxruntime.py"), join(onnx, "model.py"));
  copyFileSync(join(SERVERS, "onnx_session.py"), join(onnx, "onnx_session.py"));
  return folder;
}

function tritonCommand(venv: string, folder: string, backends: string, port: number, otherPort: number): Command {
  const site = siteOf(venv);
  const server = join(site, "pytriton/tritonserver");
  const options = {
    "model-repository": folder,
    "backend-directory": backends,
    "http-address": "127.0.0.1",
    "http-port": String(port),
    "allow-grpc": "false",
    "metrics-address": "127.0.0.1",
    "metrics-port": String(otherPort),
    "exit-timeout-secs": "10",
  };
  return {
    file: join(server, "bin/tritonserver"),
    args: Object.entries(options).map(([key, value]) => `--${key}=${value}`),
    env: {
      // The stub needs the library of exactly this Python, and the wheel's own ones.
      LD_LIBRARY_PATH: `${site}/nvidia_pytriton.libs:${evaluate(venv, "sysconfig.get_config_var('LIBDIR')")}`,
      // The embedded interpreter finds the environment by the first python3 on the path.
      PATH: `${venv}/bin:${process.env["PATH"] ?? ""}`,
    },
    counter: { url: `http://127.0.0.1:${otherPort}/metrics`, name: "nv_inference_request_success" },
  };
}

const kserve: Prepare = (venv, models, folder, port) => {
  for (const [name, onnx] of Object.entries(models)) writeFileSync(join(folder, `${name}.onnx`), onnx);
  const options = [`--http_port=${port}`, "--enable_grpc=false", "--enable_latency_logging=false"];
  return {
    file: join(venv, "bin/python"),
    args: ["-W", "ignore", join(SERVERS, "kserve_server.py"), folder, ...options],
    env: {},
    counter: { url: `http://127.0.0.1:${port}/metrics`, name: "request_predict_seconds_count" },
  };
};

const mlserver: Prepare = (venv, models, folder, port, otherPort) => {
  for (const [name, onnx] of Object.entries(models)) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "model.onnx"), onnx);
    const own = { name, implementation: "mlserver_model.OnnxModel", parameters: { uri: "./model.onnx", version: "1" } };
    writeFileSync(join(folder, name, "model-settings.json"), JSON.stringify(own));
  }
  return mlserverCommand(venv, folder, port, otherPort);
};

function mlserverCommand(venv: string, folder: string, port: number, otherPort: number): Command {
  const settings = {
    debug: false,
    host: "127.0.0.1",
    http_port: port,
    grpc_port: otherPort,
    metrics_port: otherPort + 1,
    parallel_workers: 0,
  };
  writeFileSync(join(folder, "settings.json"), JSON.stringify(settings));
  const counter = { url: `http://127.0.0.1:${otherPort + 1}/metrics`, name: "model_infer_request_success_total" };
  return { file: join(venv, "bin/mlserver"), args: ["start", folder], env: { PYTHONPATH: SERVERS }, counter };
}
