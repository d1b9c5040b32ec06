import { expect, test } from "vitest";
import { Chunks, CHUNK, RATE } from "./chunks.ts";

function cut(rate: number, sound: Float32Array, piece: number): Float32Array[] {
  const chunks: Float32Array[] = [];
  const cutter = new Chunks(rate, (chunk) => chunks.push(chunk));
  for (let at = 0; at < sound.length; at += piece) cutter.push(sound.subarray(at, at + piece));
  return chunks;
}

test("a chunk begins with the end of the previous one, however the input is split", () => {
  const sound = Float32Array.from({ length: 3 * CHUNK }, (_, i) => i + 1);
  for (const piece of [128, 100, 3 * CHUNK]) {
    const chunks = cut(RATE, sound, piece);
    expect(chunks.map((x) => x.length)).toEqual([576, 576, 576]);
    expect([...chunks[0]!.subarray(0, 64)]).toEqual(new Array(64).fill(0));
    for (const [i, chunk] of chunks.entries())
      expect([...chunk.subarray(64)]).toEqual([...sound.subarray(i * CHUNK, (i + 1) * CHUNK)]);
    expect([...chunks[1]!.subarray(0, 64)]).toEqual([...chunks[0]!.subarray(-64)]);
  }
});

test("sound at another rate keeps its pitch", () => {
  const tone = (rate: number): Float32Array =>
    Float32Array.from({ length: rate / 4 }, (_, i) => Math.sin((i / rate) * 2 * Math.PI * 200));
  for (const [rate, piece] of [
    [48_000, 128],
    [44_100, 128],
  ] as const) {
    const chunks = cut(rate, tone(rate), piece);
    const expected = cut(RATE, tone(RATE), 128);
    expect(chunks).toHaveLength(expected.length);
    for (const [i, chunk] of chunks.entries())
      for (const [at, value] of chunk.entries()) expect(Math.abs(value - expected[i]![at]!)).toBeLessThan(0.01);
  }
});
