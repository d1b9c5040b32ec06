// Finds the words in `details.reason` that the code of a folder throws, by its syntax trees: `reason: "word"` in an
// object, an argument or an element for a parameter or tuple member named `reason`, and what a function `reasonOf` or a
// variable `reason` yields.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/** A word, and its code where both stand in one expression. */
export interface ThrownReason {
  readonly reason: string;
  readonly code: string | null;
  /** File and line. */
  readonly at: string;
}

/** Lists the reasons in the sources of a folder; tests and their support are left out. */
export function thrownReasons(folder: string): ThrownReason[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/\.test\.ts$|\.d\.ts$|^(test-support|explain|doctor|build)\//.test(file))
    .filter((file) => file !== "core/error-reasons.ts")
    .flatMap((file) => inFile(join(folder, file)));
}

function inFile(path: string): ThrownReason[] {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);
  const positions = parametersNamedReason(source);
  const found: ThrownReason[] = [];
  const add = (node: ts.Node): void => {
    for (const literal of literalsOf(node))
      found.push({ reason: literal.text, code: codeAround(literal), at: `${path}:${lineOf(source, literal)}` });
  };
  visit(source, (node) => {
    if (ts.isPropertyAssignment(node) && nameOf(node.name) === "reason") add(node.initializer);
    else if (ts.isVariableDeclaration(node) && nameOf(node.name) === "reason" && node.initializer !== undefined)
      add(node.initializer);
    else if (ts.isCallExpression(node)) {
      const argument = node.arguments[positions.get(nameOf(node.expression)) ?? -1];
      if (argument !== undefined) add(argument);
    } else if (ts.isFunctionDeclaration(node) && nameOf(node.name) === "reasonOf")
      visit(node, (x) => {
        if (ts.isReturnStatement(x) && x.expression !== undefined) add(x.expression);
      });
    else if (ts.isVariableDeclaration(node) && node.type !== undefined && node.initializer !== undefined) {
      const index = tupleIndex(node.type);
      if (index === null || !ts.isArrayLiteralExpression(node.initializer)) return;
      for (const row of node.initializer.elements)
        if (ts.isArrayLiteralExpression(row) && row.elements[index] !== undefined) add(row.elements[index]);
    }
  });
  return found;
}

/** Returns the position of the parameter `reason` of each function of a file. */
function parametersNamedReason(source: ts.SourceFile): Map<string, number> {
  const positions = new Map<string, number>();
  visit(source, (node) => {
    if (!ts.isFunctionLike(node)) return;
    const index = node.parameters.findIndex((x) => nameOf(x.name) === "reason");
    const name = nameOf(node.name) || (ts.isVariableDeclaration(node.parent) ? nameOf(node.parent.name) : "");
    if (index >= 0 && name !== "") positions.set(name, index);
  });
  return positions;
}

/** Returns the index of the member `reason` in a list of tuples; null for another type. */
function tupleIndex(type: ts.TypeNode): number | null {
  let index: number | null = null;
  visit(type, (node) => {
    if (!ts.isTupleTypeNode(node)) return;
    const at = node.elements.findIndex((x) => ts.isNamedTupleMember(x) && x.name.text === "reason");
    if (at >= 0) index = at;
  });
  return index;
}

/** Returns the values that an expression may have, as far as they are written in it. */
function literalsOf(node: ts.Node): ts.StringLiteralLike[] {
  if (ts.isStringLiteralLike(node)) return /^[a-z][a-z-]*$/.test(node.text) ? [node] : [];
  if (ts.isConditionalExpression(node)) return [...literalsOf(node.whenTrue), ...literalsOf(node.whenFalse)];
  if (ts.isParenthesizedExpression(node)) return literalsOf(node.expression);
  if (ts.isBinaryExpression(node)) return [...literalsOf(node.left), ...literalsOf(node.right)];
  return [];
}

function codeAround(node: ts.Node): string | null {
  const above = ts.findAncestor(node, ts.isNewExpression) ?? ts.findAncestor(node, ts.isCallExpression);
  const [first] = above?.arguments ?? [];
  return first !== undefined && first !== node && ts.isStringLiteral(first) ? first.text : null;
}

function nameOf(node: ts.Node | undefined): string {
  return node !== undefined && (ts.isIdentifier(node) || ts.isStringLiteral(node)) ? node.text : "";
}

function lineOf(source: ts.SourceFile, node: ts.Node): number {
  return source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
}

function visit(node: ts.Node, each: (node: ts.Node) => void): void {
  each(node);
  ts.forEachChild(node, (child) => {
    visit(child, each);
  });
}
