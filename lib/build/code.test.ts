import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { namesData, OP, rewriteBody } from "./code.ts";
import { number, readBodies, readSections, SECTION } from "../worker/backend/sections.ts";

const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm"));

/** A body without locals that holds these instructions. */
const body = (...code: number[]): Uint8Array => Uint8Array.of(0, ...code, OP.end);

test.each(["ort-wasm-simd-threaded.jspi.wasm", "ort-wasm-simd-threaded.wasm"])(
  "%s: every function is read to its end, instruction by instruction",
  (file) => {
    const code = readSections(readFileSync(join(ORT, file))).find((x) => x.id === SECTION.code)?.bytes;
    const bodies = readBodies(code ?? Uint8Array.of(0));
    expect(bodies.length).toBeGreaterThan(10_000);
    let [calls, others] = [0, 0];
    const wrong: number[] = []; // one expectation for all: there are tens of thousands
    for (const [i, each] of bodies.entries()) {
      let [depth, last] = [1, -1];
      const same = rewriteBody(each, (op, operand, code) => {
        if ([0x02, 0x03, 0x04, 0x06, 0x1f].includes(op)) depth += 1;
        if (op === OP.end) depth -= 1;
        last = op;
        if (op !== OP.call) return null;
        calls += 1;
        if (Buffer.compare(code, Uint8Array.of(op, ...number(operand))) !== 0) others += 1;
        return code;
      });
      if (depth !== 0 || last !== OP.end || Buffer.compare(same, each) !== 0) wrong.push(i);
    }
    expect(wrong).toEqual([]);
    expect(others).toBe(0);
    expect(calls).toBeGreaterThan(100_000);
  },
  60_000,
);

test("a call stands out from bytes that look like one", () => {
  const looksLike = [
    [0x41, OP.call], // i32.const
    [0x42, 0x90, OP.call], // i64.const, of two bytes
    [0x43, OP.call, 0, 0, 0], // f32.const
    [0x44, 0, 0, 0, 0, 0, 0, 0, OP.call], // f64.const
    [0xfd, 12, ...new Array<number>(16).fill(OP.call)], // v128.const
    [0xfd, 84, 0, OP.call, OP.call], // v128.load8_lane
    [0x28, 2, OP.call], // i32.load
    [0x28, 66, OP.call, OP.call], // of a memory by its number
    [0xfe, 0x10, 2, OP.call], // i32.atomic.load
    [0x0e, 2, OP.call, OP.call, OP.call], // br_table
    [0x1f, 0x40, 2, 0, OP.call, OP.call, 2, OP.call, OP.end], // try_table
    [0x1c, 1, 0x7f], // select of a type
    [0x02, 0x64, OP.call, OP.end], // block of a reference
    [0xfd, 0x80, 2], // relaxed_swizzle
  ];
  for (const code of looksLike) {
    const seen: number[] = [];
    rewriteBody(body(...code, OP.call, 7), (op, operand) => {
      if (op === OP.call) seen.push(operand);
      return null;
    });
    expect([code, seen]).toEqual([code, [7]]);
  }
});

test("calls are changed where they stand, locals and all else stay", () => {
  const before = Uint8Array.of(2, 3, 0x7f, 1, 0x64, 0x70, 0x20, 0, OP.call, 5, OP.call, 6, OP.end);
  const after = rewriteBody(before, (op, operand) =>
    op === OP.call ? Uint8Array.of(op, ...number(operand + 200)) : null,
  );
  expect(after).toEqual(
    Uint8Array.of(2, 3, 0x7f, 1, 0x64, 0x70, 0x20, 0, OP.call, ...number(205), OP.call, ...number(206), OP.end),
  );
});

test("what names data segments is found, and what looks like it is not", () => {
  expect(namesData(body(0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 8, 0, 0))).toBe(true);
  expect(namesData(body(0xfc, 9, 0))).toBe(true);
  expect(namesData(body(0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 10, 0, 0))).toBe(false); // memory.copy
  expect(namesData(body(0x42, 0xfc, 8, 0x1a))).toBe(false); // i64.const 1148
});

test("bytes that are no instructions are refused", () => {
  expect(() => rewriteBody(body(0xff), () => null)).toThrow(/not known, 255/);
  expect(() => rewriteBody(body(0xfe, 0x7f), () => null)).toThrow(/not known, 254 127/);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        expect(rewriteBody(bytes, () => null)).toBe(bytes);
      } catch (error) {
        expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
      }
    }),
  );
});
