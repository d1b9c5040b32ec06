import { describe, expect, test } from "vitest";
import { addModel, identityModel } from "../test-support/backend-models.ts";
import { createReferenceBackend } from "../test-support/reference-backend.ts";
import type { Backend } from "../rpc/backend.ts";
import type { BundleInput, BundleOutput } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Dtype, Tensor } from "../core/tensor.ts";
import { batchingOf, runBatch } from "./join-batch.ts";
import type { Batching, ItemOutcome, InputParts } from "./join-batch.ts";

const floats = (dims: readonly number[], ...values: number[]): Tensor => ({
  dtype: "float32",
  dims,
  data: Float32Array.from(values),
});
const numbersOf = ({ data }: Tensor): number[] => Array.from(data as Float32Array);
const port = (name: string, dims: BundleInput["dims"], more: Partial<BundleInput & BundleOutput> = {}) => ({
  name,
  dtype: "float32" as Dtype,
  dims,
  batchAxis: 0,
  ...more,
});
const outputsOf = ({ outcomes }: { outcomes: readonly ItemOutcome[] }): unknown[] =>
  outcomes.map((outcome) => ("outputs" in outcome ? outcome.outputs["y"] : String(outcome.error)));

/** A backend that returns its only input, changed; it records the dims of each run. */
function changing(change: (x: Tensor) => Tensor): { backend: Backend; seen: string[] } {
  const seen: string[] = [];
  const backend: Backend = {
    ...createReferenceBackend(),
    run(_, { x }) {
      seen.push(String(x?.dims));
      return Promise.resolve({ y: change(x as Tensor) });
    },
  };
  return { backend, seen };
}

async function loaded(bytes: Uint8Array<ArrayBuffer>): Promise<{ backend: Backend; model: Batching }> {
  const backend = createReferenceBackend();
  const { inputs, outputs } = await backend.load(1, { files: [{ path: "m", data: new Blob([bytes]) }], session: {} });
  return { backend, model: batchingOf(inputs, outputs, true) };
}

describe("requests that fit", () => {
  test("run as one, and each gets its own rows", async () => {
    const { backend, model } = await loaded(addModel());
    const item = (rows: number, from: number): InputParts => ({
      a: floats([rows, 3], ...Array.from({ length: rows * 3 }, (_, i) => from + i)),
      b: floats([rows, 3], ...Array.from({ length: rows * 3 }, () => 100)),
    });
    const ran = await runBatch(backend, 1, model, [item(1, 0), item(2, 10), item(1, 20)]);
    expect([ran.runs, ran.groups]).toEqual([1, [[0, 1, 2]]]);
    expect(outputsOf(ran)).toEqual([
      floats([1, 3], 100, 101, 102),
      floats([2, 3], 110, 111, 112, 113, 114, 115),
      floats([1, 3], 120, 121, 122),
    ]);
  });

  test("are joined whatever their dtype", async () => {
    for (const dtype of ["string", "int64", "float16", "bool"] as const) {
      const { backend, model } = await loaded(identityModel(dtype));
      const data = {
        string: [["a"], ["b"]],
        int64: [BigInt64Array.of(1n), BigInt64Array.of(2n)],
        float16: [Uint16Array.of(1), Uint16Array.of(2)],
        bool: [Uint8Array.of(1), Uint8Array.of(0)],
      }[dtype];
      const tensors = data.map((each) => ({ dtype, dims: [1], data: each }) as Tensor);
      const ran = await runBatch(
        backend,
        1,
        model,
        tensors.map((x) => ({ x })),
      );
      expect(ran.runs).toBe(1);
      expect(outputsOf(ran)).toEqual(tensors);
    }
  });
});

test("requests of unlike sizes run apart, each group as one", async () => {
  const { backend, seen } = changing((x) => x);
  const model = batchingOf([port("x", ["n", "w"])], [port("y", ["n", "w"])], true);
  const ran = await runBatch(backend, 1, model, [
    { x: floats([1, 2], 1, 2) },
    { x: floats([1, 3], 3, 4, 5) },
    { x: floats([1, 2], 6, 7) },
  ]);
  expect(seen).toEqual(["2,2", "1,3"]);
  expect(ran.groups).toEqual([[0, 2], [1]]);
  expect(outputsOf(ran)).toEqual([floats([1, 2], 1, 2), floats([1, 3], 3, 4, 5), floats([1, 2], 6, 7)]);
});

