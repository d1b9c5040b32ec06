// Resident memory of a browser's processes, private and shared with each other: file-backed memory is excluded, memory
// shared by two of them counts for both. Linux only, by /proc.
import { readdirSync, readFileSync } from "node:fs";

/** Watches the descendants of the process whose command line contains a word. */
export class Resident {
  readonly #word: string;

  constructor(word: string) {
    this.#word = word;
  }

  /** Bytes that they hold now. */
  get bytes(): number {
    return this.#pids().reduce((sum, pid) => sum + heldBy(pid), 0);
  }

  /** Returns the peak of the memory, polled every 20 ms, during some work. */
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

/** Processes may end while they are read. */
function read(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}
