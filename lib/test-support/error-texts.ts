// Texts of all errors that a module and what it imports can throw, read from the source: a message is listed as it is
// written, with words in braces for what a user's input fills in. A message that is a parameter of its function is listed
// at each call. Node only; no part of the package.
import { existsSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import ts from "typescript";
import { ROOT } from "./read-program.ts";

/** Index of the message among the arguments of an error's constructor. */
const MESSAGE_AT: Readonly<Record<string, number>> = {
  Error: 0,
  TypeError: 0,
  RangeError: 0,
  SyntaxError: 0,
  InvalidArgumentError: 0,
  SelvedgeError: 1,
};

/**
 * Functions whose parameter becomes the message of an error, or a part of it: the parameter's index by file and name.
 */
type Makers = Map<string, number>;

/** Where else than in the constructor of an error a text stands, by the functions' names. */
export interface TextPlaces {
  /** Functions that return texts. */
  readonly returned?: readonly string[];
  /** Functions that are given a text, and its index among their arguments. */
  readonly given?: Readonly<Record<string, number>>;
  /** Whether the texts of errors are left out; false by default. */
  readonly isWithoutErrors?: boolean;
}

/** Lists the texts by file, sorted; paths are relative to the repository. */
export function errorTexts(entry: string, places: TextPlaces = {}): Map<string, readonly string[]> {
  const sources = importedBy(entry).map((source) => ({ source, calls: callsIn(source) }));
  const makers: Makers = new Map();
  const texts = new Map<string, Set<string>>();
  // A maker may call another one: repeated until no new maker is found.
  for (let before = -1; before < makers.size;) {
    before = makers.size;
    texts.clear();
    for (const { source, calls } of sources) {
      const own = new Set<string>();
      for (const call of calls) read(call, { source, places }, makers, own);
      for (const value of returnedIn(source, places.returned ?? [])) addTexts(value, own);
      if (own.size > 0) texts.set(relative(ROOT, source.fileName), own);
    }
  }
  return new Map([...texts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, own]) => [path, [...own].sort()]));
}

/** Parses a file and all files that it imports, at once or later. */
function importedBy(entry: string): ts.SourceFile[] {
  const found = new Map<string, ts.SourceFile>();
  const open = [resolve(entry)];
  for (let path; (path = open.pop()) !== undefined;) {
    if (found.has(path) || !existsSync(path)) continue;
    const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ESNext, true);
    found.set(path, source);
    for (const { fileName } of ts.preProcessFile(source.text).importedFiles)
      if (fileName.startsWith(".") && fileName.endsWith(".ts")) open.push(resolve(dirname(path), fileName));
  }
  return [...found.values()];
}

type CallNode = ts.NewExpression | ts.CallExpression;

/** Lists the calls of a file, those of constructors too, from the outer to the inner. */
function callsIn(source: ts.SourceFile): CallNode[] {
  const found: CallNode[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) || ts.isCallExpression(node)) found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Adds the texts of a call that makes an error. */
function read(
  node: CallNode,
  from: { source: ts.SourceFile; places: TextPlaces },
  makers: Makers,
  texts: Set<string>,
): void {
  const at = messageAt(node, from, makers);
  const message = at === undefined ? undefined : node.arguments?.[at];
  if (message === undefined) return;
  note(message, makers);
  addTexts(message, texts);
}

/** Returns the index of the message among the arguments of a call; undefined where it has none. */
function messageAt(
  node: CallNode,
  { source, places }: { source: ts.SourceFile; places: TextPlaces },
  makers: Makers,
): number | undefined {
  const name = nameOf(node.expression);
  const errors = places.isWithoutErrors === true ? {} : MESSAGE_AT;
  if (ts.isNewExpression(node)) return errors[name];
  // The constructor of a kind of error.
  if (node.expression.kind === ts.SyntaxKind.SuperKeyword) return errors[extendedBy(node)];
  return places.given?.[name] ?? makers.get(declarationOf(name, source));
}

/** Returns the name of the class that the class around a node extends; "" for none. */
function extendedBy(node: ts.Node): string {
  for (let at = node; !ts.isSourceFile(at); at = at.parent)
    if (ts.isClassLike(at)) return at.heritageClauses?.[0]?.types[0]?.expression.getText() ?? "";
  return "";
}

