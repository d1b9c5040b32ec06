// Large matrix products computed by ONNX Runtime, since plain JavaScript takes a hundred times as long. The blocked
// Cholesky factorization of a large symmetric matrix is built on them: only small triangles are left to JavaScript.
//
// Golub & Van Loan, Matrix Computations, 4.2.9 (block outer product form).
import type { InferenceSession } from "onnxruntime-node";
import { create } from "@bufbuild/protobuf";
import { makeNode } from "../onnx/graph.ts";
import { ModelProtoSchema, TensorProto_DataType } from "../onnx/onnx.gen.js";
import { OnnxModel } from "../onnx/model.ts";
import { loadRuntime } from "./optional-peers.ts";

/** Rows and columns of a block processed in JavaScript. */
const BLOCK = 96;

/** A row-major matrix. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float32Array;
}

/** Multiplies matrices. Holds a session that must be released. */
export class MatMul {
  readonly #session: InferenceSession;
  readonly #tensor: typeof import("onnxruntime-node").Tensor;

  private constructor(session: InferenceSession, tensor: typeof import("onnxruntime-node").Tensor) {
    this.#session = session;
    this.#tensor = tensor;
  }

  /** Loads ONNX Runtime with a model of a single MatMul. */
  static async open(): Promise<MatMul> {
    const { InferenceSession, Tensor } = await loadRuntime();
    const value = (name: string, ...dims: string[]) => ({
      name,
      type: {
        value: {
          case: "tensorType" as const,
          value: {
            elemType: TensorProto_DataType.FLOAT,
            shape: { dim: dims.map((x) => ({ value: { case: "dimParam" as const, value: x } })) },
          },
        },
      },
    });
    const proto = create(ModelProtoSchema, {
      irVersion: 7n,
      opsetImport: [{ domain: "", version: 13n }],
      graph: {
        name: "product",
        input: [value("a", "m", "k"), value("b", "k", "n")],
        output: [value("c", "m", "n")],
        node: [makeNode({ opType: "MatMul", input: ["a", "b"], output: ["c"] })],
      },
    });
    const session = await InferenceSession.create(new OnnxModel(proto).write(), { logSeverityLevel: 4 });
    return new MatMul(session, Tensor);
  }

  /** Returns a · b. */
  async multiply(a: Matrix, b: Matrix): Promise<Float32Array> {
    if (a.rows === 0 || b.columns === 0) return new Float32Array(0);
    const tensor = ({ rows, columns, values }: Matrix) => new this.#tensor("float32", values, [rows, columns]);
    const { c } = await this.#session.run({ a: tensor(a), b: tensor(b) });
    return c?.data as Float32Array;
  }

  /** Releases the session. */
  async release(): Promise<void> {
    await this.#session.release();
  }

  /**
   * Replaces the lower triangle of a symmetric positive-definite matrix of `size` rows by L with L · Lᵀ equal to it.
   * @throws RangeError where the matrix is not positive definite.
   */
  async factor(matrix: Float64Array, size: number): Promise<void> {
    for (let start = 0; start < size; start += BLOCK) {
      const end = Math.min(size, start + BLOCK);
      factorColumns(matrix, size, start, end);
      const rest = size - end;
      if (rest === 0) continue;
      const width = end - start;
      const panel = new Float32Array(rest * width);
      const turned = new Float32Array(rest * width);
      for (let row = 0; row < rest; row++)
        for (let column = 0; column < width; column++) {
          const value = matrix[(end + row) * size + start + column] ?? 0;
          panel[row * width + column] = value;
          turned[column * rest + row] = value;
        }
      const product = await this.multiply(
        { rows: rest, columns: width, values: panel },
        { rows: width, columns: rest, values: turned },
      );
      for (let row = 0; row < rest; row++) {
        const at = (end + row) * size + end;
        for (let column = 0; column <= row; column++)
          matrix[at + column] = (matrix[at + column] ?? 0) - (product[row * rest + column] ?? 0);
      }
    }
  }
}

/** Factors the columns of one block; the contributions of earlier columns have been subtracted. */
function factorColumns(matrix: Float64Array, size: number, start: number, end: number): void {
  for (let column = start; column < end; column++) {
    const base = column * size;
    let pivot = matrix[base + column] ?? 0;
    for (let k = start; k < column; k++) pivot -= (matrix[base + k] ?? 0) ** 2;
    if (!(pivot > 0)) throw new RangeError(`the matrix is not positive definite at row ${column}`);
    const root = Math.sqrt(pivot);
    matrix[base + column] = root;
    for (let row = column + 1; row < size; row++) {
      const other = row * size;
      let sum = matrix[other + column] ?? 0;
      for (let k = start; k < column; k++) sum -= (matrix[other + k] ?? 0) * (matrix[base + k] ?? 0);
      matrix[other + column] = sum / root;
    }
  }
}
