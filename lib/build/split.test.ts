import { concatBytes } from "../core/concat-bytes.ts";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { MARK, markWasm } from "./instrument.ts";
import { linkWhenCalled, PART } from "../worker/backend/link-parts.ts";
import {
  nameOf,
  number,
  readBodies,
  readSections,
  SECTION,
  vector,
  writeBodies,
  writeSections,
} from "../worker/backend/sections.ts";
import { splitWasm } from "./split.ts";
import { readUsual } from "./hot-functions.ts";

const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm"));

/**
 * A module of three functions over a number: `twice`, `outer`, which calls it, adds one and counts in a global, and
 * `indirect`, which calls it through the table. It imports a function, which `outer` tells the count, and a memory.
 */
function smallModule(): Uint8Array {
  const [i32, func, void1, value1] = [0x7f, 0x60, 0, 1];
  const types = [
    [func, 1, i32, 1, i32],
    [func, 1, i32, 0],
  ].map((x) => Uint8Array.from(x));
  const imports = [
    concatBytes([nameOf("env"), nameOf("tell"), Uint8Array.of(0, value1)]),
    concatBytes([nameOf("env"), nameOf("memory"), Uint8Array.of(2, 0, 1)]),
  ];
  const exports = ["twice", "outer", "indirect"].map((x, i) => concatBytes([nameOf(x), Uint8Array.of(0, 1 + i)]));
  const bodies = [
    [void1, 0x20, 0, 0x20, 0, 0x6a, 0x0b],
    [void1, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0, 0x10, 0, 0x20, 0, 0x10, 1, 0x41, 1, 0x6a, 0x0b],
    [void1, 0x20, 0, 0x41, 0, 0x11, 0, 0, 0x0b],
  ].map((x) => Uint8Array.from(x));
  return writeSections([
    { id: SECTION.type, bytes: vector(types) },
    { id: SECTION.import, bytes: vector(imports) },
    { id: SECTION.function, bytes: vector([number(0), number(0), number(0)]) },
    { id: SECTION.table, bytes: vector([Uint8Array.of(0x70, 0, 1)]) },
    { id: SECTION.global, bytes: vector([Uint8Array.of(i32, 1, 0x41, 0, 0x0b)]) },
    { id: SECTION.export, bytes: vector(exports) },
    { id: SECTION.element, bytes: vector([Uint8Array.of(0, 0x41, 0, 0x0b, 1, 1)]) },
    { id: SECTION.code, bytes: writeBodies(bodies) },
  ]);
}

type Calls = Record<"twice" | "outer" | "indirect", (x: number) => number>;

function instanceOf(bytes: Uint8Array, load?: () => WebAssembly.Module): { calls: Calls; told: number[] } {
  const told: number[] = [];
  const imports = { env: { tell: (x: number) => told.push(x), memory: new WebAssembly.Memory({ initial: 1 }) } };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), imports);
  if (load !== undefined) linkWhenCalled(instance, imports, load);
  return { calls: instance.exports as unknown as Calls, told };
}

describe.each(Array.from({ length: 8 }, (_, usual) => usual))("with the functions %i usual", (usual) => {
  const isUsual = (i: number): boolean => ((usual >> i) & 1) === 1;
  const { first, rest } = splitWasm(smallModule(), "a", isUsual);

  test("the parts do what the whole does, and the rest is linked by the first call of a rare function, once", () => {
    let loads = 0;
    const { calls, told } = instanceOf(first, () => {
      loads += 1;
      return new WebAssembly.Module(rest);
    });
    expect(loads).toBe(0);
    expect([calls.twice(4), loads]).toEqual([8, isUsual(0) ? 0 : 1]);
    expect([calls.outer(5), calls.outer(6), calls.indirect(7)]).toEqual([11, 13, 14]);
    expect(told).toEqual([1, 2]); // one global for both parts
    expect(loads).toBe(usual === 7 ? 0 : 1);
  });

  test("what JavaScript takes out of the table is the function itself", () => {
    let loads = 0;
    const { calls } = instanceOf(first, () => {
      loads += 1;
      return new WebAssembly.Module(rest);
    });
    // Another slot was called through before, or none.
    if (isUsual(2)) calls.indirect(1);
    const table = (calls as unknown as WebAssembly.Exports)[`${PART} a table 0`] as WebAssembly.Table;
    expect((table.get(0) as (x: number) => number)(4)).toBe(8);
    expect(loads).toBe(isUsual(0) ? 0 : 1);
  });
});

test("parts of two modules do not link", () => {
  const { rest } = splitWasm(smallModule(), "b", () => false);
  const { calls } = instanceOf(splitWasm(smallModule(), "a", () => false).first, () => new WebAssembly.Module(rest));
  expect(() => calls.twice(1)).toThrow(WebAssembly.LinkError);
});

test("a module that was not split is left as it is", () => {
  const { calls } = instanceOf(smallModule(), () => expect.unreachable());
  expect(calls.outer(5)).toBe(11);
});

test("marks tell which functions ran", () => {
  const { calls } = instanceOf(markWasm(smallModule()));
  const ran = (): string[] =>
    Object.entries(calls as unknown as Record<string, WebAssembly.Global>)
      .filter(([key, mark]) => key.startsWith(MARK) && mark.value === 1)
      .map(([key]) => key.slice(MARK.length));
  expect(calls.indirect(3)).toBe(6);
  expect(ran()).toEqual(["0", "2"]);
  calls.outer(1);
  expect(ran()).toEqual(["0", "1", "2"]);
});

test("what is no module, or ends too soon, is refused", () => {
  expect(() => splitWasm(new TextEncoder().encode("<!doctype html>"), "a", () => true)).toThrow(
    /no WebAssembly module/,
  );
  expect(() => splitWasm(smallModule().subarray(0, -1), "a", () => true)).toThrow(/past the end|ends within/);
});

describe.each([
  ["jspi", "ort-wasm-simd-threaded.jspi.wasm"],
  ["wasm", "ort-wasm-simd-threaded.wasm"],
])("ONNX Runtime's build %s", (name, file) => {
  const whole = readFileSync(join(ORT, file));
  test("is the one whose usual functions are known, and comes apart into them and the others", () => {
    const { id, isUsual } = readUsual(name, whole);
    const { first, rest } = splitWasm(whole, id, isUsual);
    expect(first.length).toBeLessThan(0.65 * whole.length);
    const bodiesOf = (bytes: Uint8Array): readonly Uint8Array[] =>
      readBodies(readSections(bytes).find((x) => x.id === SECTION.code)?.bytes ?? Uint8Array.of(0));
    const all = bodiesOf(whole);
    const usual = all.flatMap((_, i) => (isUsual(i) ? [i] : []));
    // Besides them the first part has few functions: stubs do not come by the thousand.
    expect(bodiesOf(first).length).toBeLessThan(2 * usual.length);
    const others = bodiesOf(rest);
    expect(others).toHaveLength(all.length);
    const isSame = (i: number): boolean => Buffer.compare(others[i] as Uint8Array, all[i] as Uint8Array) === 0;
    expect(all.filter((_, i) => !isUsual(i) && !isSame(i)).length).toBeLessThan(5); // those that copy data segments
  });
});
