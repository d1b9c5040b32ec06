// Vectors of many texts: batches, order, truncation, failures.
import fc from "fast-check";
import { expect, test } from "vitest";
import { batchesOf } from "../core/length-batches.ts";
import { checkRunOptions } from "./check-options.ts";
import { embedTexts } from "./embed.ts";
import type { EmbedModel, EmbedOptions } from "./embed.ts";
import type { Inputs } from "./inputs.ts";
import type { RunResult } from "./result.ts";

const INPUT = {
  name: "input_ids",
  dtype: "int64",
  dims: ["batch", "length"],
  batchAxis: 0,
  text: { tokenizer: "tokenizer.json", maxLength: 8, mask: "attention_mask" },
} as const;

const INFO = { variant: "f32" };
const HOW = { inFlight: 3, mayBatch: true, now: () => 0 };

/** A model whose vector of a text is [3, 4 × its length]; records the batches. */
function parts(asked: (readonly string[])[] = []): EmbedModel {
  const run = (inputs: Inputs): Promise<RunResult> => {
    const texts = inputs["input_ids"] as readonly string[];
    asked.push(texts);
    const rows = texts.map((x) => ({ kind: "vector", vector: Float32Array.of(3, 4 * x.length) }) as const);
    return Promise.resolve({ outputs: {}, decoded: { last_hidden_state: rows }, info: INFO } as unknown as RunResult);
  };
  return { name: "m", inputs: [INPUT], backend: "wasm", run };
}

test("vectors come in the order of the texts, whatever the batches", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ maxLength: 40 }), { maxLength: 200 }), async (texts) => {
      const vectors = await embedTexts(parts(), HOW, texts, {});
      expect(vectors.map((x) => x[1])).toEqual(texts.map((x) => 4 * x.length));
    }),
    { numRuns: 30 },
  );
});

test("a variant that mixes rows gets each text alone", async () => {
  const asked: (readonly string[])[] = [];
  await embedTexts(parts(asked), { ...HOW, mayBatch: false }, ["a", "bb", "c"], {});
  expect(asked.map((x) => x.length)).toEqual([1, 1, 1]);
});

test("without an attention mask each text is alone, since its vector would include the padding", async () => {
  const asked: (readonly string[])[] = [];
  const text = { ...INPUT.text, mask: undefined };
  await embedTexts({ ...parts(asked), inputs: [{ ...INPUT, text }] }, HOW, ["a", "bb", "c"], {});
  expect(asked.map((x) => x.length)).toEqual([1, 1, 1]);
  asked.length = 0;
  await embedTexts({ ...parts(asked), inputs: [{ ...INPUT, text, dims: ["batch", 8] }] }, HOW, ["a", "bb", "c"], {});
  expect(asked.map((x) => x.length)).toEqual([3]);
});

test("fewer vectors than texts are an error, and no vectors without numbers", async () => {
  const few: EmbedModel["run"] = (inputs) => parts().run({ input_ids: (inputs["input_ids"] as string[]).slice(1) }, {});
  await expect(embedTexts({ ...parts(), run: few }, HOW, ["a", "b", "c"], {})).rejects.toMatchObject({
    code: "wrong-result",
    message: expect.stringContaining("answered 3 texts with 2 vectors") as string,
  });
});

test("a failure cancels the runs that are under way", async () => {
  const signals: (AbortSignal | undefined)[] = [];
  const run: EmbedModel["run"] = (_, { signal }) => {
    signals.push(signal);
    return signals.length === 1 ? Promise.reject(new Error("no memory")) : new Promise(() => undefined);
  };
  const how = { ...HOW, mayBatch: false };
  const failing = embedTexts({ ...parts(), run }, how, ["a", "b", "c"], { signal: new AbortController().signal });
  await expect(failing).rejects.toThrow("no memory");
  expect(signals.map((x) => x?.aborted)).toEqual([true, true, true]);
});

