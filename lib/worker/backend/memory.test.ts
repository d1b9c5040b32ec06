import { expect, test } from "vitest";
import { watchDeviceMemory, watchWasmMemory } from "./memory.ts";

/** A module that exports its own memory of one page as "m". */
const EXPORTS_MEMORY = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x6d, 2, 0]);
const PAGE = 65_536;

test("WebAssembly memories are counted, those that are made, those that instances bring, and their growth", async () => {
  const bytes = watchWasmMemory();
  expect(bytes()).toBe(0);
  const memory = new WebAssembly.Memory({ initial: 2 });
  expect(memory).toBeInstanceOf(WebAssembly.Memory);
  expect(bytes()).toBe(2 * PAGE);
  memory.grow(3);
  expect(bytes()).toBe(5 * PAGE);
  const { instance } = await WebAssembly.instantiate(EXPORTS_MEMORY);
  expect(bytes()).toBe(6 * PAGE);
  await WebAssembly.instantiate(await WebAssembly.compile(EXPORTS_MEMORY));
  expect(bytes()).toBe(7 * PAGE);
  expect(Object.keys(instance.exports)).toEqual(["m"]);
});

test("buffers on a device are counted until they are destroyed, however often that is called", () => {
  const device = { createBuffer: ({ size }: { size: number }) => ({ size, destroy: (): void => undefined }) };
  const bytes = watchDeviceMemory(device as unknown as GPUDevice);
  const [first, second] = [device.createBuffer({ size: 100 }), device.createBuffer({ size: 28 })];
  expect(bytes()).toBe(128);
  first.destroy();
  first.destroy();
  expect(bytes()).toBe(28);
  second.destroy();
  expect(bytes()).toBe(0);
});

test("a copy to address 0 of a watched memory is refused as out of memory, and no other copy (memory-null)", () => {
  const { set } = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
  try {
    const { Memory } = WebAssembly;
    watchWasmMemory();
    const memory = new WebAssembly.Memory({ initial: 1 });
    WebAssembly.Memory = Memory;
    const heap = new Uint8Array(memory.buffer);
    const input = Uint8Array.of(1, 2, 3);
    expect(() => {
      heap.set(input, 0);
    }).toThrow("out of memory");
    expect(() => {
      heap.set(new Uint8Array(2 ** 17), 0);
    }).toThrow("out of memory");
    expect([...heap.subarray(0, 3)]).toEqual([0, 0, 0]);
    heap.set(input, 8);
    heap.subarray(16).set(input);
    new Uint8Array(3).set(input);
    expect([...heap.subarray(8, 19)]).toEqual([1, 2, 3, 0, 0, 0, 0, 0, 1, 2, 3]);
  } finally {
    (Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array).set = set;
  }
});
