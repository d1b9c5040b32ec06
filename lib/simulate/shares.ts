// Spreads seeds over all cores: this command line again, as one plain file, in a process a core.
import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

/** Seeds in a row. */
export interface Seeds {
  readonly from: number;
  readonly count: number;
}

/**
 * Starts this command line once a core with `--share`, each with its part of the seeds; calls back with each message that
 * they send. Returns whether all of them exited with 0.
 */
export async function spread(
  { from, count }: Seeds,
  options: readonly string[],
  onMessage: (message: unknown) => void,
): Promise<boolean> {
  const shares = Math.min(count, availableParallelism());
  const script = await bundle();
  const exits = Array.from({ length: shares }, async (_, i) => {
    const first = from + Math.floor((i * count) / shares);
    const own = from + Math.floor(((i + 1) * count) / shares) - first;
    const args = ["--share", "--from", String(first), "--seeds", String(own), ...options];
    // A story is short-lived objects and errors whose stack nobody reads, and every core has one of its own: a fifth of
    // the time is lost with Node's usual settings.
    const execArgv = ["--max-semi-space-size=64", "--stack-trace-limit=0", "--single-threaded"];
    const child = fork(script, args, { execArgv });
    child.on("message", onMessage);
    return new Promise<number | null>((resolve) => child.once("exit", resolve));
  });
  return (await Promise.all(exits)).every((code) => code === 0);
}

/** Writes one plain file of the command line: run from TypeScript, each function gets its name as it is made. */
async function bundle(): Promise<string> {
  const outfile = join(import.meta.dirname, "../../node_modules/.cache/selvedge/simulate.mjs");
  const entryPoints = [process.argv[1] ?? ""];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", packages: "external" });
  return outfile;
}
