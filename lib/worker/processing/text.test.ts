import { expect, test, vi } from "vitest";
import type { BundleInput, TextSpec } from "../../core/bundle.ts";
import { joinPair } from "../../core/text-pair.ts";
import { wordTokenizer } from "../../test-support/word-tokenizer.ts";
import { createTextReaders } from "./text.ts";

/** The lengths of the texts that were tokenized. */
const counted: number[] = [];
vi.mock("./tokenizer/tokenizer.ts", async (original) => {
  const { createTokenizer } = await original<typeof import("./tokenizer/tokenizer.ts")>();
  const counting: typeof createTokenizer = (json) => {
    const own = createTokenizer(json);
    const tokenize = (text: string) => {
      counted.push(text.length);
      return own.tokenize(text);
    };
    return { ...own, tokenize };
  };
  return { createTokenizer: counting };
});

const TOKENIZER = wordTokenizer(["the", "cat", "##s", "sat"]);

const ids: BundleInput = {
  name: "input_ids",
  dtype: "int64",
  dims: ["batch", "length"],
  batchAxis: 0,
  text: { tokenizer: "tokenizer.json", maxLength: 6, mask: "attention_mask", types: "token_type_ids" },
};
const others = [
  { ...ids, name: "attention_mask", dtype: "float32", text: undefined },
  { ...ids, name: "token_type_ids", text: undefined },
] as const;
const read = (
  input: BundleInput,
  texts: readonly string[],
  assets: Record<string, string> = { "tokenizer.json": TOKENIZER },
) => createTextReaders([input, ...others], assets)[input.name]?.read(texts);

test("texts of different length become rows of one length, with an attention mask", () => {
  expect(read(ids, ["The cats sat", "dog"])).toEqual({
    input_ids: { dtype: "int64", dims: [2, 6], data: BigInt64Array.of(2n, 4n, 5n, 6n, 7n, 3n, 2n, 1n, 3n, 0n, 0n, 0n) },
    attention_mask: { dtype: "float32", dims: [2, 6], data: Float32Array.of(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0) },
    token_type_ids: { dtype: "int64", dims: [2, 6], data: new BigInt64Array(12) },
  });
});

test("positions count from 0 in each row", () => {
  const text = { ...(ids.text as TextSpec), positions: "position_ids" };
  const input: BundleInput = { ...ids, text };
  const readers = createTextReaders([input, ...others, { ...ids, name: "position_ids", text: undefined }], {
    "tokenizer.json": TOKENIZER,
  });
  expect(readers["input_ids"]?.read(["dog", "the cat"])["position_ids"]).toEqual({
    dtype: "int64",
    dims: [2, 4],
    data: BigInt64Array.of(0n, 1n, 2n, 3n, 0n, 1n, 2n, 3n),
  });
});

test("a text that is too long keeps its begin and both special tokens", () => {
  const tensors = read({ ...ids, dtype: "int32" }, ["the cat sat the cat sat"]);
  expect(tensors?.["input_ids"]).toEqual({ dtype: "int32", dims: [1, 6], data: Int32Array.of(2, 4, 5, 7, 4, 3) });
});

test("a model of fixed length gets that length", () => {
  const tensors = read({ ...ids, dtype: "int32", dims: ["batch", 4] }, [""]);
  expect(tensors?.["input_ids"]).toEqual({ dtype: "int32", dims: [1, 4], data: Int32Array.of(2, 3, 0, 0) });
});

test.each([
  ["is missing", {}],
  ["is not a tokenizer.json that this release reads", { "tokenizer.json": "{}" }],
  [
    "Unknown Normalizer type: Xyz",
    {
      "tokenizer.json": TOKENIZER.replace(
        /"normalizer":[^]*?,"pre_tokenizer"/,
        '"normalizer":{"type":"Xyz"},"pre_tokenizer"',
      ),
    },
  ],
])("an error of a tokenizer that %s names the input and the file", (what, assets) => {
  expect(() => read(ids, ["cat"], assets)).toThrow(new RegExp(`"input_ids".*"tokenizer.json".*${what}`));
});

test("a long text is encoded only as far as its tokens need, with the same result (processing-L3)", () => {
  const words = ["the ", "cats ", "sat ", "dog ", "the cat sat on ", "  "];
  for (const word of words) {
    const long = word.repeat(200_000);
    counted.length = 0;
    const tensors = read({ ...ids, dtype: "int32" }, [long]);
    if (word.trim() !== "") expect(counted.reduce((a, b) => a + b)).toBeLessThan(10_000);
    expect(tensors).toEqual(read({ ...ids, dtype: "int32" }, [long.slice(0, 900)]));
  }
});

