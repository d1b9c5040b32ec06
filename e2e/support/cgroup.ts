// A browser whose memory is limited by the kernel: a control group of Linux around all of its processes. Beyond the
// limit the kernel ends the process that takes most, which in Chromium is the page's. Needs root. Version 1 of control
// groups is tested; version 2 is written by its documentation and untested, for want of a machine.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const ROOT = "/sys/fs/cgroup";
/** A group can be removed once its last process is reaped. */
const REMOVE_MS = 10_000;

/** A control group with a limit of memory. */
export class MemoryGroup {
  readonly #path: string;
  readonly #isFirst: boolean;

  /**
   * Makes the group.
   * @throws Error where this process may not: it takes root, and a writable mount of control groups
   */
  constructor(limitBytes: number) {
    this.#isFirst = existsSync(join(ROOT, "memory"));
    const name = `selvedge-${process.pid}-${Date.now()}`;
    const own = /^\d+:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "";
    this.#path = this.#isFirst ? join(ROOT, "memory", own, name) : join(ROOT, name);
    if (!this.#isFirst) writeFileSync(join(ROOT, "cgroup.subtree_control"), "+memory");
    mkdirSync(this.#path);
    this.#write(this.#isFirst ? "memory.limit_in_bytes" : "memory.max", limitBytes);
    // Swap would let a process live on, slowly.
    if (!this.#isFirst && existsSync(join(this.#path, "memory.swap.max"))) this.#write("memory.swap.max", 0);
  }

  /** Number of processes that the kernel has ended for want of memory. */
  get kills(): number {
    const text = readFileSync(join(this.#path, this.#isFirst ? "memory.oom_control" : "memory.events"), "utf8");
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** The most bytes that the group held. */
  get peakBytes(): number {
    return Number(readFileSync(join(this.#path, this.#isFirst ? "memory.max_usage_in_bytes" : "memory.peak"), "utf8"));
  }

  /** Writes a script that starts a program inside the group, and returns its path. */
  wrap(program: string, folder: string): string {
    const path = join(folder, "in-group.sh");
    writeFileSync(path, `#!/bin/sh\necho $$ > '${this.#path}/cgroup.procs'\nexec '${program}' "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Ends what is left in the group, and removes it. */
  async remove(): Promise<void> {
    const untilMs = Date.now() + REMOVE_MS;
    for (;;) {
      const left = readFileSync(join(this.#path, "cgroup.procs"), "utf8")
        .split("\n")
        .filter((x) => x !== "");
      for (const pid of left) {
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // it has ended meanwhile
        }
      }
      try {
        rmdirSync(this.#path);
        return;
      } catch (error) {
        if (Date.now() > untilMs) throw error;
      }
      await wait(100);
    }
  }

  #write(file: string, value: number): void {
    writeFileSync(join(this.#path, file), String(value));
  }
}