test("a batch holds texts of similar length, within the bounds", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 2_000 }), { maxLength: 100 }), (texts) => {
      const batches = batchesOf(texts);
      expect(batches.flat().sort((a, b) => a - b)).toEqual(texts.map((_, i) => i));
      const lengths = batches.map((x) => x.map((i) => texts[i]?.length ?? 0));
      expect(lengths.flat()).toEqual(lengths.flat().sort((a, b) => b - a));
      for (const each of lengths) {
        expect(each.length).toBeLessThanOrEqual(32);
        if (each.length > 1) expect(each.length * (each[0] ?? 0)).toBeLessThanOrEqual(16_384);
      }
    }),
  );
});

/** Returns the number of texts of each run. */
async function sizesOf(
  backend: EmbedModel["backend"],
  inFlight: number,
  options: EmbedOptions = {},
): Promise<readonly number[]> {
  const texts = [...Array<string>(8).fill("a".repeat(400)), ...Array<string>(8).fill("a".repeat(100))];
  const asked: (readonly string[])[] = [];
  await embedTexts({ ...parts(asked), backend }, { ...HOW, inFlight }, texts, options);
  return asked.map((x) => x.length);
}

test("texts run in small batches on wasm, the prompt included", async () => {
  expect(await sizesOf("wasm", 2)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 5, 3]);
  expect(await sizesOf("wasm", 2, { prompt: { text: "p".repeat(100) } })).toEqual([
    ...Array<number>(8).fill(1),
    2,
    2,
    2,
    2,
  ]);
});

test("elsewhere texts run in large batches, of which each lane has one", async () => {
  expect(await sizesOf("webgpu", 2)).toEqual([16]);
  expect(await sizesOf("remote", 8)).toEqual([2, 2, 2, 2, 8]);
  expect(await sizesOf("wasm", 8, { placement: "remote" })).toEqual([2, 2, 2, 2, 8]);
});

test("`dims` keeps the first numbers at length 1", async () => {
  expect(await embedTexts(parts(), HOW, ["a"], { dims: 1 })).toEqual([Float32Array.of(1)]);
  await expect(embedTexts(parts(), HOW, ["a"], { dims: 0 })).rejects.toThrow(RangeError);
});

test("a pooled output of the graph is used where no step pools", async () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const run = () =>
    Promise.resolve({
      outputs: { sentence_embedding: { dtype: "float32", dims: [2, 2], data } },
      decoded: {},
      info: INFO,
    } as unknown as RunResult);
  expect(await embedTexts({ ...parts(), run }, HOW, ["a", "b"], {})).toEqual([
    Float32Array.of(1, 2),
    Float32Array.of(3, 4),
  ]);
});

test("float16 outputs are pooled and returned as numbers", async () => {
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x3800, 0x0000); // 1, -2, 0.5, 0
  const half = (name: string, dims: readonly number[]): EmbedModel => ({
    ...parts(),
    run: () =>
      Promise.resolve({
        outputs: { [name]: { dtype: "float16", dims, data: halves } },
        decoded: {},
        info: INFO,
      } as unknown as RunResult),
  });
  expect(await embedTexts(half("sentence_embedding", [2, 2]), HOW, ["a", "b"], {})).toEqual([
    Float32Array.of(1, -2),
    Float32Array.of(0.5, 0),
  ]);
  expect(await embedTexts(half("last_hidden_state", [1, 2, 2]), HOW, ["a"], { pooling: "mean" })).toEqual([
    Float32Array.of(0.75, -1),
  ]);
});

test("a model without pooling or without texts is refused with the fix", async () => {
  const run = () => Promise.resolve({ outputs: {}, decoded: {}, info: INFO } as unknown as RunResult);
  await expect(embedTexts({ ...parts(), run }, HOW, ["a"], {})).rejects.toThrow(
    'declares no pooling of its tokens\' vectors: pass `pooling` and `normalize` as its model card says, as embed(texts, { pooling: "mean", normalize: true })',
  );
  await expect(embedTexts({ ...parts(), inputs: [] }, HOW, ["a"], {})).rejects.toThrow(
    "takes no texts: its tokenizer.json is missing",
  );
  const fixed = { name: "input_ids", dtype: "int64", dims: [1, 128], batchAxis: null } as const;
  await expect(embedTexts({ ...parts(), inputs: [fixed] }, HOW, ["a"], {})).rejects.toThrow(
    "takes no texts: its input_ids takes a fixed number of rows ([1, 128]): export it with a dynamic batch axis",
  );
  await expect(embedTexts(parts(), HOW, "a" as unknown as string[], {})).rejects.toThrow("expected an array of texts");
});