test.each([1, 2, 3, 4])(
  "no row is longer than maxLength %i, with or without special tokens (processing-L4)",
  (maxLength) => {
    const text = { ...ids.text, tokenizer: "tokenizer.json", maxLength };
    for (const each of ["", "[CLS]", "cat", "the cat sat"]) {
      const dims = read({ ...ids, dtype: "int32", text }, [each])?.["input_ids"]?.dims;
      expect(dims?.[1]).toBeLessThanOrEqual(maxLength);
    }
    const two = read({ ...ids, dtype: "int32", text: { ...text, maxLength: 2 } }, ["cat"]);
    expect(two?.["input_ids"]?.data).toEqual(Int32Array.of(2, 3));
  },
);

test("200,000 texts in one request are read (processing-L5)", () => {
  const tensors = read(
    { ...ids, dtype: "int32" },
    Array.from({ length: 200_000 }, () => ""),
  );
  expect(tensors?.["input_ids"]?.dims).toEqual([200_000, 2]);
});

test("short texts are padded with the bundle's value, else the tokenizer's own, else 0 (processing-L6)", () => {
  const padded = { "tokenizer.json": JSON.stringify({ ...JSON.parse(TOKENIZER), padding: { pad_id: 4 } }) };
  const last = (input: BundleInput, assets?: Record<string, string>): unknown =>
    read(input, ["the cat", ""], assets)?.["input_ids"]?.data.at(-1);
  const int32 = { ...ids, dtype: "int32" } as const;
  expect(last({ ...int32, pad: { axis: 1, value: 7, upTo: 1 } }, padded)).toBe(7);
  expect(last(int32, padded)).toBe(4);
  expect(last(int32)).toBe(0);
});

test("a text of no tokens becomes a row of one, which the mask hides (processing-mutant-text-3)", () => {
  const bare = { "tokenizer.json": JSON.stringify({ ...JSON.parse(TOKENIZER), post_processor: null }) };
  expect(read(ids, [""], bare)).toMatchObject({
    input_ids: { dims: [1, 1], data: BigInt64Array.of(0n) },
    attention_mask: { data: Float32Array.of(0) },
  });
});

test("more of a long text is encoded where its beginning has few tokens (processing-L3)", () => {
  const sparse = `the${" ".repeat(5_000)}cat sat the cat sat`;
  expect(read({ ...ids, dtype: "int32" }, [sparse])?.["input_ids"]?.data).toEqual(Int32Array.of(2, 4, 5, 7, 4, 3));
});

test("a pair becomes one row with both marks and token types, beside a single text", () => {
  const pair = String(joinPair({ text: "the cat", pair: "sat" }));
  const tensors = createTextReaders([{ ...ids, text: { ...ids.text, maxLength: 8 } as TextSpec }, ...others], {
    "tokenizer.json": TOKENIZER,
  })["input_ids"]?.read([pair, "sat"]);
  expect(tensors?.["input_ids"]?.data).toEqual(BigInt64Array.of(2n, 4n, 5n, 3n, 7n, 3n, 2n, 7n, 3n, 0n, 0n, 0n));
  expect(tensors?.["token_type_ids"]?.data).toEqual(BigInt64Array.of(0n, 0n, 0n, 0n, 1n, 1n, 0n, 0n, 0n, 0n, 0n, 0n));
});

test("a pair that is too long loses tokens of its longer text first, and keeps the marks", () => {
  const read = (text: string, pair: string): bigint[] => {
    const spec = { ...ids, text: { ...ids.text, maxLength: 6 } as TextSpec };
    const reader = createTextReaders([spec, ...others], { "tokenizer.json": TOKENIZER })["input_ids"];
    return [...(reader?.read([String(joinPair({ text, pair }))])["input_ids"]?.data as BigInt64Array)];
  };
  expect(read("the cat sat the cat", "sat")).toEqual([2n, 4n, 5n, 3n, 7n, 3n]);
  expect(read("sat", "the cat sat the cat")).toEqual([2n, 7n, 3n, 4n, 5n, 3n]);
});

test("a text that is too long for a graph of fixed length keeps its last special token", () => {
  const tensors = read({ ...ids, dtype: "int32", dims: ["batch", 4] }, ["the cat sat the cat sat"]);
  expect(tensors?.["input_ids"]).toEqual({ dtype: "int32", dims: [1, 4], data: Int32Array.of(2, 4, 5, 3) });
});

test("short texts are padded by the declared token where tokenizer.json names none, else by its own", () => {
  const padded = (padId: number | undefined, padding: object | null): unknown => {
    const assets = { "tokenizer.json": JSON.stringify({ ...(JSON.parse(TOKENIZER) as object), padding }) };
    const text = { ...(ids.text as TextSpec), padId };
    return read({ ...ids, dtype: "int32", text }, ["the cat", "the"], assets)?.["input_ids"]?.data[7];
  };
  expect(padded(undefined, null)).toBe(0);
  expect(padded(9, null)).toBe(9);
  expect(padded(9, { pad_id: 1 })).toBe(1);
  expect(padded(9, { pad_id: 1.5 })).toBe(9);
  expect(padded(9, { pad_id: "x" })).toBe(9);
});

