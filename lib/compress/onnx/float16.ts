// Reads and writes float16, for which Node 20 has no typed array.

/** Returns the value of a float16's bits (IEEE 754). */
export function float16Value(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Returns the bits of the float16 nearest to each value. */
export function float16BitsOf(values: Float32Array): Uint16Array {
  const bits = new Uint16Array(values.length);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? 0;
    const size = word & 0x7fff_ffff;
    // A normal float16: 13 binary digits less, ties to even; a carry goes into the exponent, as it should.
    bits[i] =
      size >= 0x3880_0000 && size < 0x477f_f000
        ? ((word >>> 16) & 0x8000) | ((size - 0x3800_0000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
        : float16Bits(values[i] ?? 0);
  }
  return bits;
}

/** Returns the bits of the float16 nearest to a value, ties to even (IEEE 754). */
export function float16Bits(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  // log2 may round up to the next whole number.
  const power = 2 ** exponent > size ? exponent - 1 : exponent;
  // A fraction that rounds up to 1024 carries into the exponent, as it should.
  return sign | (((power + 15) << 10) + roundToEven((size / 2 ** power - 1) * 1024));
}

/** Rounds to the nearest integer, ties to even. */
export function roundToEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** The smallest normal float16, and the largest finite one. */
const FULL = { min: 2 ** -14, max: 65_504 } as const;

/** One number, and its bits: the exponent is in the last two bytes. */
const NUMBER = new Float64Array(1);
const WORDS = new Uint16Array(NUMBER.buffer);

/** Returns the nearest normal float16; values outside that range are unchanged. */
export function nearestHalf(value: number): number {
  const size = Math.abs(value);
  if (!(size >= FULL.min && size <= FULL.max)) return Math.fround(value);
  NUMBER[0] = size;
  const exponent = ((WORDS[3] ?? 0) >> 4) - 1023;
  // Added to a number of 42 binary digits more, it keeps 10 behind the first, ties to even; the sum is exact to undo.
  const large = 1.5 * 2 ** (exponent + 42);
  const half = size + large - large;
  return value < 0 ? -half : half;
}

/** Returns the smallest normal float16 that is not less; values outside that range are unchanged. */
export function halfAbove(value: number): number {
  const near = nearestHalf(value);
  return near < value && near < FULL.max ? float16Value(float16Bits(near) + 1) : near;
}

/** Whether all numbers are normal float16s or 0; with `hasSubnormals` subnormal ones count too. */
export function areHalf(values: Float32Array, hasSubnormals: boolean = false): boolean {
  const isHalf = (x: number): boolean => x === float16Value(float16Bits(x)) && Math.abs(x) <= FULL.max;
  return values.every((x) => isHalf(x) && (hasSubnormals || x === 0 || Math.abs(x) >= FULL.min));
}
