/* eslint-disable no-console -- a part of the command line */
// Distributes seeds over all cores: one process per core runs this command line again, bundled to one plain file.
import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

/** Without a message for so long a process counts as hung: a loop that never ends. */
const HUNG_MS = 180_000;

/** A contiguous range of seeds, or of whatever else is numbered. */
export interface Seeds {
  readonly from: number;
  readonly count: number;
}

/**
 * Starts this command line once per core with `--share` and its part of the seeds; calls back with each message of the
 * processes. Returns whether all of them exited with 0; one that hangs is ended. `name` is that of the bundled file.
 */
export async function spread(
  { from, count }: Seeds,
  options: readonly string[],
  onMessage: (message: unknown) => void,
  name: string = "simulate",
): Promise<boolean> {
  const shares = Math.min(count, availableParallelism());
  const script = await bundle(name);
  const exits = Array.from({ length: shares }, async (_, i) => {
    const first = from + Math.floor((i * count) / shares);
    const own = from + Math.floor(((i + 1) * count) / shares) - first;
    const args = ["--share", "--from", String(first), "--seeds", String(own), ...options];
    // A story creates short-lived objects and errors whose stack nobody reads, and each core has a story of its own:
    // Node's default settings cost a fifth of the time.
    const execArgv = ["--max-semi-space-size=64", "--stack-trace-limit=0", "--single-threaded"];
    const child = fork(script, args, { execArgv });
    let last: unknown = null;
    const hung = setTimeout(() => {
      console.error(`hung: no message for ${HUNG_MS / 1_000} s after ${JSON.stringify(last)}; --from ${first}`);
      child.kill("SIGKILL");
    }, HUNG_MS);
    child.on("message", (message) => {
      last = (message as { readonly seed?: number }).seed ?? null;
      hung.refresh();
      onMessage(message);
    });
    return new Promise<number | null>((resolve) =>
      child.once("exit", (code) => {
        clearTimeout(hung);
        resolve(code);
      }),
    );
  });
  return (await Promise.all(exits)).every((code) => code === 0);
}

/**
 * Bundles the command line to one plain file: run from TypeScript, each function is named at run time as it is created.
 */
async function bundle(name: string): Promise<string> {
  const outfile = join(import.meta.dirname, `../../../node_modules/.cache/selvedge/${name}.mjs`);
  const entryPoints = [process.argv[1] ?? ""];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", packages: "external" });
  return outfile;
}