test("where a pair has one token too many for equal parts, the first text loses it if it is no longer, as in the reference", () => {
  const pair = (text: string, other: string): unknown => {
    const row = joinPair({ text, pair: other }) as string;
    const input = { ...ids, dtype: "int32", text: { ...(ids.text as TextSpec), maxLength: 6 } } as const;
    return read(input, [row])?.["input_ids"]?.data;
  };
  expect(pair("the the the", "sat sat sat")).toEqual(Int32Array.of(2, 4, 3, 7, 7, 3));
  expect(pair("the the the the", "sat sat sat")).toEqual(Int32Array.of(2, 4, 4, 3, 7, 3));
});

test("a pair with an empty second text keeps the marks of both, also where it is cut", () => {
  const row = (text: string, maxLength: number): unknown => {
    const input = { ...ids, dtype: "int32", text: { ...(ids.text as TextSpec), maxLength } } as const;
    const tensors = read(input, [joinPair({ text, pair: "" }) as string]);
    return [tensors?.["input_ids"]?.data, [...(tensors?.["token_type_ids"]?.data ?? [])].map(Number)];
  };
  expect(row("the cat", 8)).toEqual([Int32Array.of(2, 4, 5, 3, 3), [0, 0, 0, 0, 1]]);
  expect(row("the cat sat the cat", 5)).toEqual([Int32Array.of(2, 4, 5, 3, 3), [0, 0, 0, 0, 1]]);
  expect(row("", 8)).toEqual([Int32Array.of(2, 3, 3), [0, 0, 1]]);
});

