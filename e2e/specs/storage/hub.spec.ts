// Repositories in the Hugging Face layout from a local hub on another origin: named in one line, loaded, run; the second
// visit, faults, and what the messages say.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { HubServer } from "../../../lib/test-support/hub-server.ts";
import {
  encoderRepository,
  imageRepository,
  speechRepository,
  textRepository,
  weightOf,
} from "../../support/hub-models.ts";
import type * as Selvedge from "selvedge";

let hub: HubServer;

test.beforeEach(async ({ page }) => {
  hub = await HubServer.start();
  await open(page);
});

test.afterEach(() => {
  hub.close();
});

async function open(page: Page): Promise<void> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
}

interface Asked {
  readonly source: string | { readonly repo: string; readonly host?: string; readonly file?: string };
  readonly token?: string;
  readonly hub?: { readonly host: string };
  readonly inputs?: Readonly<Record<string, Selvedge.TextInput>>;
  /** Colour of a picture for `pixel_values`. */
  readonly colour?: readonly number[];
  /** The input that takes the picture. Default: `pixel_values`. */
  readonly input?: string;
}

interface Answer {
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly best: string | null;
  readonly error: string | null;
  readonly cachedBytes: number;
  readonly totalBytes: number | null;
}

/** Loads in the page and runs once. */
function ask(page: Page, asked: Asked): Promise<Answer> {
  return page.evaluate(
    async ({ source, token, hub, inputs, colour, input = "pixel_values" }: Asked): Promise<Answer> => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1, ...(hub && { hub }) });
      let [cachedBytes, totalBytes]: [number, number | null] = [0, null];
      const onProgress = (x: Selvedge.Progress): void => {
        [cachedBytes, totalBytes] = [x.cachedBytes, x.totalBytes];
      };
      try {
        const from =
          typeof source === "string" ? source : { ...source, ...(token !== undefined && { token: () => token }) };
        const model = await engine.load(from, { onProgress });
        const image =
          colour &&
          new ImageData(new Uint8ClampedArray(Array.from({ length: 64 }, () => [...colour, 255]).flat()), 8, 8);
        const ran = await model.run(image ? { [input]: image } : (inputs ?? {}));
        const outputs = Object.entries(ran.outputs).map(
          ([name, { data }]) => [name, Array.from(data, Number)] as const,
        );
        const [first] = Object.values(ran.decoded)[0] ?? [];
        const best = first?.kind === "labels" ? (first.labels[0]?.label ?? null) : null;
        return { outputs: Object.fromEntries(outputs), best, error: null, cachedBytes, totalBytes };
      } catch (error) {
        return { outputs: {}, best: null, error: String(error), cachedBytes, totalBytes };
      } finally {
        await engine.close();
      }
    },
    asked,
  );
}

/** Sums the weights of tokens. */
const scores = (tokens: readonly number[]): number[] =>
  [0, 1, 2].map((column) => tokens.reduce((sum, x) => sum + weightOf(x, column), 0));

function expectClose(found: readonly number[] | undefined, wanted: readonly number[]): void {
  expect(found).toHaveLength(wanted.length);
  for (const [i, x] of wanted.entries()) expect(found?.[i]).toBeCloseTo(x, 4);
}

const FILM = [2, 4, 6, 3]; // [CLS] good film [SEP]

test("a text classifier by its name: texts in, labels out, missing token types are zeros", async ({ page }) => {
  hub.commit("owner/text", textRepository());
  const answer = await ask(page, { source: { repo: "owner/text", host: hub.url }, inputs: { input_ids: "Good film" } });
  expect(answer.error).toBeNull();
  expectClose(answer.outputs["logits"], scores(FILM));
  const wanted = ["NEGATIVE", "NEUTRAL", "POSITIVE"][scores(FILM).indexOf(Math.max(...scores(FILM)))];
  expect(answer.best).toBe(wanted);
});

test("an image classifier by its name, from the engine's hub", async ({ page }) => {
  hub.commit("owner/image", imageRepository());
  const answer = await ask(page, { source: { repo: "owner/image" }, hub: { host: hub.url }, colour: [0, 255, 51] });
  expect(answer.error).toBeNull();
  expectClose(answer.outputs["logits"], [-1, 1, -0.6]);
  expect(answer.best).toBe("green");
});

test("a recording becomes the text of vocab.json, from a hub and from a folder", async ({ page }) => {
  hub.commit("owner/speech", speechRepository());
  for (const source of [{ repo: "owner/speech", host: hub.url }, hub.folder("owner/speech")]) {
    const found = await page.evaluate(async (source) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      try {
        const model = await engine.load(source);
        // Around a mean of 5, which is taken off.
        const { answer } = await model.run({ input_values: Float32Array.of(6, 6, 4, 4, 6, 4) });
        return answer;
      } finally {
        await engine.close();
      }
    }, source);
    expect(found).toMatchObject({ kind: "text", text: "hihi" });
  }
});

test("a picture for an image processor that is not known is refused with the file and the setting", async ({
  page,
}) => {
  const settings = { image_processor_type: "NewestImageProcessor", size: { height: 8, width: 8 } };
  hub.commit("owner/image", { ...imageRepository(), "preprocessor_config.json": JSON.stringify(settings) });
  const answer = await ask(page, { source: { repo: "owner/image", host: hub.url }, colour: [0, 255, 51] });
  expect(answer.error).toContain('preprocessor_config.json: "resample" of NewestImageProcessor is not supported');
});

test("an image classifier whose input has another name takes a picture all the same", async ({ page }) => {
  hub.commit("owner/image", imageRepository("input.1"));
  const source = { repo: "owner/image", host: hub.url };
  const answer = await ask(page, { source, input: "input.1", colour: [0, 255, 51] });
  expect(answer.error).toBeNull();
  expectClose(answer.outputs["logits"], [-1, 1, -0.6]);
});

