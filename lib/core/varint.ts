// Numbers of variable length, as protobuf writes tags and lengths: seven bits a byte, the lowest first.

/** Writes a number that is not negative. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return bytes;
}
