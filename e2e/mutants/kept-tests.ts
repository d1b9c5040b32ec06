// The worker's side of test-runner.ts, as a runner of Vitest: imports tests and what they test once, then tries one mutant
// after the other, so that a mutant costs no more than the tests that reach it. A file of tests is evaluated anew each time;
// what it imports is too where the mutant changes what a module does when it is imported, and where the file replaces
// modules.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { TestRunner, vi } from "vitest";
import type { RunnerTask, RunnerTestCase } from "vitest";
import { startTests } from "vitest/internal/browser";
import { SLOW } from "./areas.ts";
import { CHANNEL } from "./kept-messages.ts";
import type { Answer, Coverage, Failure, Request, TestsOfFile, Tried } from "./kept-messages.ts";

/** The variables of Stryker's code in the mutated files. */
interface Instrumented {
  activeMutant?: string | undefined;
  readonly currentTestId?: string | undefined;
  hitCount?: number;
  hitLimit?: number | undefined;
  mutantCoverage?: Coverage;
}
const instrumented: Instrumented = ((globalThis as { __stryker__?: Instrumented }).__stryker__ ??= {});

/** Limit of a test without a mutant, and with one: with many, a promise is never settled. */
const [LIMIT_MS, LIMIT_WITH_MUTANT_MS] = [60_000, 2500];

const TOO_LONG = "Ran too long with the mutant";
const now = performance.now.bind(performance); // whatever tests put in its place
let untilMs = Infinity;
let currentTestId: string | undefined;
let reads = 0;
// Code that is mutated reads the test's name at each step, so a loop that a mutant makes endless can be ended here.
Object.defineProperty(instrumented, "currentTestId", {
  get() {
    reads += 1;
    if (reads % 256 === 0 && now() > untilMs) throw new Error(TOO_LONG);
    return currentTestId;
  },
});

/** Returns a test's title after those of the suites that it is in. */
const titleOf = (task: RunnerTask): string =>
  task.suite === undefined || task.suite === task.file ? task.name : `${titleOf(task.suite)} ${task.name}`.trim();

const testsIn = (task: RunnerTask): RunnerTestCase[] => (task.type === "test" ? [task] : task.tasks.flatMap(testsIn));

/** Skips tests that are not wanted, and suites that have no other; returns whether any is left. */
function choose(task: RunnerTask, isWantedTest: (test: RunnerTestCase) => boolean): boolean {
  const isWanted =
    task.type === "test" ? isWantedTest(task) : task.tasks.filter((x) => choose(x, isWantedTest)).length > 0;
  if (!isWanted && task.mode === "run") task.mode = "skip";
  return isWanted;
}

/** Returns what failed: a test, else a suite or the whole file by what happens around its tests. */
function failureIn(task: RunnerTask): Failure | undefined {
  const inside = task.type === "test" ? undefined : task.tasks.map(failureIn).find((x) => x !== undefined);
  if (inside !== undefined || task.result?.state !== "fail") return inside;
  return { title: task.type === "test" ? titleOf(task) : undefined, message: task.result.errors?.[0]?.message ?? "" };
}

export default class KeptTests extends TestRunner {
  #isServing = false;
  #isStopped = false;
  #wanted: TestsOfFile | undefined;
  #mutant: string | undefined;