/** Adds the texts that an expression may have. */
function addTexts(node: ts.Expression, texts: Set<string>): void {
  // A single word is a part of a message that its function writes.
  for (const text of written(node))
    if (/[a-z]{2}/i.test(text.replaceAll(/\{[^}]*\}/g, "")) && /\s/.test(text.trim())) texts.add(text);
}

/** Lists what the functions of a file return that have one of some names. */
function returnedIn(source: ts.SourceFile, names: readonly string[]): ts.Expression[] {
  const found: ts.Expression[] = [];
  const visit = (node: ts.Node, isIn: boolean): void => {
    const isNow = ts.isFunctionLike(node) ? names.includes(functionName(node)) : isIn;
    if (isNow && ts.isReturnStatement(node) && node.expression !== undefined) found.push(node.expression);
    if (isNow && ts.isArrowFunction(node) && !ts.isBlock(node.body)) found.push(node.body);
    ts.forEachChild(node, (x) => {
      visit(x, isNow);
    });
  };
  visit(source, false);
  return found;
}

/** Records the function around a message if one of its parameters is a part of the message. */
function note(message: ts.Expression, makers: Makers): void {
  const parts = ts.isTemplateExpression(message) ? message.templateSpans.map((x) => x.expression) : [message];
  for (const part of parts) {
    if (!ts.isIdentifier(part)) continue;
    for (let at: ts.Node = part; !ts.isSourceFile(at); at = at.parent) {
      if (!ts.isFunctionLike(at)) continue;
      const index = at.parameters.findIndex(
        ({ name, type }) => ts.isIdentifier(name) && name.text === part.text && type?.getText() === "string",
      );
      const name = index < 0 ? "" : functionName(at);
      if (name !== "") makers.set(`${at.getSourceFile().fileName} ${name}`, index);
    }
  }
}

/** Returns file and name under which a called function is declared: here, or where it is imported from. */
function declarationOf(name: string, source: ts.SourceFile): string {
  for (const statement of source.statements) {
    if (!ts.isImportDeclaration(statement)) continue;
    const names = statement.importClause?.namedBindings;
    if (names === undefined || !ts.isNamedImports(names)) continue;
    const found = names.elements.find((x) => x.name.text === name);
    if (found === undefined) continue;
    const { text } = statement.moduleSpecifier as ts.StringLiteral;
    return `${resolve(dirname(source.fileName), text)} ${(found.propertyName ?? found.name).text}`;
  }
  return `${source.fileName} ${name}`;
}

function functionName(node: ts.SignatureDeclaration): string {
  if (node.name !== undefined) return node.name.getText();
  const { parent } = node;
  if (ts.isBinaryExpression(parent)) return nameOf(parent.left);
  return ts.isVariableDeclaration(parent) ? parent.name.getText() : "";
}

function nameOf(node: ts.Expression): string {
  return ts.isPropertyAccessExpression(node) ? node.name.text : node.getText();
}

/** Returns the texts that an expression may have. */
function written(node: ts.Expression): string[] {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isParenthesizedExpression(node)) return written(node.expression);
  if (ts.isConditionalExpression(node)) return [...written(node.whenTrue), ...written(node.whenFalse)];
  if (ts.isBinaryExpression(node)) return joined([written(node.left), written(node.right)]);
  if (ts.isTemplateExpression(node)) {
    const parts = node.templateSpans.map(({ expression, literal }) =>
      joined([ts.isIdentifier(expression) ? written(expression) : literals(expression), [literal.text]]),
    );
    return joined([[node.head.text], ...parts]);
  }
  const value = ts.isIdentifier(node) ? valueOf(node) : undefined;
  if (value !== undefined) return literals(value);
  return tableTexts(node) ?? [placeholder(node)];
}

/** Returns the texts of a table by the key of an expression, as `texts[status]`; undefined for another expression. */
function tableTexts(node: ts.Expression): string[] | undefined {
  const table = ts.isElementAccessExpression(node) && ts.isIdentifier(node.expression) && valueOf(node.expression);
  const texts = table && ts.isObjectLiteralExpression(table) ? propertyTexts(table) : [];
  return texts.length === 0 ? undefined : texts;
}

