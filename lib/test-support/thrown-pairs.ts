// Finds the pairs of code and `details.reason` that the source can throw, by the types of the expressions in each
// `new SelvedgeError(code, message, details)`. Where an expression is a parameter of a function around it, each call of
// that function is looked at instead.
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { readProgram, ROOT } from "./read-program.ts";

/** An error's code and reason as the source has them. */
export interface ThrownPair {
  /** As `"code reason"`; `?` for one that is no literal there. */
  readonly pair: string;
  /** File and function. */
  readonly at: string;
}

/** Lists the pairs in a folder; tests and their support are left out. */
export function thrownPairs(folder: string, extraPath = join(ROOT, "lib/none.ts"), extraText = ""): ThrownPair[] {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/\.test\.ts$|\.d\.ts$|^(test-support|explain|doctor|build)\//.test(file))
    .map((file) => join(folder, file));
  const program = readProgram(paths, extraPath, extraText);
  const checker = program.getTypeChecker();
  const sources = program.getSourceFiles().filter((x) => paths.includes(x.fileName) || x.fileName === extraPath);
  const calls: Calls = new Map();
  const methodCalls: MethodCalls = new Map();
  const made: ts.NewExpression[] = [];
  for (const source of sources)
    visit(source, (node) => {
      if (ts.isNewExpression(node) && node.expression.getText() === "SelvedgeError") made.push(node);
      if (!ts.isCallExpression(node)) return;
      if (ts.isPropertyAccessExpression(node.expression)) {
        const name = node.expression.name.text;
        methodCalls.set(name, [...(methodCalls.get(name) ?? []), node]);
        return;
      }
      for (const called of declarationsOf(checker, node.expression)) {
        // A function that was passed on is known by the name of its type.
        const key = ts.isParameter(called) ? called.type?.getText() : called;
        if (key !== undefined) calls.set(key, [...(calls.get(key) ?? []), node]);
      }
    });
  return made.flatMap((node) => {
    const [code, , details] = node.arguments ?? [];
    const reason = details === undefined ? null : reasonIn(details, checker);
    if (code === undefined || reason === null) return [];
    const at = `${relative(ROOT, node.getSourceFile().fileName)} ${functionAround(node)}`;
    return pairsOf(code, reason, { checker, calls, methodCalls }).map((pair) => ({ pair, at }));
  });
}

/** Calls by the function's declaration, or the name of its type. */
type Calls = Map<ts.Node | string, readonly ts.CallExpression[]>;
/**
 * Calls of members by the member's name: to find the declaration of a member takes the type of its object, which for all
 * calls is most of a check of the whole program.
 */
type MethodCalls = Map<string, readonly ts.CallExpression[]>;

interface Known {
  readonly checker: ts.TypeChecker;
  readonly calls: Calls;
  readonly methodCalls: MethodCalls;
}

function pairsOf(code: ts.Node, given: ts.Node, known: Known, depth = 0): string[] {
  const reason = ts.isObjectLiteralExpression(given) ? reasonIn(given, known.checker) : given;
  if (reason === null) return [];
  const [codes, reasons] = [code, reason].map((x) => literalsOf(typeOf(x, known.checker))) as [
    string[] | null,
    string[] | null,
  ];
  const parameter =
    (codes === null ? parameterOf(code, known.checker) : null) ??
    (reasons === null ? parameterOf(reason, known.checker) : null);
  const around = parameter?.parent;
  if (around === undefined || depth > 3)
    return (codes ?? ["?"]).flatMap((x) => (reasons ?? ["?"]).map((y) => `${x} ${y}`));
  const named = ts.isVariableDeclaration(around.parent) ? around.parent : around;
  const type = ts.isVariableDeclaration(named) ? named.type?.getText() : undefined;
  const name = (named as ts.NamedDeclaration).name?.getText() ?? "";
  const calls = [
    ...[named, type].flatMap((x) => (x === undefined ? [] : (known.calls.get(x) ?? []))),
    ...(known.methodCalls.get(name) ?? []).filter((x) => declarationsOf(known.checker, x.expression).includes(named)),
  ];
  return calls.flatMap((call) => {
    const passed = (node: ts.Node): ts.Node | null => {
      const own = parameterOf(node, known.checker);
      if (own?.parent !== around) return node;
      return call.arguments[around.parameters.indexOf(own)] ?? own.initializer ?? null;
    };
    const [ownCode, ownReason] = [passed(code), passed(reason)];
    return ownCode === null || ownReason === null ? [] : pairsOf(ownCode, ownReason, known, depth + 1);
  });
}

/** Returns the type of an expression; a field in shorthand has a wider one than its variable. */
function typeOf(node: ts.Node, checker: ts.TypeChecker): ts.Type {
  const value = ts.isShorthandPropertyAssignment(node.parent)
    ? checker.getShorthandAssignmentValueSymbol(node.parent)
    : undefined;
  return value === undefined ? checker.getTypeAtLocation(node) : checker.getTypeOfSymbolAtLocation(value, node);
}

/** Returns the values of a type of literals; null for any other. */
function literalsOf(type: ts.Type): string[] | null {
  const parts = (type.isUnion() ? type.types : [type]).filter((x) => (x.flags & ts.TypeFlags.Null) === 0);
  const isAll = parts.every((x) => x.isStringLiteral());
  // Of the type of all codes nothing follows.
  return isAll && parts.length < 15 ? parts.map((x) => x.value) : null;
}

/** Returns the expression of the field `reason` in an error's details, or the parameter that the details are. */
function reasonIn(details: ts.Expression, checker: ts.TypeChecker): ts.Node | null {
  let found: ts.Node | null = null;
  visit(details, (node) => {
    if (ts.isPropertyAssignment(node) && node.name.getText() === "reason") found = node.initializer;
    else if (ts.isShorthandPropertyAssignment(node) && node.name.text === "reason") found = node.name;
    else if (found === null && ts.isIdentifier(node) && (node === details || ts.isSpreadAssignment(node.parent)))
      for (const declaration of declarationsOf(checker, node))
        if (ts.isParameter(declaration)) found = node;
        else if (ts.isVariableDeclaration(declaration) && declaration.initializer !== undefined)
          found = reasonIn(declaration.initializer, checker);
  });
  return found;
}

function parameterOf(node: ts.Node, checker: ts.TypeChecker): ts.ParameterDeclaration | null {
  if (!ts.isIdentifier(node)) return null;
  return declarationsOf(checker, node).find((x) => ts.isParameter(x)) ?? null;
}

function declarationsOf(checker: ts.TypeChecker, node: ts.Node): readonly ts.Declaration[] {
  const symbol =
    ts.isIdentifier(node) && ts.isShorthandPropertyAssignment(node.parent)
      ? checker.getShorthandAssignmentValueSymbol(node.parent)
      : checker.getSymbolAtLocation(node);
  if (symbol === undefined) return [];
  return (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol).declarations ?? [];
}

function functionAround(node: ts.Node): string {
  const around = ts.findAncestor(node, (x) => ts.isFunctionDeclaration(x) || ts.isMethodDeclaration(x));
  return around === undefined ? "" : ((around as ts.FunctionDeclaration).name?.getText() ?? "");
}

function visit(node: ts.Node, each: (node: ts.Node) => void): void {
  each(node);
  ts.forEachChild(node, (child) => {
    visit(child, each);
  });
}