test("a failure stops the other batches", async () => {
  const asked: (readonly string[])[] = [];
  const run = (inputs: Inputs): Promise<RunResult> => {
    asked.push(inputs["input_ids"] as readonly string[]);
    return Promise.reject(new Error("closed"));
  };
  const texts = Array.from({ length: 400 }, (_, i) => String(i));
  await expect(embedTexts({ ...parts(), run }, HOW, texts, {})).rejects.toThrow("closed");
  expect(asked.length).toBeLessThanOrEqual(3);
});

test("a deadline is that of the call: later batches have what is left of it", async () => {
  let nowMs = 0;
  const left: (number | undefined)[] = [];
  const model: EmbedModel = {
    ...parts(),
    run: (inputs, options) => {
      left.push(options.deadlineMs);
      nowMs += 400;
      return parts().run(inputs, options);
    },
  };
  await embedTexts(model, { inFlight: 1, mayBatch: false, now: () => nowMs }, ["a", "b", "c", "d"], {
    deadlineMs: 1_000,
  });
  expect(left).toEqual([1_000, 600, 200, 1]);
  left.length = 0;
  await embedTexts(model, { ...HOW, now: () => nowMs }, ["a"], {});
  expect(left).toEqual([undefined]);
});

test.each([-5, 0, 0.5, NaN, Infinity, 1e9, "100"])("a deadline of %s is refused as in a run", async (deadlineMs) => {
  const run: EmbedModel["run"] = (inputs, options) => {
    checkRunOptions(options);
    return parts().run(inputs, options);
  };
  const failing = embedTexts({ ...parts(), run }, HOW, ["a"], { deadlineMs: deadlineMs as number });
  await expect(failing).rejects.toThrow(/^deadlineMs: expected a number from 1 to 86400000, got /);
});

test("a prompt is put before each text: by its name, as a text, or the one that the model names", async () => {
  const spec = { prompts: { query: "query: ", passage: "p: ", none: "" }, prompt: "passage" };
  const input = { ...INPUT, text: { ...INPUT.text, ...spec } };
  const asked = async (prompt?: string | { readonly text: string }): Promise<string | undefined> => {
    const seen: (readonly string[])[] = [];
    await embedTexts({ ...parts(seen), inputs: [input] }, HOW, ["cat"], { prompt });
    return seen[0]?.[0];
  };
  expect(await asked("query")).toBe("query: cat");
  expect(await asked({ text: "Find: " })).toBe("Find: cat");
  expect(await asked()).toBe("p: cat");
  expect(await asked("none")).toBe("cat");
  await expect(asked("quer")).rejects.toThrow('prompt: m has no prompt "quer", only query, passage, none');
  await expect(asked("toString")).rejects.toThrow(TypeError);
});

test("int8 vectors keep the direction, and binary ones the signs, eight a byte", async () => {
  const number = fc.float({ min: -1, max: 1, noNaN: true });
  await fc.assert(
    fc.asyncProperty(fc.array(number, { minLength: 1, maxLength: 70 }), async (values) => {
      const vector = Float32Array.from(values);
      const run = (): Promise<RunResult> =>
        Promise.resolve({
          outputs: {},
          decoded: { y: [{ kind: "vector", vector }] },
          info: INFO,
        } as unknown as RunResult);
      const model: EmbedModel = { ...parts(), run };
      const [small = new Int8Array()] = (await embedTexts(model, HOW, ["a"], { precision: "int8" })) as Int8Array[];
      const largest = Math.max(...vector.map(Math.abs));
      for (const [i, x] of vector.entries())
        expect(Math.abs((small[i] ?? 0) * largest - x * 127)).toBeLessThanOrEqual(largest * 0.501 + 1e-37);
      const [bits = new Uint8Array()] = (await embedTexts(model, HOW, ["a"], { precision: "binary" })) as Uint8Array[];
      expect(bits).toHaveLength(Math.ceil(values.length / 8));
      for (const [i, x] of vector.entries()) expect(((bits[i >> 3] ?? 0) >> (7 - (i & 7))) & 1).toBe(x > 0 ? 1 : 0);
    }),
  );
  await expect(embedTexts(parts(), HOW, ["a"], { precision: "int4" as "int8" })).rejects.toThrow(
    "precision: expected float32, int8, binary, got int4",
  );
});