test("requests that a bundle lets be padded run as one, and their outputs are cut back", async () => {
  const { backend, seen } = changing((x) => x);
  const pad = { axis: 1, value: -1, upTo: 0.5 };
  const cut = { axis: 1, input: "x", inputAxis: 1, per: 1, plus: 0 };
  const model = batchingOf([port("x", ["n", "w"], { pad })], [port("y", ["n", "w"], { cut })], true);
  const items = [
    { x: floats([1, 4], 0, 1, 2, 3) },
    { x: floats([1, 5], 4, 5, 6, 7, 8) },
    { x: floats([1, 9], ...Array.from({ length: 9 }, () => 8)) },
  ];
  const ran = await runBatch(backend, 1, model, items);
  expect(seen).toEqual(["2,5", "1,9"]);
  expect(outputsOf(ran)).toEqual(items.map(({ x }) => x));
});

test("a model whose outputs don't follow the batch runs one at a time, and is never joined again", async () => {
  for (const change of [
    (x: Tensor) => floats([x.dims[0]! * 2], ...numbersOf(x), ...numbersOf(x)),
    () => floats([], 1),
  ]) {
    const { backend, seen } = changing(change);
    const model = batchingOf([port("x", ["n"])], [port("y", ["m"])], true);
    const items = [{ x: floats([1], 1) }, { x: floats([1], 2) }];
    const first = await runBatch(backend, 1, model, items);
    expect(first.runs).toBe(3);
    expect(outputsOf(first)).toEqual(items.map(({ x }) => change(x)));
    expect(model.canJoin).toBe(false);
    expect((await runBatch(backend, 1, model, items)).runs).toBe(2);
    expect(seen).toEqual(["2", "1", "1", "1", "1"]);
  }
});

test("an undeclared batch axis is trusted once a batch equals its items run alone", async () => {
  const ports = [[port("x", ["n"])], [port("y", ["n"])]] as const;
  const items = [{ x: floats([1], 1) }, { x: floats([1], 2) }];
  const fine = changing((x) => x);
  const model = batchingOf(...ports, false);
  expect(await runBatch(fine.backend, 1, model, items)).toMatchObject({ runs: 3, groups: [[0], [1]] });
  expect(await runBatch(fine.backend, 1, model, items)).toMatchObject({ runs: 1, groups: [[0, 1]] });
  const mixing = changing((x) => floats(x.dims, ...numbersOf(x).map((value) => value / x.data.length)));
  const other = batchingOf(...ports, false);
  expect(outputsOf(await runBatch(mixing.backend, 1, other, items))).toEqual(items.map(({ x }) => x));
  expect(other.canJoin).toBe(false);
});

test("fixed dims, no batch axis, and no inputs are detected beforehand", () => {
  const model = (inputs: BundleInput[], outputs: BundleOutput[]) => batchingOf(inputs, outputs, true).canJoin;
  expect(model([port("x", ["n"])], [port("y", ["n"])])).toBe(true);
  expect(model([port("x", [1, 3])], [port("y", ["n"])])).toBe(false);
  expect(model([port("x", ["n"])], [port("y", [1])])).toBe(false);
  expect(model([port("x", ["n"]), port("rate", [], { batchAxis: null })], [port("y", ["n"])])).toBe(false);
  expect(model([], [port("y", ["n"])])).toBe(false);
});

test("a server's answer with other rows than its request is refused, where the declared names say so", async () => {
  const { backend } = changing(({ dims }) => floats([dims[0]! + 1], ...Array.from({ length: dims[0]! + 1 }, () => 1)));
  const [one, two] = [{ x: floats([1], 1) }, { x: floats([2], 1, 2) }];
  const items = [one, one];
  const refused = { code: "remote-failed", details: { reason: "bad-reply", isLaneDown: true } };
  for (const asked of [[two, two], [two]])
    await expect(
      runBatch(backend, 1, batchingOf([port("x", ["n"])], [port("y", ["n"])], true, true), asked),
    ).rejects.toMatchObject(refused);
  // An answer to one row may have any number, as of boxes whose axis has the name of the batch: then of several, too.
  const detector = batchingOf([port("x", ["n"])], [port("y", ["n"])], true, true);
  for (let i = 0; i < 2; i += 1)
    expect((await runBatch(backend, 1, detector, [one])).outcomes).toMatchObject([{ outputs: { y: { dims: [2] } } }]);
  expect((await runBatch(backend, 1, detector, [two])).outcomes).toMatchObject([{ outputs: { y: { dims: [3] } } }]);
  // Axes of other names, as that of a detector's finds; and a graph of this device, which is known.
  for (const [found, isRemote] of [
    ["m", true],
    ["n", false],
  ] as const)
    expect(
      (await runBatch(backend, 1, batchingOf([port("x", ["n"])], [port("y", [found])], true, isRemote), items))
        .outcomes,
    ).toHaveLength(2);
});

