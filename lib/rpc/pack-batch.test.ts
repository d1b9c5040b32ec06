// Round trip over the thread line: any batch is unpacked as it was packed.
import fc from "fast-check";
import { expect, test } from "vitest";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { Dtype, NumericDtype, Tensor } from "../core/tensor.ts";
import { buffersOf, pack, unpack } from "./pack-tensors.ts";
import type { Decoded, Feeds, Ran } from "./messages.ts";
import { sendRan, sendRun, takeRan, takeRun } from "./pack-batch.ts";

const NUMERIC = Object.keys(ARRAY_TYPES) as NumericDtype[];

/** Tensors of any dtype, some of them views of the middle of a larger buffer. */
const tensor: fc.Arbitrary<Tensor> = fc
  .record({
    dtype: fc.constantFrom<Dtype>(...NUMERIC, "string"),
    dims: fc.array(fc.nat(3), { maxLength: 3 }),
    seed: fc.nat(250),
    before: fc.nat(2),
  })
  .map(({ dtype, dims, seed, before }): Tensor => {
    const count = dims.reduce((a, b) => a * b, 1);
    if (dtype === "string") return { dtype, dims, data: Array.from({ length: count }, (_, i) => `${seed} ${i}`) };
    const Kind = ARRAY_TYPES[dtype];
    const bytes = Uint8Array.from(
      { length: (before + count) * Kind.BYTES_PER_ELEMENT },
      (_, i) => (seed + 7 * i) % 251,
    );
    return { dtype, dims, data: new Kind(bytes.buffer, before * Kind.BYTES_PER_ELEMENT, count) } as Tensor;
  });

const tensors = fc.dictionary(fc.constantFrom("a", "b", "c"), tensor);
const score = fc.double();
const decoded: Record<Decoded["kind"], fc.Arbitrary<Decoded>> = {
  text: fc.record({ kind: fc.constant("text" as const), text: fc.string(), confidence: score }),
  labels: fc.record({
    kind: fc.constant("labels" as const),
    labels: fc.array(fc.record({ label: fc.string(), index: fc.nat(), score }), { maxLength: 3 }),
  }),
  index: fc.record({ kind: fc.constant("index" as const), index: fc.nat(), score }),
  probabilities: fc.record({
    kind: fc.constant("probabilities" as const),
    probabilities: fc.array(score, { maxLength: 4 }).map((values) => Float32Array.from(values)),
  }),
  vector: fc.record({
    kind: fc.constant("vector" as const),
    vector: fc.array(score, { maxLength: 4 }).map((values) => Float32Array.from(values)),
  }),
  entities: fc.record({
    kind: fc.constant("entities" as const),
    entities: fc.array(
      fc.record({
        ...{ label: fc.string(), score, word: fc.string() },
        ...{ start: fc.option(fc.nat()), end: fc.option(fc.nat()), index: fc.nat() },
      }),
      { maxLength: 3 },
    ),
  }),
  boxes: fc.record({
    kind: fc.constant("boxes" as const),
    boxes: fc.array(
      fc.record({
        ...{ label: fc.string(), index: fc.nat(), score },
        box: fc.record({ xmin: score, ymin: score, xmax: score, ymax: score }),
      }),
      { maxLength: 3 },
    ),
  }),
  segments: fc.record({
    ...{ kind: fc.constant("segments" as const), width: fc.nat(), height: fc.nat() },
    classes: fc.uint16Array({ maxLength: 4 }).map((x) => Uint16Array.from(x)),
    labels: fc.array(fc.record({ label: fc.string(), index: fc.nat(), share: score }), { maxLength: 3 }),
  }),
  map: fc.record({
    ...{ kind: fc.constant("map" as const), width: fc.nat(), height: fc.nat() },
    values: fc.array(score, { maxLength: 4 }).map((values) => Float32Array.from(values)),
  }),
  points: fc.record({
    kind: fc.constant("points" as const),
    points: fc.array(fc.record({ label: fc.string(), index: fc.nat(), score, x: score, y: score }), { maxLength: 3 }),
  }),
};

/** Round trip of a message: cloned, with its buffers transferred. */
function cross<T>(message: T, moved: readonly ArrayBuffer[]): T {
  return structuredClone(message, { transfer: [...moved] });
}

/** Bytes rather than numbers, so that every NaN is distinguished from every other. */
function shown({ dtype, dims, data }: Tensor): unknown {
  if (Array.isArray(data)) return { dtype, dims, data };
  return {
    dtype,
    dims,
    kind: data.constructor.name,
    data: [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)],
  };
}

function shownAll(each: Readonly<Record<string, Tensor>>): unknown {
  return Object.fromEntries(
    Object.keys(each)
      .sort()
      .map((name) => [name, shown(each[name] as Tensor)]),
  );
}

test("a batch's inputs arrive, and the page keeps its own", () => {
  const text = fc.array(fc.string()).map((texts) => ({ kind: "text" as const, texts }));
  const feeds: fc.Arbitrary<Feeds> = fc.record({
    tensors: fc.dictionary(fc.constantFrom("a", "b", "c"), tensor),
    others: fc.oneof(fc.constant(null), fc.dictionary(fc.constantFrom("d", "e"), text)),
  });
  const shownFeeds = (items: readonly Feeds[]): unknown =>
    items.map(({ tensors, others }) => ({ tensors: shownAll(tensors), others }));
  fc.assert(
    fc.property(fc.array(feeds, { minLength: 1, maxLength: 5 }), (items) => {
      const before = shownFeeds(items);
      const { message, moved } = sendRun({ modelId: 3, items });
      const { items: taken, modelId } = takeRun(cross(message, moved));
      expect(shownFeeds(taken)).toEqual(before);
      expect(shownFeeds(items)).toEqual(before);
      expect(modelId).toBe(3);
    }),
  );
});

