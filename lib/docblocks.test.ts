// Docblocks of the public surface, which editors show: every symbol that lib/index.ts exports, and every public member
// of an exported interface or class, has one. Found by TypeScript's checker, as an editor finds it.
import { join, relative } from "node:path";
import ts from "typescript";
import { beforeAll, expect, test } from "vitest";
import { readProgram, ROOT } from "./test-support/read-program.ts";

const INDEX = join(ROOT, "lib/index.ts");
const WRONG_PATH = join(ROOT, "lib/wrong.ts");
const WRONG = `
/** Documented. */
export interface Told {
  /** Counts. */
  readonly count: number;
  silent: string;
}
export class Mute {
  #own = 1;
  /** Reads. */
  read(): number {
    return this.#own;
  }
  write(): void {}
}
export const value = 1;
export type { Told as Again };
`;

let program: ts.Program;

/** Lists what a module exports without a docblock, members as `Owner.member`. */
function undocumented(path: string): string[] {
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(path);
  const module = file === undefined ? undefined : checker.getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${path} exports nothing`);
  const isMute = (symbol: ts.Symbol): boolean => symbol.getDocumentationComment(checker).length === 0;
  const isOurs = ({ declarations = [] }: ts.Symbol): boolean =>
    declarations.some((x) => x.getSourceFile().fileName.startsWith(join(ROOT, "lib")));
  const isPrivate = ({ valueDeclaration: x }: ts.Symbol): boolean =>
    x !== undefined && "name" in x && ts.isPrivateIdentifier(x.name as ts.Node);
  return checker.getExportsOfModule(module).flatMap((exported) => {
    const symbol = (exported.flags & ts.SymbolFlags.Alias) === 0 ? exported : checker.getAliasedSymbol(exported);
    const isOwner = (symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) !== 0;
    const members = isOwner ? checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)) : [];
    return [
      ...(isMute(symbol) ? [exported.name] : []),
      ...members
        .filter((member) => isOurs(member) && !isPrivate(member) && isMute(member))
        .map((member) => `${exported.name}.${member.name}`),
    ];
  });
}

beforeAll(() => {
  program = readProgram([INDEX], WRONG_PATH, WRONG);
}, 120_000);

test(`every symbol that ${relative(ROOT, INDEX)} exports has a docblock`, () => {
  expect(undocumented(INDEX)).toEqual([]);
});

test("a symbol and a member without a docblock are named", () => {
  expect(undocumented(WRONG_PATH)).toEqual(["Told.silent", "Mute", "Mute.write", "value", "Again.silent"]);
});
