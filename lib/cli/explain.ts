// `selvedge explain`.
import type { Command } from "commander";
import { ERROR_CODES } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { FAILURE_KINDS, FILE_NAMES, OTHER_IDS } from "../doctor/evidence.ts";
import { codesOf, explain as explained, words } from "../explain/explain.ts";
import type { ExplainedError, ExplainedReason, FixLine } from "../explain/explain.ts";
import type { CliRun } from "./cli.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function explain(program: Command, _run: CliRun): Command {
  return program
    .command("explain")
    .summary("cause and fix of an error's code")
    .description("Prints the causes of an error and the line that fixes each, without a network.")
    .argument("[words...]", "code of an error, or its reason, as in setup-failed: worker-missing; all codes without it")
    .option("--json", "print JSON", false)
    .addHelpText(
      "after",
      "\nExit codes: 0 done; 1 unknown word.\n\nExamples:\n  npx selvedge explain setup-failed\n  npx selvedge explain worker-missing",
    )
    .action((given: readonly string[], { json }: { readonly json: boolean }) => {
      // Marks of the sentence that the words were copied from may stand around them.
      const asked = given.flatMap((x) => x.split(/[^\p{L}\p{N}_-]+/u)).filter((x) => x !== "");
      const word = asked.at(-1);
      const found = word === undefined ? ERROR_CODES.map(explained) : matchingAll(asked);
      if (json) print(JSON.stringify(found, null, 2));
      else if (word === undefined) print(`${found.map(summary).join("\n")}\n\nnpx selvedge explain <code or reason>`);
      else print(found.map(textOf).join("\n\n"));
    });
}

/**
 * Returns the codes that all words name: of a code and its reason, that reason of that code.
 * @throws TypeError for an unknown word, with the nearest known one, and for a reason that the code does not have
 */
function matchingAll(asked: readonly string[]): ExplainedError[] {
  const [first = [], ...others] = asked.map(matching);
  return others.reduce((found, next) => {
    const codes = new Set(found.map((x) => x.code));
    const both = next.filter((x) => codes.has(x.code));
    if (both.length === 0) throw new TypeError(`no error has all of ${asked.map((x) => `"${x}"`).join(", ")}`);
    return both;
  }, first);
}

/**
 * Returns the codes that a word names; of a reason's codes, that reason alone.
 * @throws TypeError for an unknown word, with the nearest known one
 */
function matching(word: string): ExplainedError[] {
  const codes = codesOf(word);
  if (codes.length === 0) {
    if (isFinding(word))
      throw new TypeError(`"${word}" is a finding of \`selvedge doctor\`, whose report has the fix: docs/doctor.md`);
    const near = nearest(word);
    const hint = near === undefined ? `; choose from ${ERROR_CODES.join(", ")}` : `; did you mean ${near}?`;
    throw new TypeError(`"${word}" is no code and no reason of an error${hint}`);
  }
  return codes.map((code) => {
    const all = explained(code);
    return code === (word as ErrorCode) ? all : { ...all, reasons: all.reasons.filter((x) => x.reason === word) };
  });
}

/** Whether a word is the id of one of the doctor's findings. */
function isFinding(word: string): boolean {
  const requests = FILE_NAMES.flatMap((name) => FAILURE_KINDS.map((kind) => `${name}-${kind}`));
  return [...OTHER_IDS, ...requests].includes(word);
}

function summary({ code, cause }: ExplainedError): string {
  return `${code.padEnd(18)} ${cause}`;
}

function textOf({ code, cause, fix, retryable, messages, reasons }: ExplainedError): string {
  const again = typeof retryable === "string" ? retryable : retryable ? "yes" : "no";
  const head = [`${code}: ${cause}`, ...seen(messages), `Fix: ${fix}`, `Retryable: ${again}`].join("\n");
  return [head, ...reasons.map(reasonText)].join("\n\n");
}

function reasonText({ reason, cause, fix, retryable, messages, lines }: ExplainedReason): string {
  const again = `Retryable: ${retryable ? "yes" : "no"}`;
  return [`${reason}: ${cause}`, ...seen(messages), `Fix: ${fix}`, ...lines.flatMap(fixLines), again]
    .map((x, i) => (i === 0 ? x : `  ${x}`))
    .join("\n");
}

function seen(messages: readonly string[]): string[] {
  return messages.slice(0, 1).map((x) => `You see: ${x}`);
}

function fixLines({ stacks, where, line }: FixLine): string[] {
  const who = stacks.length === 0 ? "" : `${stacks.join(", ")}: `;
  return [`- ${who}${where}`, ...line.split("\n").map((x) => `    ${x}`)];
}

/** Returns the known word with the fewest edits, where they are at most a third of its letters. */
function nearest(word: string): string | undefined {
  const [best] = words()
    .map((known) => ({ known, edits: edits(word.toLowerCase(), known) }))
    .sort((a, b) => a.edits - b.edits);
  return best !== undefined && best.edits <= Math.max(2, best.known.length / 3) ? best.known : undefined;
}

/** Levenshtein distance of two words. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