test("one odd answer of a server switches neither the check of its rows off nor joining (remote-odd)", async () => {
  let extra = 1;
  const { backend } = changing((x) => floats([x.dims[0]! + extra], ...numbersOf(x), ...[0].slice(0, extra)));
  const model = batchingOf([port("x", ["n"])], [port("y", ["n"])], true, true);
  const [one, two] = [{ x: floats([1], 1) }, { x: floats([2], 1, 2) }];
  await runBatch(backend, 1, model, [one]);
  await expect(runBatch(backend, 1, model, [two])).rejects.toMatchObject({ details: { reason: "bad-reply" } });
  extra = 0;
  // Verified first.
  expect((await runBatch(backend, 1, model, [one, one])).runs).toBe(3);
  expect((await runBatch(backend, 1, model, [one, one])).runs).toBe(1);
});

test("boxes of several pictures of a server's detector are not joined once one answer had their number", async () => {
  const { backend } = changing((x) => {
    const boxes = numbersOf(x).flatMap((count, i) => Array.from({ length: count }, () => i));
    return floats([boxes.length], ...boxes);
  });
  const items = [2, 0].map((count) => ({ x: floats([1], count) }));
  const model = batchingOf([port("x", ["n"])], [port("y", ["n"])], true, true);
  await runBatch(backend, 1, model, items.slice(0, 1));
  for (const runs of [3, 2]) {
    const ran = await runBatch(backend, 1, model, items);
    expect([ran.runs, ...outputsOf(ran)]).toEqual([runs, floats([2], 0, 0), floats([0])]);
  }
});

test("a detector whose boxes have the name of the batch is never joined once one request showed that", async () => {
  // As many boxes as the inputs say: 2 and 0 make 2, which a batch of two could be taken apart to.
  const { backend } = changing((x) => {
    const boxes = numbersOf(x).flatMap((count, i) => Array.from({ length: count }, () => i));
    return floats([boxes.length], ...boxes);
  });
  const items = [2, 0].map((count) => ({ x: floats([1], count) }));
  for (const isDeclared of [true, false]) {
    const model = batchingOf([port("x", ["n"])], [port("y", ["n"])], isDeclared);
    await runBatch(backend, 1, model, items.slice(0, 1));
    const ran = await runBatch(backend, 1, model, items);
    expect([ran.runs, ...outputsOf(ran)]).toEqual([2, floats([2], 0, 0), floats([0])]);
  }
});

describe("an item that fails", () => {
  const model = (): Batching => batchingOf([port("x", ["n"])], [port("y", ["n"])], true);
  const failing = (code: "internal" | "out-of-memory"): Backend => ({
    ...createReferenceBackend(),
    run(_, { x }) {
      const isBad = Array.from((x as Tensor).data as Float32Array).includes(13);
      return isBad ? Promise.reject(new SelvedgeError(code, "13")) : Promise.resolve({ y: x as Tensor });
    },
  });
  const items = [1, 13, 3].map((value) => ({ x: floats([1], value) }));

  test("does not fail the others", async () => {
    const ran = await runBatch(failing("internal"), 1, model(), items);
    expect(outputsOf(ran)).toEqual([floats([1], 1), "SelvedgeError [internal]: 13", floats([1], 3)]);
    expect(ran.runs).toBe(4);
  });

  test("of another dtype than declared does not fail the others either", async () => {
    const odd: InputParts = { x: { dtype: "float64", dims: [1], data: Float64Array.of(2) } };
    const ran = await runBatch(failing("internal"), 1, model(), [items[0]!, odd, items[2]!]);
    expect(ran.outcomes.every((outcome) => "outputs" in outcome)).toBe(true);
    expect(ran.runs).toBe(3);
  });

  test("fails the batch where the lane is what failed", async () => {
    await expect(runBatch(failing("out-of-memory"), 1, model(), items)).rejects.toMatchObject({
      code: "out-of-memory",
    });
  });

  test("fails the batch where a server is full: requests one by one would be more", async () => {
    let runs = 0;
    const full: Backend = {
      ...createReferenceBackend(),
      run: () => {
        runs += 1;
        return Promise.reject(new SelvedgeError("remote-failed", "status 429", { reason: "busy", status: 429 }));
      },
    };
    await expect(runBatch(full, 1, model(), items)).rejects.toMatchObject({ details: { reason: "busy" } });
    expect(runs).toBe(1);
  });

  test("alone rejects with its own error", async () => {
    await expect(runBatch(failing("internal"), 1, model(), [items[1]!])).rejects.toMatchObject({ code: "internal" });
  });
});
