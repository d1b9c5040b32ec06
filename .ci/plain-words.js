// ESLint rule `selvedge/plain-words`: keeps comments and messages in the field's terms. A retired word is reported with
// what to write instead; exceptions stand in plain-words-exceptions.js, each with its reason.
import { EXCEPTIONS } from "./plain-words-exceptions.js";

/** @typedef {readonly (readonly [RegExp, string])[]} Rules */

/**
 * Words of a comment's first sentence, and of any sentence in it, whose subject is a clause.
 * @type {Rules}
 */
const SENTENCES = [
  [/^(?:Gives|Tells|Says)\b/, "start with a verb of the field: Returns, Describes, Checks …"],
  [/(?:^|[.;] )(?:What|Who|Whoever|Whatever) (?![^.?]*\?)/, "name the subject instead of beginning with What or Who"],
];

/**
 * Phrases that hide the field's term, in comments, strings and templates.
 * @type {Rules}
 */
const PHRASES = [
  [/\blies? side by side\b/i, "contiguous"],
  [/\bbroke off\b/i, "connection closed"],
  [/\b(?:was|is|were) silent\b/i, "stalled, did not answer"],
  [/\bdrawn by the processor\b/i, "software renderer"],
  [/\b(?:is|are|was|were|be) let go\b/i, "released, freed"],
  [/\b(?:is|are|was|were|be|been|being) told\b/i, "reported, named, notified"],
  [/\basks? for (?:him|her|it)self\b/i, "requests"],
  [/\bwho waits\b/i, "queued request"],
  [/\breckon(?:ed|s)?\b/i, "estimated, simulated"],
  [/\bthat took part in nothing\b/i, "held-out"],
  [/\bthrough first\b|\bfirst through\b/i, "earliest estimated finish"],
  [/\bof late\b/i, "recently"],
  [/\bin the midst of\b/i, "during"],
  [/\bis made up for\b|\bmakes? up for\b/i, "compensated"],
  [/\bmade-up\b/i, "synthetic, generated"],
  [/\bhow numbers are spread\b/i, "distribution"],
  [/\bhangs? on\b/i, "depends on"],
  [/\bit would take\b/i, "estimated completion"],
  [/\bwaits? already\b/i, "is queued"],
  [/\bwhich no (?:browser|page|worker) holds\b/i, "has no JavaScript type"],
  [/\blooked at as\b/i, "becomes a view, is read as"],
  [/\bthrough in (?:\d|\{)/i, "estimated finish"],
  [/\bbefore it tells\b/i, "predicted, reported"],
];

/**
 * Returns the retired words of a text, such as a paragraph of the documentation.
 * @type {(text: string) => string[]}
 * @public words.test.ts imports it by its path.
 */
export function retiredIn(text) {
  return [...SENTENCES, ...PHRASES].flatMap(([pattern, instead]) => {
    const found = pattern.exec(text)?.[0].trim();
    return found === undefined ? [] : [`"${found}" is retired: ${instead}`];
  });
}

/** @type {import("eslint").Rule.RuleModule} */
const plainWords = {
  meta: {
    type: "suggestion",
    docs: { description: "Write the field's terms in comments and messages." },
    messages: { word: '"{{found}}" is retired: {{instead}}' },
    schema: [],
  },
  create(context) {
    const file = context.filename.slice(context.cwd.length + 1);
    const allowed = EXCEPTIONS.filter((x) => x.file === file).map((x) => x.text);
    /** @type {(loc: import("eslint").AST.SourceLocation | null | undefined, text: string, rules: Rules) => void} */
    const check = (loc, text, rules) => {
      for (const [pattern, instead] of rules) {
        const found = pattern.exec(text)?.[0].trim();
        if (found === undefined || !loc || allowed.some((x) => text.includes(x))) continue;
        context.report({ loc, messageId: "word", data: { found, instead } });
      }
    };
    return {
      Program() {
        for (const block of blocks(context.sourceCode.getAllComments())) {
          check(block.loc, block.text, SENTENCES);
          check(block.loc, block.text, PHRASES);
        }
      },
      Literal(node) {
        if (typeof node.value === "string") check(node.loc, node.value, PHRASES);
      },
      // Joined, so that a phrase is found across a value or the strings of a concatenation.
      TemplateLiteral(node) {
        check(node.loc, textOf(node), PHRASES);
      },
      BinaryExpression(node) {
        if (node.operator === "+" && !isPartOfConcatenation(node)) check(node.loc, textOf(node), PHRASES);
      },
      JSXText(/** @type {{ loc: import("eslint").AST.SourceLocation, value: string }} */ node) {
        check(node.loc, node.value.replaceAll(/\s+/g, " "), PHRASES);
      },
    };
  },
};

/**
 * Returns the text of a string, a template or a concatenation, with `{}` for a value.
 * @type {(node: NonNullable<Parameters<import("eslint").SourceCode["getText"]>[0]>) => string}
 */
function textOf(node) {
  if (node.type === "Literal") return typeof node.value === "string" ? node.value : "{}";
  if (node.type === "TemplateLiteral") return node.quasis.map(({ value }) => value.cooked ?? value.raw).join("{}");
  if (node.type === "BinaryExpression" && node.operator === "+") return textOf(node.left) + textOf(node.right);
  return "{}";
}

/** @type {(node: import("eslint").Rule.Node) => boolean} */
const isPartOfConcatenation = ({ parent }) => parent.type === "BinaryExpression" && parent.operator === "+";

/** @typedef {{ text: string, loc: import("eslint").AST.SourceLocation, isLine: boolean }} Block */

/**
 * Joins line comments that follow each other, and strips the stars of docblocks.
 * @type {(comments: ReturnType<import("eslint").SourceCode["getAllComments"]>) => Block[]}
 */
function blocks(comments) {
  /** @type {Block[]} */
  const found = [];
  for (const { type, value, loc } of comments) {
    if (!loc) continue;
    const text = value.replaceAll(/^[\s*]+|\s+$/gm, "").replaceAll(/\s*\n\s*/g, " ");
    const last = found.at(-1);
    if (type === "Line" && last?.isLine === true && last.loc.end.line + 1 === loc.start.line) {
      last.text += ` ${text}`;
      last.loc = { start: last.loc.start, end: loc.end };
    } else found.push({ text, loc, isLine: type === "Line" });
  }
  return found;
}

export const plainWordsPlugin = { rules: { "plain-words": plainWords } };