test("requests that are alike are described once, and one that is not alike corrupts no other", () => {
  const x = (value: number, dims = [1, 2]): Record<string, Tensor> => ({
    x: { dtype: "float32", dims, data: Float32Array.of(value, value) },
  });
  const packed = pack([x(1), x(2), x(3, [2, 1]), x(4), x(5), { ...x(6), y: x(7)["x"]! }], false);
  expect(packed.runs.map(({ count }) => count)).toEqual([2, 1, 2, 1]);
  const back = unpack(packed, true);
  expect(back.map(({ x }) => x?.data[0])).toEqual([1, 2, 3, 4, 5, 6]);
  expect(back.map(({ x }) => x?.dims.join())).toEqual(["1,2", "1,2", "2,1", "1,2", "1,2", "1,2"]);
});

test("the results of a batch arrive, each answer with buffers of its own", () => {
  const times = { runs: 1, preprocessMs: 1, runMs: 2, decodeMs: 3 };
  const kinds = fc.dictionary(
    fc.constantFrom("a", "b"),
    fc.constantFrom<Decoded["kind"]>(
      "text",
      "labels",
      "index",
      "probabilities",
      "entities",
      "boxes",
      "segments",
      "map",
    ),
  );
  const batch = kinds.chain((kinds) => {
    const rows = fc.record(
      Object.fromEntries(
        Object.entries(kinds).map(([name, kind]) => [name, fc.array(decoded[kind], { maxLength: 3 })]),
      ),
    );
    const item = fc.oneof(
      { weight: 4, arbitrary: fc.record({ outputs: tensors, decoded: rows }) },
      { weight: 1, arbitrary: fc.constant(null) },
    );
    return fc.array(item, { minLength: 1, maxLength: 5 });
  });
  fc.assert(
    fc.property(batch, (items) => {
      const error = { name: "TypeError", message: "wrong" };
      const replies = items.map((value) =>
        value === null ? ({ ok: false, error } as const) : ({ ok: true, value: value } as const),
      );
      const expected = items.map((item) => item && [shownAll(item.outputs), structuredClone(item.decoded)]);
      const { ran, moved } = sendRan({ ...times, items: replies as unknown as Ran["items"] });
      const back = takeRan(cross(ran, moved));
      const given = back.items.map((reply) => reply.ok && [shownAll(reply.value.outputs), { ...reply.value.decoded }]);
      expect(given.map((each) => each || null)).toEqual(expected);
      const buffers = back.items.flatMap((reply) =>
        reply.ok
          ? Object.values(reply.value.outputs).map(({ data }) => (Array.isArray(data) ? data : data.buffer))
          : [],
      );
      if (items.length > 1) expect(new Set(buffers).size).toBe(buffers.length);
      for (const reply of back.items) if (reply.ok) expect(reply.value.decoded).toBe(reply.value.decoded);
    }),
  );
});

test("large outputs are transferred, not copied, and small ones of a batch are copied", () => {
  const large = new Float32Array(2 ** 16);
  const small = new Float32Array(4);
  const x = (data: Float32Array): Record<string, Tensor> => ({ x: { dtype: "float32", dims: [data.length], data } });
  const packed = pack([x(large), x(small)], true);
  expect(buffersOf(packed).has(large.buffer)).toBe(true);
  expect(buffersOf(packed).has(small.buffer)).toBe(false);
  // A part of a larger buffer would transfer the rest with it.
  expect(buffersOf(pack([x(large.subarray(1))], true)).has(large.buffer)).toBe(false);
});

test("requests keep their own elements where some tensors are transferred and others copied (core-C1)", () => {
  // One page of elements: large enough to be transferred where it is a whole buffer.
  const page = 2 ** 14;
  const large = fc.record({ isPart: fc.boolean(), value: fc.nat(1_000), count: fc.constantFrom(page, page + 1) });
  fc.assert(
    fc.property(fc.array(fc.dictionary(fc.constantFrom("a", "b"), large), { maxLength: 6 }), (drawn) => {
      const requests = drawn.map((named) => {
        const made = Object.entries(named).map(([name, { isPart, value, count }]) => {
          const data = new Float32Array(count + (isPart ? 1 : 0)).fill(value).subarray(0, count);
          return [name, { dtype: "float32", dims: [count], data }] as const;
        });
        return Object.fromEntries(made);
      });
      const valuesOf = (all: readonly Readonly<Record<string, Tensor>>[]): unknown =>
        all.map((named) =>
          ["a", "b"].map((name) => [named[name]?.dims, named[name]?.data[0], named[name]?.data.at(-1)]),
        );
      const sent = valuesOf(requests);
      const packed = pack(requests, true);
      expect(valuesOf(unpack(cross(packed, [...buffersOf(packed)]), true))).toEqual(sent);
    }),
    { numRuns: 100 },
  );
});