/** A model with one output, and the number of texts of each run. */
function giving(outputs: Readonly<Record<string, readonly number[]>>, runs: number[] = []): EmbedModel {
  const run = (inputs: Inputs): Promise<RunResult> => {
    runs.push((inputs["input_ids"] as readonly string[]).length);
    const tensors = Object.entries(outputs).map(([name, dims]) => {
      const count = dims.reduce((product, x) => product * x, 1);
      return [name, { dtype: "float32", dims, data: Float32Array.from({ length: count }, (_, i) => i + 1) }] as const;
    });
    return Promise.resolve({ outputs: Object.fromEntries(tensors), decoded: {}, info: INFO } as unknown as RunResult);
  };
  return { ...parts(), run };
}

test("an output of two axes is a vector by its name alone: neither a head's input nor logits", async () => {
  for (const name of ["sentence_embedding", "text_embeds", "text_embeddings", "embeddings", "dense_vecs"])
    expect(await embedTexts(giving({ [name]: [1, 2] }), HOW, ["a"], {}), name).toEqual([Float32Array.of(1, 2)]);
  for (const name of ["pooler_output", "logits", "y"])
    await expect(embedTexts(giving({ [name]: [1, 2] }), HOW, ["a"], {}), name).rejects.toThrow("declares no pooling");
});

test("a pooling that this release does not compute is named", async () => {
  const input = { ...INPUT, text: { ...INPUT.text, unsupported: "sentence_transformers.models.Dense" } };
  const model = { ...giving({ last_hidden_state: [1, 2, 2], pooler_output: [1, 2] }), inputs: [input] };
  await expect(embedTexts(model, HOW, ["a"], {})).rejects.toThrow(
    'm makes its vectors by "sentence_transformers.models.Dense", which is not supported',
  );
});

test("`pooling` and `normalize` serve a model that declares none, each text in a run of its own", async () => {
  const runs: number[] = [];
  const model = giving({ last_hidden_state: [1, 2, 2] }, runs);
  expect(await embedTexts(model, HOW, ["a", "b"], { pooling: "mean" })).toEqual([
    Float32Array.of(2, 3),
    Float32Array.of(2, 3),
  ]);
  expect(runs).toEqual([1, 1]);
  expect(await embedTexts(model, HOW, ["a"], { pooling: "cls" })).toEqual([Float32Array.of(1, 2)]);
  expect(await embedTexts(model, HOW, ["a"], { pooling: "last" })).toEqual([Float32Array.of(3, 4)]);
  const scaled = [Float32Array.of(0.6, 0.8)];
  expect(await embedTexts(model, HOW, ["a"], { pooling: "last", normalize: true })).toEqual(scaled);
  await expect(embedTexts(model, HOW, ["a"], { pooling: "max" as "mean" })).rejects.toThrow(
    "pooling: expected mean, cls, last, got max",
  );
  await expect(embedTexts(giving({ logits: [1, 2] }), HOW, ["a"], { pooling: "mean" })).rejects.toThrow(
    "pooling: m has no output of token vectors (last_hidden_state, token_embeddings, hidden_states), only logits",
  );
  const fixed = { ...model, inputs: [{ ...INPUT, dims: ["batch", 128] }] };
  await expect(embedTexts(fixed, HOW, ["a"], { pooling: "mean" })).rejects.toThrow("pads every text to one length");
});

