import { expect, test } from "vitest";
import { ERROR_CODES, fromWireError, isSelvedgeError, SelvedgeError, toWireError } from "./errors.ts";
import type { WireError } from "./errors.ts";
import { ERROR_REASONS } from "./error-reasons.ts";

async function acrossTheLine(error: unknown): Promise<Error> {
  const { port1, port2 } = new MessageChannel();
  const arrived = new Promise<WireError>((resolve) => {
    port2.onmessage = (event: MessageEvent<WireError>) => {
      resolve(event.data);
    };
  });
  port1.postMessage(toWireError(error));
  const wire = await arrived;
  port1.close();
  return fromWireError(wire);
}

test.each(ERROR_CODES)("%s keeps class, code, details, retryable and cause across a message channel", async (code) => {
  const sent = new SelvedgeError(code, `it was ${code}`, { url: "x", bytes: 3 }, new RangeError("under it"));
  const got = await acrossTheLine(sent);
  expect(got).toBeInstanceOf(SelvedgeError);
  expect(isSelvedgeError(got) && { ...got }).toEqual({ ...sent });
  expect(got.message).toBe(sent.message);
  expect(got.stack).toBe(sent.stack);
  expect(got.cause).toBeInstanceOf(RangeError);
});

test("the code is where a console shows it: in the name", async () => {
  const error = new SelvedgeError("closed", "The engine is closed.");
  for (const each of [error, await acrossTheLine(error)]) {
    expect(String(each)).toBe("SelvedgeError [closed]: The engine is closed.");
    expect(each.stack).toMatch(/^SelvedgeError \[closed\]: The engine is closed\./);
  }
});

test("the caller's mistakes and foreign errors keep their class or name", async () => {
  expect(await acrossTheLine(new TypeError("t"))).toBeInstanceOf(TypeError);
  expect(await acrossTheLine(new RangeError("r"))).toBeInstanceOf(RangeError);
  expect((await acrossTheLine(new DOMException("gone", "AbortError"))).name).toBe("AbortError");
  expect((await acrossTheLine("text alone")).message).toBe("text alone");
});

test("a cyclic chain of causes is cut", () => {
  const loop = new Error("loop");
  loop.cause = loop;
  expect(JSON.stringify(toWireError(loop)).length).toBeLessThan(100_000);
});

test("an error of another copy of the package is recognised", () => {
  const foreign = Object.defineProperty(new Error("x"), Symbol.for("selvedge.error"), { value: true });
  expect(isSelvedgeError(foreign)).toBe(true);
  expect(isSelvedgeError(new Error("x"))).toBe(false);
});

test.each(ERROR_REASONS)("$code $reason: a retry is advised only where waiting can help", async (each) => {
  const sent = new SelvedgeError(each.code, "x", { reason: each.reason });
  expect(sent.retryable).toBe(each.retryable);
  expect(await acrossTheLine(sent)).toMatchObject({
    retryable: each.retryable,
    help: `npx selvedge explain ${each.code}`,
  });
});