  async onBeforeCollect(): Promise<void> {
    if (this.#isServing) return;
    this.#isServing = true;
    // Vitest's own process need not know.
    Object.assign(this, {
      onCollectStart: super.onCollectStart,
      onCollected() {},
      onTaskUpdate() {},
      onAfterRunFiles() {},
    });
    for (const path of this.config.setupFiles) await this.importFile(path);
    this.config.setupFiles = [];
    // A property that fails ends at once, without the search for a small input that nobody would read.
    fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = (event) => {
      const { request } = (event as MessageEvent<{ request?: Request }>).data;
      if (request !== undefined) void this.#answer(request).then((answer) => channel.postMessage({ answer }));
    };
    channel.postMessage({ answer: { isReady: true } });
    await new Promise(() => {}); // until the process ends
  }

  override importFile(path: string): unknown {
    return super.importFile(path, "setup"); // which evaluates a module again
  }

  onBeforeRunFiles(files: RunnerTask[]): void {
    const titles = this.#wanted?.titles;
    const isSlow = (test: RunnerTestCase): boolean => SLOW.titles.some((x) => test.name.startsWith(x));
    const wanted = new Set(titles);
    for (const file of files)
      choose(file, (test) => (titles === undefined ? !isSlow(test) : wanted.has(titleOf(test))));
    Object.assign(instrumented, { activeMutant: this.#mutant, hitCount: 0 });
  }

  override async onBeforeRunTask(test: RunnerTestCase): Promise<void> {
    if (this.#isStopped && test.mode === "run") test.mode = "skip";
    await super.onBeforeRunTask(test);
    currentTestId = `${test.file.name}#${titleOf(test)}`;
    this.#limit();
  }

  override onAfterRunTask(test: RunnerTestCase): void {
    super.onAfterRunTask(test);
    currentTestId = undefined;
    this.#isStopped = this.#mutant !== undefined && test.result?.state === "fail";
  }

  #limit(): void {
    untilMs = this.#mutant === undefined ? Infinity : now() + LIMIT_WITH_MUTANT_MS;
  }

  async #answer(request: Request): Promise<Answer> {
    try {
      return "mutant" in request ? { tried: await this.#tryMutant(request) } : await this.#runAll(request.files);
    } catch (error) {
      return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }

  /** Runs tests of one file; those after one that fails with a mutant are left out. */
  async #run(wanted: TestsOfFile, mutant?: string, isStatic = false): Promise<RunnerTask> {
    this.#wanted = wanted;
    this.#mutant = mutant;
    this.#isStopped = false;
    this.#limit();
    const path = resolve(wanted.file);
    const hasMocks = readFileSync(path, "utf8").includes("vi.mock(");
    this.config.testTimeout = this.config.hookTimeout = wanted.titles === undefined ? LIMIT_MS : LIMIT_WITH_MUTANT_MS;
    if (isStatic || hasMocks) vi.resetModules();
    if (isStatic) instrumented.activeMutant = mutant;
    const [file] = await startTests([path], this);
    instrumented.activeMutant = undefined;
    untilMs = Infinity;
    if (hasMocks) {
      (this as unknown as { moduleRunner: { mocker: { reset(): void } } }).moduleRunner.mocker.reset();
      vi.resetModules();
    }
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    return file as RunnerTask;
  }

  async #runAll(files: readonly string[]): Promise<Answer> {
    const tests = [];
    for (const file of files) {
      const task = await this.#run({ file });
      const failure = failureIn(task);
      if (failure !== undefined) return { error: `${file}: ${failure.title ?? ""}: ${failure.message}` };
      for (const test of testsIn(task))
        tests.push({
          file,
          title: titleOf(test),
          ms: test.result?.duration ?? 0,
          isSkipped: test.result?.state !== "pass",
        });
    }
    return { tests, coverage: instrumented.mutantCoverage ?? { static: {}, perTest: {} } };
  }

  /**
   * A mutant is killed by a test that fails with it, passes without it and, unless it took too long, fails with it again.
   */
  async #tryMutant({ mutant, isStatic, hitLimit, tests }: Extract<Request, { mutant: string }>): Promise<Tried> {
    instrumented.hitLimit = hitLimit;
    for (const { file, titles } of tests) {
      const failure = failureIn(await this.#run({ file, titles }, mutant, isStatic));
      if ((instrumented.hitCount ?? 0) > (hitLimit ?? Infinity)) return { isTimeout: true };
      if (failure === undefined) continue;
      const same = { file, titles: failure.title === undefined ? titles : [failure.title] };
      const without = failureIn(await this.#run(same, undefined, isStatic));
      if (without !== undefined) throw new Error(`Fails without a mutant too: ${file}: ${without.message}`);
      if ([TOO_LONG, "Test timed out"].some((x) => failure.message.startsWith(x))) return { isTimeout: true };
      if (failureIn(await this.#run(same, mutant, isStatic)) !== undefined) return { file, ...failure };
    }
    return { isSurvivor: true };
  }
}
