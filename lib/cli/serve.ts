// `selvedge serve`.
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { endAll } from "../compress/onnx/at-exit.ts";
import { bundleFolder } from "../compress/bundle/inspect-bundle.ts";
import { startGateway } from "../serve/gateway.ts";
import { startServer } from "../serve/server.ts";
import type { ServeOptions } from "../serve/server.ts";
import type { CliRun } from "./cli.ts";
import { refuseUnused, repeatable } from "./options.ts";
import { note } from "./terminal.ts";

type Values = Omit<ServeOptions, "bundles" | "token" | "maxBodyBytes" | "timeoutMs" | "receiveTimeoutMs"> & {
  readonly maxBody?: number;
  readonly timeout?: number;
  readonly upstream?: string;
};

const MIB = 2 ** 20;
/** Options of bundles alone. */
const OF_BUNDLES = ["--variant", "--lanes", "--threads", "--max-batch", "--max-rows", "--max-queue"];

/** Adds the command. */
export function serve(program: Command, run: CliRun): Command {
  const number = (flags: string, description: string, most: number, least = 1): Option =>
    new Option(flags, description).argParser((text) => numberOf(text, least, most));
  return program
    .command("serve")
    .summary("serve bundles by the Open Inference Protocol")
    .description(
      "Serves bundles on one machine, by the Open Inference Protocol (version 2, HTTP), with ONNX Runtime on the CPU. Needs fastify and onnxruntime-node.",
    )
    .argument("[bundles...]", "folders of bundles")
    .addOption(
      new Option(
        "--upstream <url>",
        "pass requests on to this server (Triton, KServe, MLServer) in place of bundles, with CORS, token and limits",
      ).argParser(upstreamOf),
    )
    .option("--host <address>", "address to listen on (127.0.0.1 by default)")
    .addOption(number("--port <n>", "port to listen on; 0 for any (8000 by default)", 65_535, 0))
    .option("--variant <id>", "variant of the bundles (float32 by default)")
    .addOption(number("--lanes <n>", "threads that run batches (one per core by default, at most 4)", 64))
    .addOption(number("--threads <n>", "threads of each run (cores divided by lanes, by default)", 256))
    .addOption(named(number("--max-batch <n>", "rows that run together (16 by default)", 9_999), "maxBatchSize"))
    .addOption(number("--max-rows <n>", "rows of one request (1024 by default)", 999_999))
    .addOption(number("--max-queue <n>", "requests that wait; more get 429 (256 by default)", 99_999))
    .addOption(number("--max-body <MiB>", "largest request (64 by default)", 2_048))
    .addOption(
      number(
        "--timeout <s>",
        "longest time to receive a request, to answer it, and to send the answer (30 by default)",
        3_600,
      ),
    )
    .addOption(
      named(
        repeatable(new Option("--origin <origin>", "origin whose pages may send requests, or *"), originOf),
        "origins",
      ),
    )
    .addOption(new Option("--log-level <level>", "JSON lines (info by default)").choices(["info", "error", "silent"]))
    .addHelpText(
      "after",
      `
SELVEDGE_TOKEN in the environment is the bearer token that requests then need.
SIGTERM and Ctrl-C stop it gracefully: what it has is answered first; a second one ends it at once.

Example:
  npx selvedge serve dist/model/bundle --port 8000 --origin https://app.example
  npx selvedge serve --upstream http://127.0.0.1:8001 --port 8000 --origin https://app.example`,
    )
    .action(async (paths: readonly string[], values: Values, command: Command) => {
      if ((values.upstream === undefined) === (paths.length === 0))
        throw new TypeError("serve needs folders of bundles, or --upstream and none");
      if (values.upstream !== undefined) refuseUnused(command, OF_BUNDLES, "serve --upstream runs no bundles");
      run.exitCode = await runServer(paths, values);
    });
}

function named(option: Option, attribute: string): Option {
  option.attributeName = () => attribute;
  return option;
}

function numberOf(text: string, least: number, most: number): number {
  if (/^\d{1,6}$/.test(text) && Number(text) >= least && Number(text) <= most) return Number(text);
  throw new InvalidArgumentError(`Expected a number from ${least} to ${most}, got "${text}".`);
}

function originOf(text: string): string {
  if (text === "*" || (/^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text)) return text;
  throw new InvalidArgumentError(`Expected an origin such as "https://app.example", or "*", got "${text}".`);
}

function upstreamOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username + url.password + url.search + url.hash === "")
    return text;
  throw new InvalidArgumentError(`Expected an http(s) address such as "http://127.0.0.1:8001", got "${text}".`);
}

async function runServer(paths: readonly string[], { maxBody, timeout, upstream, ...values }: Values): Promise<number> {
  const bundles = paths.map((path) => {
    const folder = bundleFolder(path);
    if (folder === null) throw new TypeError(`serve needs folders of bundles, got ${path}`);
    return folder;
  });
  const timeoutMs = timeout === undefined ? undefined : timeout * 1_000;
  const set = {
    ...{ ...values, timeoutMs, receiveTimeoutMs: timeoutMs },
    maxBodyBytes: maxBody === undefined ? undefined : maxBody * MIB,
    token: tokenOf(process.env["SELVEDGE_TOKEN"]),
  };
  const server =
    upstream === undefined ? await startServer({ ...set, bundles }) : await startGateway({ ...set, upstream });
  note(`listening on ${server.url}`);
  const stop = signalled();
  try {
    await Promise.race([server.ready, stop]);
    await stop;
  } finally {
    await server.close();
  }
  return 0;
}

/** A header can't have any other token, such as one with the line break of its file: all requests would be refused. */
function tokenOf(text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^[!-~]+$/.test(text))
    throw new TypeError("SELVEDGE_TOKEN: expected printable ASCII without spaces and line breaks");
  return text;
}

/** Resolves at the first signal to stop; the next one ends the process. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    let count = 0;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.removeAllListeners(signal);
      process.on(signal, () => {
        count += 1;
        if (count > 1) {
          endNow(signal);
          return;
        }
        note("stopping: finishes pending requests; a second signal ends the process at once");
        resolve();
      });
    }
  });
}

/** Ends the process by the signal itself: `process.exit` would wait for the runs of all threads. */
function endNow(signal: NodeJS.Signals): void {
  endAll();
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