test("a vector with NaN is an error where its type has no NaN", async () => {
  const run = (): Promise<RunResult> => {
    const vector = Float32Array.of(NaN, 1);
    return Promise.resolve({
      outputs: {},
      decoded: { y: [{ kind: "vector", vector }] },
      info: INFO,
    } as unknown as RunResult);
  };
  const model: EmbedModel = { ...parts(), run };
  expect(await embedTexts(model, HOW, ["a"], {})).toEqual([Float32Array.of(NaN, 1)]);
  for (const precision of ["int8", "binary"] as const)
    await expect(embedTexts(model, HOW, ["a"], { precision })).rejects.toMatchObject({ code: "wrong-result" });
});

test("a prompt is refused where the model leaves it out of its pooling; texts without one are right", async () => {
  const text = { ...INPUT.text, unsupported: "include_prompt: false", prompts: { query: "q: " } };
  const model = { ...parts(), inputs: [{ ...INPUT, text }] };
  expect(await embedTexts(model, HOW, ["ab"], {})).toEqual([Float32Array.of(3, 8)]);
  await expect(embedTexts(model, HOW, ["ab"], { prompt: "query" })).rejects.toThrow("prompt: m leaves the prompt out");
  const byDefault = { ...model, inputs: [{ ...INPUT, text: { ...text, prompt: "query" } }] };
  await expect(embedTexts(byDefault, HOW, ["ab"], {})).rejects.toThrow('embed without one, by { text: "" }');
  expect(await embedTexts(byDefault, HOW, ["ab"], { prompt: { text: "" } })).toHaveLength(1);
});

/** A model of two variants whose vectors differ: `at` is the place of each run without a placement of its own. */
function onTwoSides(
  at: (call: number) => "local" | "remote",
  asked: (string | undefined)[] = [],
  isAway: (place: string) => boolean = () => false,
): EmbedModel {
  const run: EmbedModel["run"] = (inputs, { placement }) => {
    const call = asked.push(placement) - 1;
    const place = placement === undefined || placement === "auto" ? at(call) : placement;
    if (isAway(place)) return Promise.reject(new Error(`${place} is away`));
    const vector = Float32Array.of(place === "local" ? 8 : 32);
    const decoded = { y: (inputs["input_ids"] as string[]).map(() => ({ kind: "vector", vector })) };
    const info = { variant: place === "local" ? "int8" : "f32" };
    return Promise.resolve({ outputs: {}, decoded, info } as unknown as RunResult);
  };
  return { ...parts(), run };
}

const numbers = async (model: EmbedModel, options: EmbedOptions = {}): Promise<number[]> => {
  const how = { ...HOW, inFlight: 1, mayBatch: false };
  return (await embedTexts(model, how, ["a", "b", "c", "d"], options)).map((x) => x[0] ?? 0);
};

test("the vectors of a call are of one variant: where a server with another one helps out, this device has all (embed-mix)", async () => {
  for (const at of [
    (call: number) => (call < 2 ? "local" : "remote"),
    (call: number) => (call < 2 ? "remote" : "local"),
  ] as const) {
    const asked: (string | undefined)[] = [];
    expect(await numbers(onTwoSides(at, asked))).toEqual([8, 8, 8, 8]);
    expect(asked).toEqual([undefined, undefined, undefined, "local", "local", "local", "local"]);
  }
  // One side alone is asked once.
  expect(await numbers(onTwoSides(() => "remote"))).toEqual([32, 32, 32, 32]);
});

test("where two variants answered and this device can't any more, the servers have all vectors", async () => {
  const asked: (string | undefined)[] = [];
  const at = (call: number) => (call < 1 ? "local" : "remote");
  const model = onTwoSides(at, asked, (place) => place === "local" && asked.length > 1);
  expect(await numbers(model, { placement: "auto" })).toEqual([32, 32, 32, 32]);
  expect(asked).toEqual(["auto", "auto", "local", "remote", "remote", "remote", "remote"]);
  // After a cancel nothing more is asked.
  const stop = new AbortController();
  asked.length = 0;
  const ended = onTwoSides(at, asked, (place) => {
    if (place === "local" && asked.length > 1) stop.abort();
    return stop.signal.aborted;
  });
  await expect(numbers(ended, { signal: stop.signal })).rejects.toThrow("local is away");
  expect(asked).toEqual([undefined, undefined, "local"]);
});