test("a picture for a repository without an image processor is refused with that reason", async ({ page }) => {
  const files = Object.entries(imageRepository()).filter(([path]) => path !== "preprocessor_config.json");
  hub.commit("owner/image", Object.fromEntries(files));
  const answer = await ask(page, { source: { repo: "owner/image", host: hub.url }, colour: [0, 255, 51] });
  expect(answer.error).toContain(
    'input "pixel_values": expected a tensor (no picture is described: preprocessor_config.json of a repository does, or ',
  );
});

test("an encoder whose weights are two files of external data", async ({ page }) => {
  hub.commit("owner/encoder", encoderRepository());
  const answer = await ask(page, { source: { repo: "owner/encoder", host: hub.url }, inputs: { input_ids: "dog" } });
  expect(answer.error).toBeNull();
  const rows = [2, 7, 3].flatMap((token) => [1, 2, 3, 4].map((shift, column) => weightOf(token, column) + shift));
  expectClose(answer.outputs["last_hidden_state"], rows);
});

test("vectors of many texts, pooled and normalised as the repository says, in the order of the texts", async ({
  page,
}) => {
  hub.commit("owner/encoder", encoderRepository());
  const texts = Array.from({ length: 70 }, (_, i) => ["dog", "good film", "bad bad bad bad bad bad bad"][i % 3] ?? "");
  const vectors = await page.evaluate(
    async ({ host, texts }) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 2 });
      const model = await engine.load({ repo: "owner/encoder", host });
      const all = await model.embed(texts);
      const short = await model.embed(texts.slice(0, 1), { dims: 2 });
      await engine.close();
      return [...all, ...short].map((x) => Array.from(x));
    },
    { host: hub.url, texts },
  );
  // The maximum length is sentence-transformers' own, 6 tokens.
  const tokens = [
    [2, 7, 3],
    [2, 4, 6, 3],
    [2, 5, 5, 5, 5, 3],
  ];
  const unit = (x: readonly number[]): number[] => x.map((y) => y / Math.hypot(...x));
  const wanted = tokens.map((row) =>
    unit([1, 2, 3, 4].map((shift, column) => row.reduce((sum, x) => sum + weightOf(x, column) + shift, 0))),
  );
  expect(vectors).toHaveLength(71);
  for (const [i, vector] of vectors.slice(0, 70).entries()) expectClose(vector, wanted[i % 3] ?? []);
  expectClose(vectors[70], unit(wanted[0]?.slice(0, 2) ?? []));
});

test("pairs of texts have token types of their own", async ({ page }) => {
  hub.commit("owner/text", textRepository());
  const pair = { text: "good", pair: "film" };
  const source = { repo: "owner/text", host: hub.url };
  const answer = await ask(page, { source, inputs: { input_ids: [pair, "good film"] } });
  expect(answer.error).toBeNull();
  const [a = 0, b = 0, c = 0] = scores([2, 4, 3, 6, 3]);
  expectClose(answer.outputs["logits"], [a + 10, b, c - 10, ...scores(FILM)]);
});

test("the second visit comes from the store, and so does one without the hub", async ({ page }) => {
  hub.commit("owner/encoder", encoderRepository());
  const asked = { source: { repo: "owner/encoder", host: hub.url }, inputs: { input_ids: "dog" } };
  const first = await ask(page, asked);
  await open(page);
  [hub.asked, hub.cdn.asked] = [[], []];
  const second = await ask(page, asked);
  expect(second).toMatchObject({ outputs: first.outputs, cachedBytes: first.totalBytes });
  expect([hub.asked, hub.cdn.asked]).toEqual([["GET /owner/encoder/resolve/main/config.json"], []]);
  hub.close();
  await open(page);
  expect(await ask(page, asked)).toMatchObject({ error: null, outputs: first.outputs });
});

test("the same layout from a folder of a static host", async ({ page }) => {
  hub.commit("owner/text", textRepository());
  const answer = await ask(page, { source: hub.folder("owner/text"), inputs: { input_ids: ["good film", "bad"] } });
  expect(answer.error).toBeNull();
  expectClose(answer.outputs["logits"], [...scores(FILM), ...scores([2, 5, 3])]);
});

test("a gated repository loads with a token, and says what is missing without one", async ({ page }) => {
  hub.commit("owner/text", textRepository());
  hub.token = "hf_secret";
  const source = { repo: "owner/text", host: hub.url };
  const inputs = { input_ids: "good film" };
  expect((await ask(page, { source, inputs })).error).toContain("private or gated, or does not exist");
  expect((await ask(page, { source, inputs, token: "hf_secret" })).error).toBeNull();
});

test("faults of a hub name their cause", async ({ page }) => {
  hub.commit("owner/text", textRepository());
  const source = { repo: "owner/text", host: hub.url };
  hub.cdn.trick = () => ({ kind: "flip", at: 99 });
  expect((await ask(page, { source })).error).toContain("but its host states");
  hub.cdn.trick = () => null;
  const half = Object.fromEntries(Object.entries(encoderRepository()).filter(([path]) => !path.endsWith("_data")));
  hub.commit("owner/half", half);
  expect((await ask(page, { source: { ...source, repo: "owner/half" } })).error).toContain(
    "owner/half lacks onnx/model.onnx_data,",
  );
  expect((await ask(page, { source: { ...source, repo: "owner/none" } })).error).toContain(
    'has no owner/none at the revision "main"',
  );
  hub.hasCors = false;
  expect((await ask(page, { source: { ...source, repo: "owner/other" } })).error).toContain(
    "Access-Control-Allow-Origin",
  );
});
