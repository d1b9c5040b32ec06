// Fourier transform of any length, by its prime factors (Cooley and Tukey 1965), in float64. Speech models use 400 points,
// which no power of two is.

/** Transforms a block of real numbers into the powers |X(k)|² of its frequencies 0 … length / 2. */
export type PowerSpectrum = (block: Float64Array, powers: Float64Array) => void;

/** Creates the transform of one length. */
export function createPowerSpectrum(length: number): PowerSpectrum {
  const factors = factorsOf(length);
  const cos = Float64Array.from({ length }, (_, i) => Math.cos((2 * Math.PI * i) / length));
  const sin = Float64Array.from({ length }, (_, i) => -Math.sin((2 * Math.PI * i) / length));
  const [real, imaginary] = [new Float64Array(length), new Float64Array(length)];
  const [sumReal, sumImaginary] = [new Float64Array(length), new Float64Array(length)];
  /** Transforms the values at `from`, `from + stride` … into `size` places from `to` on. */
  const transform = (
    block: Float64Array,
    from: number,
    stride: number,
    to: number,
    size: number,
    level: number,
  ): void => {
    const factor = factors[level];
    if (factor === undefined) {
      real[to] = block[from] as number;
      imaginary[to] = 0;
      return;
    }
    const part = size / factor;
    for (let i = 0; i < factor; i += 1)
      transform(block, from + i * stride, stride * factor, to + i * part, part, level + 1);
    for (let k = 0; k < size; k += 1) {
      let [re, im] = [0, 0];
      for (let i = 0; i < factor; i += 1) {
        const at = to + i * part + (k % part);
        const turn = (i * k * stride) % length;
        const [c, s] = [cos[turn] as number, sin[turn] as number];
        re += (real[at] as number) * c - (imaginary[at] as number) * s;
        im += (real[at] as number) * s + (imaginary[at] as number) * c;
      }
      sumReal[k] = re;
      sumImaginary[k] = im;
    }
    for (let k = 0; k < size; k += 1) {
      real[to + k] = sumReal[k] as number;
      imaginary[to + k] = sumImaginary[k] as number;
    }
  };
  return (block, powers) => {
    transform(block, 0, 1, 0, length, 0);
    for (let k = 0; k < powers.length; k += 1) powers[k] = (real[k] as number) ** 2 + (imaginary[k] as number) ** 2;
  };
}

function factorsOf(length: number): number[] {
  const factors: number[] = [];
  let rest = length;
  for (let factor = 2; rest > 1; factor += 1)
    while (rest % factor === 0) {
      factors.push(factor);
      rest /= factor;
    }
  return factors;
}
