import { expect, test } from "vitest";
import type { Compiled } from "./lane-options.ts";
import { keepRest, shareRest } from "./share-rest.ts";

const module = (): WebAssembly.Module => new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

function compiledFirst(): { compiled: Compiled; first: WebAssembly.Module } {
  const first = module();
  return { first, compiled: { modules: Promise.resolve({ first, rest: null }), rest: null } };
}

test("the second part is compiled once for all workers that ask, and for those that start later", async () => {
  const { compiled, first } = compiledFirst();
  const rest = module();
  let compiles = 0;
  const compile = (): Promise<WebAssembly.Module> => {
    compiles += 1;
    return Promise.resolve(rest);
  };
  expect(await Promise.all([shareRest(compiled, compile), shareRest(compiled, compile)])).toEqual([rest, rest]);
  expect(await shareRest(compiled, compile)).toBe(rest);
  expect(compiles).toBe(1);
  expect(await compiled.modules).toEqual({ first, rest });
});

test("where the page can't compile it the worker gets null, and the next request compiles again", async () => {
  const { compiled, first } = compiledFirst();
  expect(await shareRest(compiled, () => Promise.reject(new Error("no network")))).toBeNull();
  expect(await compiled.modules).toEqual({ first, rest: null });
  const rest = module();
  expect(await shareRest(compiled, () => Promise.resolve(rest))).toBe(rest);
});

test("a module that a worker compiled itself is kept", async () => {
  const { compiled, first } = compiledFirst();
  const rest = module();
  keepRest(compiled, rest);
  expect(await compiled.modules).toEqual({ first, rest });
  expect(await shareRest(compiled, () => Promise.reject(new Error("not asked for")))).toBe(rest);
});

test("a module of a worker is kept also before the page compiles, and where it can't", async () => {
  const rest = module();
  const before: Compiled = { modules: null, rest: null };
  keepRest(before, rest);
  expect(before.modules).toBeNull();
  expect(await before.rest).toBe(rest);
  const unable: Compiled = { modules: Promise.resolve(null), rest: null };
  keepRest(unable, rest);
  expect(await unable.modules).toBeNull();
});
