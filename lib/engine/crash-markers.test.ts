import fc from "fast-check";
import { expect, test } from "vitest";
import type { Candidate } from "../core/choose-variant.ts";
import { CrashMarkers } from "./crash-markers.ts";
import type { Effects } from "../effects/effects.ts";
import { createToyBackend } from "../test-support/simulate/toy-backend.ts";
import { Random } from "../test-support/random.ts";
import { World } from "../test-support/simulate/world.ts";

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
/** Effects of a later page of the same site. */
const reloaded = ({ effects }: World): Effects => ({ ...effects, facts: { ...effects.facts, page: "a later page" } });
const on = (backend: "webgpu" | "wasm", id: string): Candidate => ({ backend, variant: { id, needs: [], files: [] } });

test("the next page knows the candidate that was tried when the page died, and nothing else", () => {
  const place = world();
  const markers = new CrashMarkers(place.effects);
  markers.name(1, "abc", on("wasm", "f32"));
  markers.set(1, true);
  const next = new CrashMarkers(reloaded(place));
  expect(next.has("abc", on("wasm", "f32"))).toBe(true);
  expect(next.has("abc", on("wasm", "int8"))).toBe(false);
  expect(next.has("abc", on("webgpu", "f32"))).toBe(false);
  expect(next.has("def", on("wasm", "f32"))).toBe(false);
});

test("a try that ended, well or not, leaves no marker; nor does a page that is left normally (core-C7)", () => {
  const place = world();
  const written = keysOf(place);
  const markers = new CrashMarkers(place.effects);
  const next = new CrashMarkers(reloaded(place));
  markers.name(1, "abc", on("wasm", "f32"));
  markers.name(2, "abc", on("wasm", "int8"));
  markers.set(1, true);
  markers.set(1, false);
  markers.set(2, true);
  expect(next.has("abc", on("wasm", "f32"))).toBe(false);
  expect(next.has("abc", on("wasm", "int8"))).toBe(true);
  markers.clear();
  expect(next.has("abc", on("wasm", "int8"))).toBe(false);
  markers.set(2, false);
  expect(written).toEqual(new Set());
});

test("a marker counts for a day, and not where the clock was set back", () => {
  const place = world();
  const markers = new CrashMarkers(place.effects);
  markers.name(1, "abc", on("wasm", "f32"));
  markers.set(1, true);
  const next = new CrashMarkers(reloaded(place));
  place.now += 86_399_999;
  expect(next.has("abc", on("wasm", "f32"))).toBe(true);
  place.now += 1;
  expect(next.has("abc", on("wasm", "f32"))).toBe(false);
  place.now = -1;
  expect(next.has("abc", on("wasm", "f32"))).toBe(false);
});

test("a page takes neither its own tries nor those of a second engine on it for a crash (core-B1)", () => {
  const place = world();
  const [one, two] = [new CrashMarkers(place.effects), new CrashMarkers(place.effects)];
  one.name(1, "abc", on("webgpu", "f32"));
  one.set(1, true);
  expect(one.has("abc", on("webgpu", "f32"))).toBe(false);
  expect(two.has("abc", on("webgpu", "f32"))).toBe(false);
});

test("of several tries at once, on any engines, each takes away its own marker alone (core-B1)", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1), fc.nat(2)), { maxLength: 30 }), (toggled) => {
      const place = world();
      const next = new CrashMarkers(reloaded(place));
      const engines = [new CrashMarkers(place.effects), new CrashMarkers(place.effects)];
      for (const engine of engines) for (const id of [1, 2, 3]) engine.name(id, "abc", on("webgpu", "f32"));
      const open = new Set<string>();
      for (const [engine, id] of toggled) {
        const name = `${engine} ${id}`;
        engines[engine]?.set(id + 1, !open.has(name));
        if (!open.delete(name)) open.add(name);
        expect(next.has("abc", on("webgpu", "f32"))).toBe(open.size > 0);
      }
      engines[0]?.clear();
      expect(next.has("abc", on("webgpu", "f32"))).toBe([...open].some((name) => name.startsWith("1")));
    }),
  );
});

test("the marker of a model that is unloaded while it is tried goes with the try (core-B1)", () => {
  const place = world();
  const written = keysOf(place);
  const markers = new CrashMarkers(place.effects);
  markers.name(1, "abc", on("webgpu", "f32"));
  markers.set(1, true);
  markers.delete(1);
  expect(written.size).toBe(1);
  markers.set(1, false);
  expect(written.size).toBe(0);
  markers.set(1, true); // its name was removed
  expect(written.size).toBe(0);
});

/** Tracks the keys that are written. */
function keysOf({ effects }: World): Set<string> {
  const keys = new Set<string>();
  const { memo } = effects;
  const set = memo.set.bind(memo);
  memo.set = (key, value) => {
    set(key, value);
    if (value === null) keys.delete(key);
    else keys.add(key);
  };
  return keys;
}
