// Models of an engine as models of the AI SDK: what is handed on, what comes back. The real `ai` calls them in a page in
// e2e/specs/site/ai-sdk.spec.ts.
import type { Model, RunOptions } from "selvedge";
import { expect, test } from "vitest";
import { checkRunOptions } from "../engine/check-options.ts";
import { embeddingModel, rerankingModel } from "./ai-sdk.ts";

interface Called {
  readonly options: RunOptions & { readonly dims?: number | undefined };
  readonly inputs: unknown;
}

/** A model whose vector of a text is [its length], and whose logits of a pair are those of `logitsOf`. */
function fake(logitsOf: (pair: string) => readonly number[] = (x) => [x.length]): { model: Model; calls: Called[] } {
  const calls: Called[] = [];
  const model = {
    name: "fake",
    inputs: [{ name: "input_ids", text: {} }],
    embed: (inputs: readonly string[], options: Called["options"]) => {
      calls.push({ options, inputs });
      return Promise.resolve(inputs.map((x) => Float32Array.of(x.length)));
    },
    run: (inputs: { readonly input_ids: { readonly pair: string } }, options: RunOptions) => {
      calls.push({ options, inputs });
      options.signal?.throwIfAborted();
      const data = Float32Array.from(logitsOf(inputs.input_ids.pair));
      return Promise.resolve({ outputs: { logits: { dtype: "float32", dims: [1, data.length], data } } });
    },
  };
  return { model: model as unknown as Model, calls };
}

test("they are models of specification v4, named after the engine's model unless by the caller", () => {
  const { model } = fake();
  const embedding = embeddingModel(model);
  const reranking = rerankingModel(Promise.resolve(model), { modelId: "mine" });
  expect(embedding).toMatchObject({ modelId: "fake", maxEmbeddingsPerCall: Infinity, supportsParallelCalls: true });
  expect([reranking.specificationVersion, reranking.modelId]).toEqual(["v4", "mine"]);
});

test("all values are embedded in one call, with signal, deadline and priority; a call overrides the options", async () => {
  const { model, calls } = fake();
  const { signal } = new AbortController();
  const embedding = embeddingModel(Promise.resolve(model), { deadlineMs: 500, priority: "background" });
  const { embeddings } = await embedding.doEmbed({ values: ["a", "bbb"], abortSignal: signal });
  expect(embeddings).toEqual([[1], [3]]);
  await embedding.doEmbed({
    values: ["a"],
    providerOptions: { selvedge: { deadlineMs: 9, dims: 4 }, other: { x: 1 } },
  });
  expect(calls.map((x) => x.options)).toEqual([
    { deadlineMs: 500, priority: "background", signal, dims: undefined },
    { deadlineMs: 9, priority: "background", signal: undefined, dims: 4 },
  ]);
  await expect(embedding.doEmbed({ values: [], providerOptions: { selvedge: { deadline: 9 } } })).rejects.toThrow(
    'providerOptions.selvedge: there is no "deadline", only deadlineMs, priority, dims',
  );
});

test("documents are ranked by score, the best first; objects are read as JSON", async () => {
  const { model, calls } = fake((pair) => [pair === "b" ? 2 : pair.startsWith("{") ? 0 : -2]);
  const call = { documents: { values: ["a", "b", { c: 1 }] }, query: "q" };
  const { ranking } = await rerankingModel(model).doRerank(call);
  expect(ranking.map((x) => x.index)).toEqual([1, 2, 0]);
  expect(ranking.map((x) => x.relevanceScore)).toEqual(
    [0.5 + 0.3808, 0.5, 0.5 - 0.3808].map((x) => expect.closeTo(x, 4) as number),
  );
  expect(calls.map((x) => x.inputs)).toContainEqual({ input_ids: { text: "q", pair: '{"c":1}' } });
  const best = await rerankingModel(model).doRerank({ ...call, topN: 1 });
  expect(best.ranking).toHaveLength(1);
});

