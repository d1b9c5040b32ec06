import { expect, test } from "vitest";
import { checkUpdateOptions, ownDescription } from "./own-description.ts";
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

const labelled = (labels: unknown): unknown =>
  ownDescription("https://a.org/m.onnx", { labels: labels as NonNullable<LoadOptions["labels"]> }, "https://a.org/");

test.each<[string, unknown, string]>([
  ["a Set", new Set(["cat"]), "got Set"],
  ["a Blob", new Blob(["cat"]), "got Blob"],
  ["a typed array", new Uint8Array(2), "got Uint8Array"],
  ["null", null, "got null"],
  ["a number", 5, "got 5"],
  ["an object without labels", {}, "got undefined"],
])("labels that are %s are named", (_, labels, got) => {
  expect(() => labelled(labels)).toThrow(TypeError);
  expect(() => labelled(labels)).toThrow(`labels: expected texts in an array, or the URL of a file of labels, ${got}`);
});

test("labels of an empty address are named as such, not as the source", () => {
  expect(() => labelled("")).toThrow(/^labels: the URL is empty: is its variable set\?$/);
  expect(() => labelled({ from: "" })).toThrow("labels: the URL is empty");
});

test("a hole in the labels is named, and texts of any content pass", () => {
  const holed = Array.from(["a", "b", "c"]);
  Reflect.deleteProperty(holed, "1");
  expect(() => labelled(holed)).toThrow("labels: expected texts in an array, got undefined at index 1");
  expect(() => labelled({ from: ["a", 2] })).toThrow("got 2 at index 1");
  expect(labelled(Object.freeze(["", "b"]))).toMatchObject({ labels: { from: ["", "b"] } });
  expect(labelled("l.txt")).toMatchObject({ labels: { from: "https://a.org/l.txt" } });
  expect(labelled(new URL("https://a.org/x.txt"))).toMatchObject({ labels: { from: "https://a.org/x.txt" } });
  expect(labelled({ from: "l.txt", top: 2 })).toMatchObject({ labels: { from: "https://a.org/l.txt", top: 2 } });
});
