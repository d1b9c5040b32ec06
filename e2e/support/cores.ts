// Cores of processes, for benchmarks in which one machine stands for two: `taskset` of Debian's util-linux.
import { execFileSync, spawnSync } from "node:child_process";

/** Keeps a process and all that it has started on these cores, by their numbers; what these start later stays there too. */
export function keepOn(cores: readonly number[], pid: number = process.pid): void {
  const parents = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number]);
  const tree = [pid];
  for (const own of tree) tree.push(...parents.filter(([, parent]) => parent === own).map(([child]) => child));
  for (const own of tree) {
    const { status, error, stderr } = spawnSync("taskset", ["-apc", cores.join(","), String(own)]);
    // One of them may have ended meanwhile.
    if (own === pid && status !== 0) throw new Error(`taskset: ${error?.message ?? stderr.toString()}`);
  }
}