test("documents run in batches of similar length where rows are independent and padding is masked", async () => {
  const values = Array.from({ length: 100 }, (_, i) => "x".repeat(1 + ((i * 37) % 100)));
  const rerank = async (change: object): Promise<{ rows: number[]; order: number[] }> => {
    const batches: (readonly { readonly pair: string }[])[] = [];
    const model = {
      name: "fake",
      mayBatch: true,
      inputs: [{ name: "input_ids", text: { mask: "attention_mask" } }],
      run: ({
        input_ids: given,
      }: {
        readonly input_ids: { readonly pair: string } | readonly { readonly pair: string }[];
      }) => {
        const pairs = [given].flat();
        batches.push(pairs);
        const data = Float32Array.from(pairs, (x) => x.pair.length / 100);
        return Promise.resolve({ outputs: { logits: { dtype: "float32", dims: [pairs.length, 1], data } } });
      },
      ...change,
    };
    const { ranking } = await rerankingModel(model as unknown as Model).doRerank({ documents: { values }, query: "q" });
    const lengths = batches.flat().map((x) => x.pair.length);
    expect(lengths).toEqual([...lengths].sort((a, b) => b - a));
    return { rows: batches.map((x) => x.length), order: ranking.map((x) => values[x.index]?.length ?? 0) };
  };
  const best = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(await rerank({})).toEqual({ rows: [32, 32, 32, 4], order: best });
  const alone = Array.from({ length: 100 }, () => 1);
  expect(await rerank({ mayBatch: false })).toEqual({ rows: alone, order: best });
  expect(await rerank({ inputs: [{ name: "input_ids", text: {} }] })).toEqual({ rows: alone, order: best });
});

test("of two classes the second is the score; more are no score", async () => {
  const call = { documents: { values: ["a"] }, query: "q" };
  const two = await rerankingModel(fake(() => [1, 3]).model).doRerank(call);
  expect(two.ranking[0]?.relevanceScore).toBeCloseTo(1 / (1 + Math.exp(-2)));
  await expect(rerankingModel(fake(() => [1, 2, 3]).model).doRerank(call)).rejects.toThrow("use a cross-encoder");
});

test("an aborted call rejects with the signal's reason, also while the model is still being loaded", async () => {
  const stop = new AbortController();
  const never = new Promise<Model>(() => undefined);
  const waiting = embeddingModel(never).doEmbed({ values: ["a"], abortSignal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  const call = { documents: { values: ["a", "b"] }, query: "q", abortSignal: stop.signal };
  await expect(rerankingModel(fake().model).doRerank(call)).rejects.toThrow("enough");
});

test("the first document that fails cancels the others", async () => {
  const { model, calls } = fake((pair) => {
    if (pair === "bad document") throw new Error("no");
    return [1];
  });
  await expect(
    rerankingModel(model).doRerank({ documents: { values: ["a", "bad document"] }, query: "q" }),
  ).rejects.toThrow("no");
  expect(calls[0]?.options.signal?.aborted).toBe(true);
});

test("a document without a score comes last", async () => {
  const scores = [1, NaN, 5, 3, NaN, 9];
  const values = scores.map((_, i) => String(i));
  const { model } = fake((pair) => [scores[Number(pair)] ?? 0]);
  const { ranking } = await rerankingModel(model).doRerank({ documents: { values }, query: "q" });
  expect(ranking.map((x) => x.index)).toEqual([5, 2, 3, 0, 1, 4]);
});

test.each([-5, 0.5, "100"])("a deadline of %s is left to the run, which refuses it", async (deadlineMs) => {
  const run: Model["run"] = (_, options) => {
    checkRunOptions(options ?? {});
    throw new Error("accepted");
  };
  const ranked = rerankingModel(Object.assign(fake().model, { run }), { deadlineMs: deadlineMs as number });
  await expect(ranked.doRerank({ documents: { values: ["a"] }, query: "q" })).rejects.toThrow(RangeError);
});

test("a call of many documents has a few runs under way, and one deadline for all", async () => {
  const { model } = fake();
  const limits: (number | undefined)[] = [];
  let [running, most] = [0, 0];
  const run: Model["run"] = async (_, options) => {
    limits.push(options?.deadlineMs);
    most = Math.max(most, (running += 1));
    await new Promise((resolve) => setTimeout(resolve, 5));
    running -= 1;
    return { outputs: { logits: { dtype: "float32", dims: [1, 1], data: Float32Array.of(1) } } } as never;
  };
  const values = Array.from({ length: 100 }, (_, i) => "a".repeat(600 + i));
  const ranked = rerankingModel(Object.assign(model, { run, backend: "wasm" }), { deadlineMs: 60_000 });
  const { ranking } = await ranked.doRerank({ documents: { values }, query: "q" });
  expect([ranking.length, limits.length, most]).toEqual([100, 100, 16]);
  expect(limits.at(-1)).toBeLessThan(limits[0] ?? 0);
});
