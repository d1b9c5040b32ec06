import { expect, test } from "vitest";
import { answerOf, toResult } from "./result.ts";
import type { Done } from "./result.ts";

const DECODED = { y: [{ kind: "index", index: 3, score: 0.5 }] } as const;

function done(look: () => void): Done {
  const item = {
    outputs: {},
    get decoded() {
      look();
      return DECODED;
    },
  };
  return {
    item,
    endpoint: null,
    ran: { items: [{ ok: true, value: item }], runs: 1, preprocessMs: 1, runMs: 2, decodeMs: 3 },
    route: { backend: "wasm", variant: "int8" },
    routeWhy: { code: "measured", text: "wasm: measured" } as unknown as Done["routeWhy"],
    start: { lane: "only-lane", batch: "alone" } as unknown as Done["start"],
    queuedMs: 4,
    attempts: [{ lane: "wasm-0", backend: "wasm", ms: 5, error: null }],
    lateMs: 0,
  };
}

test("decoded answers are made when they are read, and a copy of an answer has them, and the reasons", () => {
  let looks = 0;
  const result = toResult(done(() => (looks += 1)));
  expect(looks).toBe(0);
  expect(result.decoded).toEqual(DECODED);
  expect(looks).toBe(1);
  for (const copy of [{ ...result }, structuredClone(result), JSON.parse(JSON.stringify(result)) as typeof result]) {
    expect(copy.decoded).toEqual(DECODED);
    expect(copy.info.why).toEqual(result.info.why);
    expect(copy.info).toMatchObject({ backend: "wasm", variant: "int8", lane: "wasm-0", batchSize: 1, attempts: 1 });
  }
});

test("the answer is the decoded one where there is exactly one, is made when it is read, and a copy has it", () => {
  let looks = 0;
  const result = toResult(done(() => (looks += 1)));
  expect(looks).toBe(0);
  const { answer } = result;
  expect(answer).toBe(DECODED.y[0]);
  expect({ ...result }.answer).toBe(DECODED.y[0]);
});

test("the answer is null for no decoder, several decoded outputs, several rows and none", () => {
  const [one] = DECODED.y;
  for (const decoded of [{}, { y: [] }, { y: [one, one] }, { y: [one], z: [one] }, { y: [one], z: [] }])
    expect(answerOf({ decoded })).toBe(null);
});
