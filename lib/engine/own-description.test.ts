import { expect, test } from "vitest";
import { refuseDescription } from "./own-description.ts";
import type { LoadOptions } from "./options.ts";

test.each<[string, LoadOptions]>([
  ["image", { image: { normalize: "imagenet" } }],
  ["labels", { labels: ["cat"], backend: "wasm" }],
])("engine.update refuses %s, which it would ignore", (name, options) => {
  const refuse = (): void => {
    refuseDescription(options);
  };
  expect(refuse).toThrow(TypeError);
  expect(refuse).toThrow(`update: ${name} is an option of load: pass it there`);
});

test("engine.update takes options that describe nothing", () => {
  expect(() => {
    refuseDescription({ image: undefined, labels: undefined });
  }).not.toThrow();
});