/** Returns the texts of an object's properties, those of a condition as `...(isKnown && { … })` too. */
function propertyTexts({ properties }: ts.ObjectLiteralExpression): string[] {
  return properties.flatMap((property) => {
    if (ts.isPropertyAssignment(property)) return literals(property.initializer);
    if (!ts.isSpreadAssignment(property)) return [];
    const inner = ts.isParenthesizedExpression(property.expression)
      ? property.expression.expression
      : property.expression;
    const spread = ts.isBinaryExpression(inner) ? inner.right : inner;
    return ts.isObjectLiteralExpression(spread) ? propertyTexts(spread) : [];
  });
}

/** Returns what stands for the value of an expression: a number as it is, else words in braces. */
function placeholder(node: ts.Expression): string {
  const words = wordsFor(node);
  return /^[\d.]+$/.test(words) ? words : `{${words === "" || words === "undefined" ? "…" : words}}`;
}

/** Names for values, too short to say anything. */
const SHORT = /^(?:[a-z]|own|found|given|all)$/;

/** Returns words for the value of an expression: the names of what it is made of, without what it does with them. */
function wordsFor(node: ts.Node): string {
  if (ts.isNumericLiteral(node)) return node.getText().replaceAll("_", "");
  if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) return inWords(node.text);
  if (ts.isPropertyAccessExpression(node)) {
    const { expression, name } = node;
    const [owner, own] = [wordsFor(expression), inWords(name.text)];
    if (own === "length" || own === "size" || own === "byte length") return `number of ${owner}`;
    if (own === "message" || own === "text") return owner;
    return owner === "" || SHORT.test(owner) ? own : `${owner} ${own}`;
  }
  if (ts.isCallExpression(node)) {
    const { expression, arguments: given } = node;
    const isMethod = ts.isPropertyAccessExpression(expression);
    const value = isMethod && !ts.isStringLiteralLike(expression.expression) ? wordsFor(expression.expression) : "";
    const owner = /^(?:math|object|array|json|number)$/.test(value) ? "" : value;
    if (owner !== "") return isMethod && expression.name.text === "join" ? `${owner} …` : owner;
    return given[0] === undefined ? inWords(nameOf(expression)) : wordsFor(given[0]);
  }
  if (ts.isBinaryExpression(node)) return wordsFor(node.left) || wordsFor(node.right);
  if (ts.isConditionalExpression(node)) return wordsFor(node.whenTrue) || wordsFor(node.whenFalse);
  if (ts.isTemplateExpression(node)) return node.templateSpans.map(({ expression }) => wordsFor(expression)).join(" ");
  if (ts.isArrayLiteralExpression(node)) return node.elements.map(wordsFor).join(" ");
  if (ts.isObjectLiteralExpression(node)) return "";
  const inner = ts.forEachChild(node, (x) => x);
  return inner === undefined ? "" : wordsFor(inner);
}

/** Writes a name of code as words: `bundleFile` as "bundle file", `ERROR_CODES` as "error codes". */
function inWords(name: string): string {
  return name
    .replace(/^#/, "")
    .replaceAll("_", " ")
    .replaceAll(/([a-z\d])([A-Z])/g, "$1 $2")
    .toLowerCase();
}

/** Returns the texts of an expression that is made of literals; else words for it. */
function literals(node: ts.Expression): string[] {
  const isText =
    ts.isStringLiteralLike(node) ||
    ts.isTemplateExpression(node) ||
    ts.isParenthesizedExpression(node) ||
    ts.isConditionalExpression(node) ||
    ts.isElementAccessExpression(node) ||
    (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken);
  return isText ? written(node) : [placeholder(node)];
}

/** Returns the value of a constant that is declared in the blocks around its use. */
function valueOf(use: ts.Identifier): ts.Expression | undefined {
  for (let at: ts.Node = use.parent; ; at = at.parent) {
    if (ts.isBlock(at) || ts.isSourceFile(at))
      for (const statement of at.statements)
        if (ts.isVariableStatement(statement))
          for (const { name, initializer } of statement.declarationList.declarations)
            if (ts.isIdentifier(name) && name.text === use.text && initializer !== use) return initializer;
    if (ts.isFunctionLike(at) && at.parameters.some(({ name }) => name.getText() === use.text)) return undefined;
    if (ts.isSourceFile(at)) return undefined;
  }
}

function joined(parts: readonly (readonly string[])[]): string[] {
  return parts.reduce<string[]>((all, part) => all.flatMap((x) => part.map((y) => x + y)), [""]);
}
