// The engine over a store that lasts, while the server publishes a newer version that can't be loaded: `engine.load`
// uses the version that is stored whole.
import { beforeEach, expect, test } from "vitest";
import { createEngine } from "../create-engine.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { LoadOptions } from "../engine/options.ts";
import { Random } from "../test-support/random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import { World } from "../test-support/simulate/world.ts";
import { MemoryStore } from "./stores/memory.ts";

const URL_OF_BUNDLE = "https://app.test/m.json";
const CHUNK_1 = TOY_CHUNK.path;
/** The chunk "o" of the second version. */
const CHUNK_2 = "chunks/65c74c15a686187bb6bbf9958f494fc6b80068034a659a9ad44991b08c58f2d2";
const BUNDLE_1 = toyBundle("m", 2);
const BUNDLE_2 = toyBundle("m", 3).replaceAll(CHUNK_1.slice("chunks/".length), CHUNK_2.slice("chunks/".length));

let files: Map<string, string>;
let store: MemoryStore;

beforeEach(() => {
  files = new Map([
    [`https://app.test/${CHUNK_1}`, TOY_CHUNK.content],
    [URL_OF_BUNDLE, BUNDLE_1],
  ]);
  store = new MemoryStore();
});

/** Loads the model in a page of its own; returns the factor by which it multiplies, and the log. */
async function load(options: LoadOptions = {}): Promise<{ factor: number; logged: string[] }> {
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 2,
    files,
    store,
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });
  const logged: string[] = [];
  const engine = await createEngine({ effects: world.effects, onLog: (line) => logged.push(line) });
  try {
    const model = await world.finish(engine.load(URL_OF_BUNDLE, options));
    const run = model.run({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 1) } });
    const { outputs } = await world.finish(run);
    return { factor: Number(outputs["y"]?.data[0]), logged };
  } finally {
    await engine.close();
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? error.code : String(error);
}

/** Publishes the second version; its chunk has this content, or is missing. */
function publish(chunk: string | null): void {
  files.set(URL_OF_BUNDLE, BUNDLE_2);
  files.delete(`https://app.test/${CHUNK_1}`);
  if (chunk !== null) files.set(`https://app.test/${CHUNK_2}`, chunk);
}

test.each([
  ["is missing", null],
  ["holds other bytes", "x"],
  ["is a start page", "<!doctype html><title>An app</title>"],
])("the stored version runs where a chunk of the newer one %s (store-withheld)", async (_, chunk) => {
  expect((await load()).factor).toBe(2);
  publish(chunk);
  for (let page = 0; page < 2; page += 1) {
    const { factor, logged } = await load();
    expect(factor).toBe(2);
    expect(logged.join("\n")).toContain("The stored version of m is used.");
  }
  files.set(`https://app.test/${CHUNK_2}`, "o");
  expect((await load()).factor).toBe(3);
});

test("without a stored version a withheld chunk rejects (store-withheld)", async () => {
  publish(null);
  expect(await codeOf(load())).toBe("download-failed");
  files.set(URL_OF_BUNDLE, BUNDLE_1);
  files.set(`https://app.test/${CHUNK_1}`, TOY_CHUNK.content);
  expect((await load()).factor).toBe(2);
});

test.each(["later", "never"] as const)(
  "%s: a version that is not stored whole is left where the server has a newer one (store-half)",
  async (update) => {
    files.delete(`https://app.test/${CHUNK_1}`);
    expect(await codeOf(load({ update }))).toBe("download-failed");
    publish("o");
    expect((await load({ update })).factor).toBe(3);
  },
);
