// Files of tensors, which hold a golden's inputs and outputs. Imported when a golden runs.
import type { Tensors } from "./compare-outputs.ts";
import { ARRAY_TYPES } from "./tensor.ts";
import type { NumericDtype, Tensor } from "./tensor.ts";

/** The element types of safetensors files. */
const DTYPES: Readonly<Record<string, NumericDtype>> = {
  F32: "float32",
  F64: "float64",
  F16: "float16",
  I8: "int8",
  U8: "uint8",
  I16: "int16",
  U16: "uint16",
  I32: "int32",
  U32: "uint32",
  I64: "int64",
  U64: "uint64",
  BOOL: "bool",
};

/** A file of tensors. */
export interface TensorFile {
  readonly tensors: Tensors;
  /** Numbers of its metadata, by their names. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** Reads a safetensors file; null where it is malformed, or has an element type that is not known here. */
export async function readTensors(file: Blob): Promise<TensorFile | null> {
  try {
    const bytes = await file.arrayBuffer();
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const { __metadata__: metadata = {}, ...header } = JSON.parse(
      new TextDecoder().decode(new Uint8Array(bytes, 8, start - 8)),
    ) as Record<string, { readonly dtype: string; readonly shape: number[]; readonly data_offsets: [number, number] }>;
    const tensors: Record<string, Tensor> = {};
    for (const [name, { dtype: type, shape, data_offsets: range }] of Object.entries(header)) {
      const dtype = DTYPES[type] as NumericDtype;
      const data = new ARRAY_TYPES[dtype](bytes.slice(start + range[0], start + range[1]));
      tensors[name] = { dtype, dims: shape, data } as Tensor;
    }
    const numbers = Object.entries(metadata).map(([name, text]) => [name, Number(text)] as const);
    return { tensors, numbers: Object.fromEntries(numbers.filter(([, x]) => x > 0)) };
  } catch {
    return null;
  }
}

/** A run of a golden: inputs, and the expected outputs with their floors. */
export interface GoldenTensors {
  readonly inputs: Tensors;
  readonly outputs: Tensors;
  readonly floors: Readonly<Record<string, number>>;
}

/** Reads the runs of a golden from its files, the inputs of a run and then its outputs; null where one is malformed. */
export async function readGolden(files: readonly Blob[]): Promise<readonly GoldenTensors[] | null> {
  const read = await Promise.all(files.map(readTensors));
  const runs: GoldenTensors[] = [];
  for (let i = 0; i < read.length; i += 2) {
    const [inputs = null, outputs = null] = read.slice(i);
    if (inputs === null || outputs === null) return null;
    runs.push({ inputs: inputs.tensors, outputs: outputs.tensors, floors: outputs.numbers });
  }
  return runs;
}
