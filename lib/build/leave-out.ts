// Leaves methods out of a module's code: those that only Node calls, of classes that every page loads. They can't be apart in
// the source, since they set private fields.
import ts from "typescript";

/** Returns a module's code without the methods of a name. */
export function withoutMethods(code: string, name: string): string {
  const file = ts.createSourceFile("module.js", code, ts.ScriptTarget.ESNext);
  const found: ts.MethodDeclaration[] = [];
  const look = (node: ts.Node): void => {
    if (ts.isMethodDeclaration(node) && node.name.getText(file) === name) found.push(node);
    else ts.forEachChild(node, look);
  };
  look(file);
  return found.reverse().reduce((left, { pos, end }) => left.slice(0, pos) + left.slice(end), code);
}
