// How much memory the processes of a browser have of their own, and share with each other: what lies in files is not in
// it, what two of them share is counted for both. Linux only, by /proc.
import { readdirSync, readFileSync } from "node:fs";

/** Watches what the processes hold that descend from the one whose command line has a word in it. */
export class Resident {
  readonly #word: string;

  constructor(word: string) {
    this.#word = word;
  }

  /** How many bytes they hold now. */
  get bytes(): number {
    return this.#pids().reduce((sum, pid) => sum + heldBy(pid), 0);
  }

  /** Gives the most that they held, looked at every 20 ms, while something was done. */
  async peak(work: () => Promise<void>): Promise<number> {
    let most = this.bytes;
    const pids = this.#pids();
    const timer = setInterval(() => {
      most = Math.max(
        most,
        pids.reduce((sum, pid) => sum + heldBy(pid), 0),
      );
    }, 20);
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
    return Math.max(most, this.bytes);
  }

  #pids(): number[] {
    const all = readdirSync("/proc").filter((x) => /^\d+$/.test(x));
    const parents = new Map(all.map((pid) => [Number(pid), Number(/\) \S (\d+)/.exec(read(pid, "stat"))?.[1])]));
    const found = new Set(all.filter((pid) => read(pid, "cmdline").includes(this.#word)).map(Number));
    for (let before = 0; before < found.size;) {
      before = found.size;
      for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
    }
    return [...found];
  }
}

function heldBy(pid: number): number {
  const status = read(String(pid), "status");
  const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return 1024 * (kilobytes("RssAnon") + kilobytes("RssShmem"));
}

/** Processes end while they are looked at. */
function read(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}