test("a first text that is a mark itself is cut beside the marks, where none is at the end", () => {
  const mark = { SpecialToken: { id: "[CLS]", type_id: 0 } };
  const [a, b] = ["A", "B"].map((id) => ({ Sequence: { id, type_id: 0 } }));
  const template = { type: "TemplateProcessing", single: [mark, a], pair: [mark, a, mark, b] };
  const special_tokens = { "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] } };
  const json = JSON.stringify({
    ...(JSON.parse(TOKENIZER) as object),
    post_processor: { ...template, special_tokens },
  });
  const row = joinPair({ text: "[CLS]", pair: "the cat sat" }) as string;
  const input = { ...ids, dtype: "int32", text: { ...(ids.text as TextSpec), maxLength: 5, keeps: "end" } } as const;
  const tensors = read(input, [row], { "tokenizer.json": json });
  expect(tensors?.["input_ids"]?.data).toEqual(Int32Array.of(2, 2, 2, 5, 7));
});

test("a single text has the token types of its template, as Funnel's and XLNet's", () => {
  const json = JSON.parse(TOKENIZER) as { post_processor: { single: { SpecialToken?: { type_id: number } }[] } };
  const [first] = json.post_processor.single;
  if (first?.SpecialToken !== undefined) first.SpecialToken.type_id = 2;
  const assets = { "tokenizer.json": JSON.stringify(json) };
  const types = read(ids, ["the cat", "the cat sat the cat sat the"], assets)?.["token_type_ids"]?.data;
  expect(types).toEqual(BigInt64Array.of(2n, 0n, 0n, 0n, 0n, 0n, 2n, 0n, 0n, 0n, 0n, 0n));
});

test("texts that end with their class token, as XLNet's, are padded before it, unless tokens are read", () => {
  const json = JSON.parse(TOKENIZER) as { post_processor: { single: { SpecialToken?: { type_id: number } }[] } };
  const last = json.post_processor.single.at(-1);
  if (last?.SpecialToken !== undefined) last.SpecialToken.type_id = 2;
  const text = { ...(ids.text as TextSpec), positions: "position_ids" };
  const inputs = [{ ...ids, text }, ...others, { ...ids, name: "position_ids", text: undefined }];
  const rows = (isByToken: boolean): unknown => {
    const assets = { "tokenizer.json": JSON.stringify(json) };
    const tensors = createTextReaders(inputs, assets, isByToken)["input_ids"]?.read(["cat", "the cat sat"]) ?? {};
    return Object.values(tensors).map(({ data }) => Array.from(data as BigInt64Array, Number));
  };
  expect(rows(false)).toEqual([
    [0, 0, 2, 5, 3, 2, 4, 5, 7, 3],
    [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    [0, 0, 0, 1, 2, 0, 1, 2, 3, 4],
    [0, 0, 0, 0, 2, 0, 0, 0, 0, 2],
  ]);
  expect(rows(true)).toContainEqual([2, 5, 3, 0, 0, 2, 4, 5, 7, 3]);
});

test("a tokenizer that truncates at the left keeps the end of a text, of both texts of a pair, and their places", () => {
  const left = { ...(JSON.parse(TOKENIZER) as object), truncation: { direction: "Left", max_length: 512 } };
  const assets = { "tokenizer.json": JSON.stringify(left) };
  const rowOf = (text: string): number[] => Array.from(read(ids, [text], assets)?.["input_ids"]?.data ?? [], Number);
  expect(rowOf("the cat sat the cat cats")).toEqual([2, 4, 5, 5, 6, 3]);
  expect(rowOf(`${"sat ".repeat(50_000)}the cat cats`)).toEqual([2, 4, 5, 5, 6, 3]);
  expect(rowOf(joinPair({ text: "the cat sat", pair: "sat the" }) as string)).toEqual([2, 5, 7, 3, 4, 3]);
  const long = `${"sat ".repeat(50_000)}the cat cats`;
  const spans = createTextReaders([ids, ...others], assets)["input_ids"]?.tokens(long)?.spans;
  expect(spans?.map((x) => x && long.slice(...x))).toEqual([null, "the", "cat", "cat", "s", null]);
});

test("a word that a model of whole words does not know is its unknown token, or refused without one", () => {
  const model = { type: "WordLevel", unk_token: "[UNK]", vocab: { "[PAD]": 0, "[UNK]": 1, cat: 2 } };
  const json = { ...(JSON.parse(TOKENIZER) as object), post_processor: null, model, added_tokens: [] };
  const rowOf = (x: object): unknown =>
    read({ ...ids, dtype: "int32" }, ["cat Zürich"], { "tokenizer.json": JSON.stringify(x) })?.["input_ids"]?.data;
  expect(rowOf(json)).toEqual(Int32Array.of(2, 1));
  expect(() => rowOf({ ...json, model: { ...model, unk_token: null } })).toThrow(
    /"input_ids".*no token for.*unk_token/,
  );
});

test("a text is made lower case, and its end kept, where the model says so", () => {
  const cased = TOKENIZER.replace('"lowercase":true', '"lowercase":false');
  const rowOf = (more: Partial<TextSpec>): number[] => {
    const text = { ...(ids.text as TextSpec), ...more };
    const row = read({ ...ids, text }, ["SAT the Cat sat Cats"], { "tokenizer.json": cased })?.["input_ids"];
    return Array.from(row?.data ?? [], Number);
  };
  expect(rowOf({})).toEqual([2, 1, 4, 1, 7, 3]);
  expect(rowOf({ lowercase: true })).toEqual([2, 7, 4, 5, 7, 3]);
  expect(rowOf({ lowercase: true, keeps: "end" })).toEqual([2, 5, 7, 5, 6, 3]);
});

test("white space at the ends of texts is left out where the model says so, of both texts of a pair", () => {
  const model = { type: "WordLevel", unk_token: "[UNK]", vocab: { "[PAD]": 0, "[UNK]": 1, " ": 2, cat: 3, "\n": 4 } };
  const splitter = { type: "Split", pattern: { Regex: "\\s" }, behavior: "Isolated", invert: false };
  const whole = { normalizer: null, pre_tokenizer: splitter, post_processor: null, model, added_tokens: [] };
  const assets = { "tokenizer.json": JSON.stringify({ ...(JSON.parse(TOKENIZER) as object), ...whole }) };
  const readerOf = (more: Partial<TextSpec>) =>
    createTextReaders([{ ...ids, text: { ...(ids.text as TextSpec), maxLength: 12, ...more } }, ...others], assets)[
      "input_ids"
    ];
  const rowOf = (text: string, more: Partial<TextSpec>): number[] =>
    Array.from(readerOf(more)?.read([text])["input_ids"]?.data ?? [], Number);
  expect(rowOf(" cat cat\n", {})).toEqual([2, 3, 2, 3, 4]);
  expect(rowOf(" cat cat\n", { trim: true })).toEqual([3, 2, 3]);
  const pair = String(joinPair({ text: "cat ", pair: "\ncat" }));
  expect(rowOf(pair, { trim: true })).toEqual([3, 3]);
  // Places are those in the text as it came.
  const spans = readerOf({ trim: true })?.tokens(" cat cat\n")?.spans;
  expect([spans?.[0], spans?.[2]]).toEqual([
    [1, 4],
    [5, 8],
  ]);
});

test("texts are padded to the most tokens where the model says so", () => {
  const text = { ...(ids.text as TextSpec), fill: true, padId: 9 };
  const rows = read({ ...ids, dtype: "int32", text }, ["cat"], { "tokenizer.json": TOKENIZER });
  expect(rows?.["input_ids"]).toMatchObject({ dims: [1, 6] });
  expect(rows?.["attention_mask"]?.data).toEqual(Float32Array.of(1, 1, 1, 0, 0, 0));
});
