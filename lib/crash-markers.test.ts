import { expect, test } from "vitest";
import type { Candidate } from "./choose.ts";
import { CrashMarkers } from "./crash-markers.ts";
import { createToyBackend } from "./simulate/toy.ts";
import { Random } from "./simulate/random.ts";
import { World } from "./simulate/world.ts";

const world = (): World =>
  new World({
    random: new Random(1),
    gpu: null,
    cores: 1,
    files: new Map(),
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });
const on = (backend: "webgpu" | "wasm", id: string): Candidate => ({ backend, variant: { id, needs: [], files: [] } });

test("what was being tried when the page died is known to the next one, and nothing else is", () => {
  const { effects } = world();
  const markers = new CrashMarkers(effects);
  markers.name(1, "abc", on("wasm", "f32"));
  markers.set(1, true);
  const next = new CrashMarkers(effects);
  expect(next.has("abc", on("wasm", "f32"))).toBe(true);
  expect(next.has("abc", on("wasm", "int8"))).toBe(false);
  expect(next.has("abc", on("webgpu", "f32"))).toBe(false);
  expect(next.has("def", on("wasm", "f32"))).toBe(false);
});

test("what ended, well or not, leaves no marker; nor does a page that is left in good order", () => {
  const { effects } = world();
  const markers = new CrashMarkers(effects);
  markers.name(1, "abc", on("wasm", "f32"));
  markers.name(2, "abc", on("wasm", "int8"));
  markers.set(1, true);
  markers.set(1, false);
  markers.set(2, true);
  expect(markers.has("abc", on("wasm", "f32"))).toBe(false);
  expect(markers.has("abc", on("wasm", "int8"))).toBe(true);
  markers.clear();
  expect(markers.has("abc", on("wasm", "int8"))).toBe(false);
});

test("a marker counts for a day, and not where the clock was set back", () => {
  const place = world();
  const markers = new CrashMarkers(place.effects);
  markers.name(1, "abc", on("wasm", "f32"));
  markers.set(1, true);
  place.now += 86_399_999;
  expect(markers.has("abc", on("wasm", "f32"))).toBe(true);
  place.now += 1;
  expect(markers.has("abc", on("wasm", "f32"))).toBe(false);
  place.now = -1;
  expect(markers.has("abc", on("wasm", "f32"))).toBe(false);
});
