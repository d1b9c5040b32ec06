// Numbers of 16 bits (IEEE 754 binary16), whose bits tensors hold.

/** Converts the bits of a float16 to a number: 1 bit sign, 5 bits exponent, 10 bits fraction. */
export function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
