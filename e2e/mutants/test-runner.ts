// Stryker's test runner for automatic mutants. Stryker's own for Vitest starts a worker and imports everything for each
// mutant; this one keeps a worker with its imports (kept-tests.ts). Tests that take long are left out: each mutant that they
// reach would take as long, and what only the outcome of a long story shows needs a sharper test.
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Logger } from "@stryker-mutator/api/logging";
import { commonTokens, declareClassPlugin, PluginKind, tokens } from "@stryker-mutator/api/plugin";
import { DryRunStatus, MutantRunStatus, TestStatus } from "@stryker-mutator/api/test-runner";
import type { DryRunResult, MutantRunOptions, MutantRunResult, TestRunner } from "@stryker-mutator/api/test-runner";
import { createVitest } from "vitest/node";
import { CHANNEL } from "./kept-messages.ts";
import type { Answer, Request, RunTest, TestsOfFile } from "./kept-messages.ts";

/** Longest time of a test that mutants are tried on. */
const TEST_MAX_MS = 500;
/** Longer than the tests of a file take. */
const OTHERS_MS = 1e6;
/** Where the tests, with their times, are kept for the processes that follow one that had to be ended. */
const TESTS = "mutants-tests.json";

const idOf = (file: string, title: string): string => `${file}#${title}`;

class KeptTestRunner implements TestRunner {
  static readonly inject = tokens(commonTokens.logger);
  readonly #log: Logger;
  readonly #channel = new BroadcastChannel(CHANNEL);
  #settle: (answer: Answer) => void = () => {};
  #files: readonly string[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  capabilities(): { reloadEnvironment: boolean } {
    return { reloadEnvironment: true };
  }

  async init(): Promise<void> {
    const vitest = await createVitest("test", { config: "e2e/mutants/vitest.config.ts", watch: false });
    const specifications = await vitest.globTestSpecifications();
    this.#files = specifications.map((x) => relative(process.cwd(), x.moduleId));
    this.#channel.onmessage = (event) => {
      const { answer } = (event as MessageEvent<{ answer?: Answer }>).data;
      if (answer !== undefined) this.#settle(answer);
    };
    const ready = new Promise<Answer>((resolve) => (this.#settle = resolve));
    const ended = vitest.runTestSpecifications(specifications.slice(0, 1)).then(() => {
      throw new Error("The worker has ended");
    });
    await Promise.race([ready, ended]);
  }

  async dryRun(): Promise<DryRunResult> {
    const start = performance.now();
    const answer = await this.#ask({ files: this.#files });
    const allMs = performance.now() - start;
    if (!("tests" in answer))
      return { status: DryRunStatus.Error, errorMessage: "error" in answer ? answer.error : "" };
    const tests = answer.tests.filter((x) => !x.isSkipped && x.ms <= TEST_MAX_MS);
    for (const { file, title, ms } of answer.tests.filter((x) => x.ms > TEST_MAX_MS))
      this.#log.info(`Left out, since it took ${Math.round(ms)} ms: ${idOf(file, title)}`);
    writeFileSync(TESTS, JSON.stringify(tests));
    const ids = new Set(tests.map((x) => idOf(x.file, x.title)));
    const perTest = Object.entries(answer.coverage.perTest).filter(([id]) => ids.has(id));
    // Stryker adds the time that no test accounts for, which imports take once, to the limit of each mutant.
    const restMs = allMs - answer.tests.reduce((sum, x) => sum + x.ms, 0);
    const imports = { file: this.#files[0] ?? "", title: "(imports)", ms: restMs };
    return {
      status: DryRunStatus.Complete,
      tests: [...answer.tests, imports].map(({ file, title, ms }) => ({
        id: idOf(file, title),
        name: title,
        fileName: join(process.cwd(), file),
        timeSpentMs: ms,
        status: TestStatus.Success,
      })),
      mutantCoverage: { static: answer.coverage.static, perTest: Object.fromEntries(perTest) },
    };
  }

  async mutantRun({
    activeMutant,
    mutantActivation,
    hitLimit,
    testFilter,
  }: MutantRunOptions): Promise<MutantRunResult> {
    const all = JSON.parse(readFileSync(TESTS, "utf8")) as RunTest[];
    const filter = testFilter && new Set(testFilter);
    const wanted = all.filter((x) => filter?.has(idOf(x.file, x.title)) ?? true);
    const tests = quickestFirst(wanted);
    const isStatic = mutantActivation === "static";
    const answer = await this.#ask({ mutant: activeMutant.id, isStatic, hitLimit, tests });
    if (!("tried" in answer)) throw new Error("error" in answer ? answer.error : "No answer");
    const { tried } = answer;
    if ("isTimeout" in tried) return { status: MutantRunStatus.Timeout };
    if ("isSurvivor" in tried) return { status: MutantRunStatus.Survived, nrOfTests: wanted.length };
    const { file, title, message } = tried;
    const killer = title ?? tests.find((x) => x.file === file)?.titles?.[0] ?? "";
    return { status: MutantRunStatus.Killed, killedBy: [idOf(file, killer)], failureMessage: message, nrOfTests: 1 };
  }

  #ask(request: Request): Promise<Answer> {
    const answer = new Promise<Answer>((resolve) => (this.#settle = resolve));
    this.#channel.postMessage({ request });
    return answer;
  }
}

/**
 * The tests beside the mutated files (`lane.test.ts` and `lane-calls.test.ts` of `lane.ts`) come first, and files whose
 * tests are quick before others: the first that fails ends a run.
 */
function quickestFirst(tests: readonly RunTest[]): TestsOfFile[] {
  const names = (process.env["SELVEDGE_MUTATED"] ?? "").split(" ").map((x) => x.replace(/\.ts$/, ""));
  const isOwn = (file: string): boolean => names.some((x) => file.startsWith(`${x}.`) || file.startsWith(`${x}-`));
  const cost = (file: string): number =>
    tests.reduce((sum, x) => sum + (x.file === file ? x.ms : 0), isOwn(file) ? 0 : OTHERS_MS);
  return [...new Set(tests.map((x) => x.file))]
    .sort((a, b) => cost(a) - cost(b))
    .map((file) => ({ file, titles: tests.filter((x) => x.file === file).map((x) => x.title) }));
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, "kept", KeptTestRunner)];
