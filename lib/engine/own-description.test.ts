import { expect, test } from "vitest";
import { checkUpdateOptions } from "./own-description.ts";
import type { LoadOptions } from "./options.ts";

test.each<[string, LoadOptions]>([
  ["image", { image: { normalize: "imagenet" } }],
  ["labels", { labels: ["cat"], backend: "wasm" }],
  ["batching", { batching: false }],
  ["concurrency", { concurrency: 2 }],
  ["cache", { keepInMemory: true, cache: true }],
  ["update", { update: "later" }],
  ["allowUnverified", { allowUnverified: false }],
])("engine.update refuses %s, which it would ignore", (name, options) => {
  const refuse = (): void => {
    checkUpdateOptions(options);
  };
  expect(refuse).toThrow(TypeError);
  expect(refuse).toThrow(`update: ${name} is an option of load: pass it there`);
});

test("engine.update takes the options that decide what is stored, and undefined ones", () => {
  const onProgress = (): void => undefined;
  for (const options of [
    { image: undefined, cache: undefined },
    { keepInMemory: true, variant: "int8", onProgress },
  ])
    expect(() => {
      checkUpdateOptions(options);
    }).not.toThrow();
});
