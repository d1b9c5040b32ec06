import { expect, test } from "vitest";
import { withoutMethods } from "./leave-out.ts";

test("methods of a name are left out with their comments, and nothing else is", () => {
  const code = [
    "export class A {",
    "  #x = 1;",
    "  /** Sets it. */",
    "  static restore({ x }) {",
    "    const a = new A(); // }",
    "    a.#x = x;",
    "    return a;",
    "  }",
    "  save() { return { restore: this.#x }; }",
    "  restore(x) { this.#x = x; }",
    "}",
    "export const restore = 1;",
  ];
  expect(withoutMethods(code.join("\n"), "restore")).toBe([...code.slice(0, 2), code[8], ...code.slice(10)].join("\n"));
  expect(withoutMethods("export class B { keep() {} }", "restore")).toBe("export class B { keep() {} }");
});
