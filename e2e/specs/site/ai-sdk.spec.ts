// `selvedge/ai-sdk` with the real `ai` in a page, bundled as an app's: embed, embedMany and rerank over repositories of a
// local hub; a deadline, and an abort.
import { expect, test } from "@playwright/test";
import { build } from "esbuild";
import { HubServer } from "../../../lib/test-support/hub-server.ts";
import { serveFaulty } from "../../support/faulty-server.ts";
import { crossEncoderRepository, encoderRepository } from "../../support/hub-models.ts";
import { ROOT } from "../../support/prepare.ts";

const APP = `
import { embed, embedMany, rerank } from "ai";
import { createEngine } from "selvedge";
import { embeddingModel, rerankingModel } from "selvedge/ai-sdk";

export async function run(host) {
  const engine = await createEngine({ backends: ["wasm"], workers: 2, hub: { host } });
  const plain = await engine.load({ repo: "owner/encoder" });
  const encoder = embeddingModel(engine.load({ repo: "owner/encoder" }));
  const ranker = rerankingModel(await engine.load({ repo: "owner/ranker" }));
  const texts = Array.from({ length: 120 }, (_, i) => ["dog", "good film", "bad bad bad dog"][i % 3]);
  const many = await embedMany({ model: encoder, values: texts });
  const one = await embed({ model: encoder, value: "dog", providerOptions: { selvedge: { dims: 2 } } });
  const documents = ["bad film", "good dog", "good", "film"];
  const { ranking, rerankedDocuments } = await rerank({ model: ranker, query: "good", documents, topN: 3 });
  const caught = (promise) => promise.then(() => "nothing", (error) => error.code ?? error.message);
  const stop = new AbortController();
  const aborted = caught(embedMany({ model: encoder, values: texts, abortSignal: stop.signal }));
  stop.abort(new Error("enough"));
  const late = await caught(
    rerank({
      model: ranker, query: "good", maxRetries: 0,
      documents: Array.from({ length: 4_000 }, (_, i) => "dog ".repeat(1 + (i % 12))),
      providerOptions: { selvedge: { deadlineMs: 1 } },
    }),
  );
  const answer = {
    many: many.embeddings, plain: (await plain.embed(texts)).map((x) => [...x]), one: one.embedding,
    ranking: ranking.map((x) => [x.originalIndex, x.score]), rerankedDocuments, aborted: await aborted, late,
  };
  await engine.close();
  return answer;
}
`;

interface Answer {
  readonly many: readonly (readonly number[])[];
  readonly plain: readonly (readonly number[])[];
  readonly one: readonly number[];
  readonly ranking: readonly (readonly [number, number])[];
  readonly rerankedDocuments: readonly string[];
  readonly aborted: string;
  readonly late: string;
}

test("embedMany, embed and rerank of the AI SDK run on the page's models", async ({ page }) => {
  const { outputFiles } = await build({
    stdin: { contents: APP, loader: "ts", resolveDir: ROOT },
    ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022", logLevel: "error" },
    plugins: [
      {
        name: "served",
        setup(own) {
          own.onResolve({ filter: /^selvedge$/ }, () => ({ path: "/dist/index.js", external: true }));
          own.onResolve({ filter: /^selvedge\/ai-sdk$/ }, () => ({ path: "/dist/bindings/ai-sdk.js", external: true }));
        },
      },
    ],
  });
  const hub = await HubServer.start();
  hub.commit("owner/encoder", encoderRepository());
  hub.commit("owner/ranker", crossEncoderRepository());
  const server = await serveFaulty();
  const body = outputFiles[0]?.text ?? "";
  server.use((path) =>
    path === "/app.js" ? { status: 200, headers: { "content-type": "text/javascript" }, body } : undefined,
  );
  try {
    await page.goto(`${server.origin}/`);
    const answer = await page.evaluate(
      async ([path, host]) => {
        const { run } = (await import(path)) as { run(host: string): Promise<Answer> };
        return run(host);
      },
      ["/app.js", hub.url] as const,
    );
    expect(answer.many).toHaveLength(120);
    expect(answer.many).toEqual(answer.plain);
    expect(answer.one).toHaveLength(2);
    expect(answer.rerankedDocuments).toEqual(["good", "good dog", "film"]);
    expect(answer.ranking.map(([index]) => index)).toEqual([2, 1, 3]);
    expect(answer.ranking[0]?.[1]).toBeCloseTo(1 / (1 + Math.exp(-2)), 4);
    expect(answer.aborted).toBe("enough");
    expect(answer.late).toBe("deadline-exceeded");
  } finally {
    hub.close();
    await server.close();
  }
});
