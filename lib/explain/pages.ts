// Pages of docs/errors/, and the parts of docs/errors.md that are made of the same data.
import { ERROR_CODES } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { explain } from "./explain.ts";
import type { ExplainedError, ExplainedReason, FixLine } from "./explain.ts";

/** Name of a page in docs/errors/. */
export const fileOf = (code: ErrorCode): string => `${code}.md`;

/** Markdown of a code's page. */
export function pageOf(code: ErrorCode): string {
  const { cause, fix, retryable, messages, reasons } = explain(code);
  return (
    [
      "<!-- Written by `npm run docs`. -->",
      `# \`${code}\``,
      cause,
      ...seen(messages),
      `**Fix.** ${fix}`,
      `**Retryable**: ${retryable === "by reason" ? retryable : yes(retryable)}. Offline: \`npx selvedge explain ${code}\`. [All codes](../errors.md)`,
      ...(reasons.length === 0
        ? []
        : ["`details.reason` is one of the following words, where the cause is known.", list(reasons)]),
      ...reasons.flatMap(reasonText),
      "",
    ]
      .join("\n\n")
      .trimEnd() + "\n"
  );
}

/** Markdown of the table of codes, and of the reasons by code. */
export function overview(): string {
  const all = ERROR_CODES.map(explain);
  const row = ({ code, cause, fix, retryable }: ExplainedError): string =>
    `| [\`${code}\`](errors/${fileOf(code)}) | ${cause} | ${fix} | ${retryable === "by reason" ? retryable : yes(retryable)} |`;
  const reasons = all
    .filter((x) => x.reasons.length > 0)
    .map(({ code, reasons: some }) => {
      const links = some.map((x) => `[\`${x.reason}\`](errors/${fileOf(code)}#${x.reason})`).join(", ");
      return `- \`${code}\`: ${links}`;
    });
  return [
    ["| code | cause | what to do | retryable |", "| --- | --- | --- | --- |", ...all.map(row)].join("\n"),
    "`details.reason` is the cause as one word, where it is known:",
    reasons.join("\n"),
  ].join("\n\n");
}

/** Lines of a page between which `overview` stands. */
export const OVERVIEW: readonly [begin: string, end: string] = [
  "<!-- codes and reasons: npm run docs -->",
  "<!-- end of codes and reasons -->",
];

/** Replaces what stands between two lines of a text. */
export function replaceBetween(text: string, [begin, end]: readonly [string, string], by: string): string {
  const [head, rest] = text.split(begin);
  const tail = rest?.split(end)[1];
  if (head === undefined || tail === undefined) throw new Error(`the page lacks ${begin} … ${end}`);
  return `${head}${begin}\n\n${by}\n\n${end}${tail}`;
}

function reasonText({ reason, cause, fix, retryable, messages, lines }: ExplainedReason): string[] {
  return [
    `## \`${reason}\``,
    cause,
    ...seen(messages),
    `**Fix.** ${fix}`,
    ...(lines.length === 0 ? [] : [lines.map(bullet).join("\n")]),
    `**Retryable**: ${yes(retryable)}.`,
  ];
}

function seen(messages: readonly string[]): string[] {
  const [first] = messages;
  return first === undefined ? [] : ["You see:", ["```text", first, "```"].join("\n")];
}

function bullet({ stacks, where, line }: FixLine): string {
  const who = stacks.length === 0 ? "" : `**${stacks.join(", ")}**: `;
  return `- ${who}${where}\n\n${["```text", ...line.split("\n"), "```"].map((x) => `  ${x}`).join("\n")}\n`;
}

function list(reasons: readonly ExplainedReason[]): string {
  return reasons.map((x) => `- [\`${x.reason}\`](#${x.reason}): ${x.cause}`).join("\n");
}

const yes = (is: boolean): string => (is ? "yes" : "no");
