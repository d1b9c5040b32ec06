// Encoding and decoding of the protocol, over every datatype. The bytes are checked against DataView, which shares
// nothing with the typed arrays of the code; real engines are e2e/specs/remote's.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { float16Bits } from "../compress/onnx/float16.ts";
import type { Tensor } from "../core/tensor.ts";
import { fromBfloat16, toBfloat16 } from "./datatypes.ts";
import type { Datatype } from "./datatypes.ts";
import { decodeReply, jsonLength } from "./decode.ts";
import { encodeRequest } from "./encode.ts";
import type { WireInput } from "./encode.ts";
import { ReplyError } from "./failure.ts";
import * as json from "./json-tensors.ts";

const { fromFloat16, parseJson, toFloat16 } = json;

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytesOf = (value: string): Uint8Array => new TextEncoder().encode(value);

const int = (bits: number): fc.Arbitrary<number> => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
const uint = (bits: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: 2 ** bits - 1 });

interface Kind {
  readonly datatype: Datatype;
  readonly dtype: Tensor["dtype"];
  readonly element: fc.Arbitrary<unknown>;
  array(values: unknown[]): unknown;
  /** Writes an element, independently of the code under test. */
  write?(view: DataView, at: number, value: never): void;
  readonly size: number;
}

const KINDS: readonly Kind[] = [
  {
    datatype: "BOOL",
    dtype: "bool",
    element: fc.integer({ min: 0, max: 1 }),
    array: (x) => Uint8Array.from(x as number[]),
    write: (view, at, value) => view.setUint8(at, value),
    size: 1,
  },
  {
    datatype: "INT8",
    dtype: "int8",
    element: int(8),
    array: (x) => Int8Array.from(x as number[]),
    write: (view, at, value) => view.setInt8(at, value),
    size: 1,
  },
  {
    datatype: "INT16",
    dtype: "int16",
    element: int(16),
    array: (x) => Int16Array.from(x as number[]),
    write: (view, at, value) => view.setInt16(at, value, true),
    size: 2,
  },
  {
    datatype: "INT32",
    dtype: "int32",
    element: int(32),
    array: (x) => Int32Array.from(x as number[]),
    write: (view, at, value) => view.setInt32(at, value, true),
    size: 4,
  },
  {
    datatype: "INT64",
    dtype: "int64",
    element: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    array: (x) => BigInt64Array.from(x as bigint[]),
    write: (view, at, value) => view.setBigInt64(at, value, true),
    size: 8,
  },
  {
    datatype: "UINT8",
    dtype: "uint8",
    element: uint(8),
    array: (x) => Uint8Array.from(x as number[]),
    write: (view, at, value) => view.setUint8(at, value),
    size: 1,
  },
  {
    datatype: "UINT16",
    dtype: "uint16",
    element: uint(16),
    array: (x) => Uint16Array.from(x as number[]),
    write: (view, at, value) => view.setUint16(at, value, true),
    size: 2,
  },
  {
    datatype: "UINT32",
    dtype: "uint32",
    element: uint(32),
    array: (x) => Uint32Array.from(x as number[]),
    write: (view, at, value) => view.setUint32(at, value, true),
    size: 4,
  },
  {
    datatype: "UINT64",
    dtype: "uint64",
    element: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    array: (x) => BigUint64Array.from(x as bigint[]),
    write: (view, at, value) => view.setBigUint64(at, value, true),
    size: 8,
  },
  {
    datatype: "FP16",
    dtype: "float16",
    // Any bits but those of other NaNs: JSON has one.
    element: uint(16).map((x) => ((x & 0x7fff) > 0x7c00 ? 0x7e00 : x)),
    array: (x) => Uint16Array.from(x as number[]),
    write: (view, at, value) => view.setUint16(at, value, true),
    size: 2,
  },
  {
    datatype: "FP32",
    dtype: "float32",
    element: fc.float(),
    array: (x) => Float32Array.from(x as number[]),
    write: (view, at, value) => view.setFloat32(at, value, true),
    size: 4,
  },
  {
    datatype: "FP64",
    dtype: "float64",
    element: fc.double(),
    array: (x) => Float64Array.from(x as number[]),
    write: (view, at, value) => view.setFloat64(at, value, true),
    size: 8,
  },
  { datatype: "BYTES", dtype: "string", element: fc.string({ unit: "binary" }), array: (x) => x, size: 0 },
];

/** Any input of any datatype and shape, empty ones and scalars included. */
const anyInput: fc.Arbitrary<{ input: WireInput; kind: Kind; values: unknown[] }> = fc
  .tuple(
    fc.constantFrom(...KINDS),
    fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
    fc.string({ minLength: 1 }),
  )
  .chain(([kind, dims, name]) => {
    const count = dims.reduce((a, b) => a * b, 1);
    return fc.array(kind.element, { minLength: count, maxLength: count }).map((values) => ({
      kind,
      values,
      input: { name, datatype: kind.datatype, tensor: { dtype: kind.dtype, dims, data: kind.array(values) } as Tensor },
    }));
  });

const anyInputs = fc.uniqueArray(anyInput, { minLength: 1, maxLength: 4, selector: (x) => x.input.name });

/** Encodes inputs and returns them as a server that echoes them would: as the outputs of a reply. */
function echo(inputs: readonly WireInput[], binary: boolean): { bytes: Uint8Array; headerLength: string | null } {
  const { body, headerLength } = encodeRequest({ id: "1", inputs, outputs: undefined }, binary ? null : json);
  const head = text(body.subarray(0, headerLength ?? body.length)).replace('"inputs":', '"outputs":');
  // Servers without the extension are sent names of numbers as strings, and answer null or bare ones.
  const start = bytesOf(binary ? head : head.replaceAll(/"(NaN|-?Infinity)"(?=[,\]])/g, "$1"));
  const rest = body.subarray(headerLength ?? body.length);
  const bytes = new Uint8Array(start.length + rest.length);
  bytes.set(start);
  bytes.set(rest, start.length);
  return { bytes, headerLength: binary ? String(start.length) : null };
}

describe("a request", () => {
  test("has the bytes of each tensor in order, little-endian, at whatever offset they come to lie", () => {
    fc.assert(
      fc.property(anyInputs, (all) => {
        const { body, headerLength } = encodeRequest(
          { id: "a", inputs: all.map((x) => x.input), outputs: undefined },
          null,
        );
        const head = JSON.parse(text(body.subarray(0, headerLength ?? 0))) as {
          inputs: { name: string; parameters: { binary_data_size: number } }[];
        };
        let offset = headerLength ?? 0;
        for (const [i, { kind, values, input }] of all.entries()) {
          const size = head.inputs[i]?.parameters.binary_data_size ?? -1;
          expect(head.inputs[i]?.name).toBe(input.name);
          const expected = kind.write === undefined ? stringBytes(values as string[]) : numberBytes(kind, values);
          expect(body.slice(offset, offset + size)).toEqual(expected);
          offset += size;
        }
        expect(offset).toBe(body.length);
      }),
    );
  });

  test.each([true, false])("comes back from a server that echoes it as it was, binary: %s", async (binary) => {
    await fc.assert(
      fc.asyncProperty(anyInputs, async (all) => {
        const inputs = all.map((x) => x.input);
        const { bytes, headerLength } = echo(inputs, binary);
        const { outputs, isBinary } = await decodeReply(bytes, headerLength);
        expect(isBinary).toBe(binary);
        expect(outputs).toEqual(inputs);
      }),
    );
  });

  test("writes integers of 64 bits as bare digits, and booleans as true and false", () => {
    const inputs: WireInput[] = [
      {
        name: "a",
        datatype: "INT64",
        tensor: { dtype: "int64", dims: [2], data: BigInt64Array.of(9007199254740993n, -1n) },
      },
      { name: "b", datatype: "BOOL", tensor: { dtype: "bool", dims: [2], data: Uint8Array.of(1, 0) } },
    ];
    const { body } = encodeRequest({ id: "1", inputs, outputs: ["y"] }, json);
    expect(text(body)).toContain('"data":[9007199254740993,-1]');
    expect(text(body)).toContain('"data":[true,false]');
    expect(text(body)).toContain('"outputs":[{"name":"y","parameters":{"binary_data":false}}]');
  });

  test("rounds float32 to BF16, ties to even", async () => {
    const tensor: Tensor = { dtype: "float32", dims: [3], data: Float32Array.of(1, 1.00390625, -0) };
    const input: WireInput = { name: "x", datatype: "BF16", tensor };
    const { bytes, headerLength } = echo([input], true);
    expect((await decodeReply(bytes, headerLength)).outputs).toEqual([
      { ...input, tensor: { ...tensor, data: Float32Array.of(1, 1, -0) } },
    ]);
  });
});

describe("16-bit floats", () => {
  test("have the value of each bit pattern, and the nearest pattern of each value", () => {
    const values = Array.from({ length: 65_536 }, (_, bits) => fromFloat16(bits));
    expect(values.findIndex((value, bits) => !Number.isNaN(value) && toFloat16(value) !== bits)).toBe(-1);
    expect(fromFloat16(0x2e66)).toBe(0.0999755859375);
    expect([65_519, 65_520, 2 ** -25, 2 ** -25 * 1.01, 2049, 2051].map(toFloat16)).toEqual([
      0x7bff, 0x7c00, 0, 1, 0x6800, 0x6802,
    ]);
  });

  test("are those of the toolchain's own conversion", () => {
    fc.assert(
      fc.property(fc.oneof(fc.float(), fc.double()), (value) => {
        expect(toFloat16(value)).toBe(float16Bits(value));
      }),
    );
  });

  test("of the brain kind keep their value from float32 and back", () => {
    const values = fromBfloat16(Uint16Array.from({ length: 65_536 }, (_, bits) => bits));
    const bits = toBfloat16(values);
    expect(bits.findIndex((x, i) => !Number.isNaN(values[i]) && x !== i)).toBe(-1);
    expect(Number.isNaN(fromBfloat16(toBfloat16(Float32Array.of(NaN)))[0])).toBe(true);
  });
});

describe("JSON of servers", () => {
  test("may have bare NaN and Infinity, and integers of any length; strings stay as they are", () => {
    expect(
      parseJson(
        '{"a":[NaN,-Infinity,Infinity,9007199254740993,-18446744073709551615],"b":"NaN \\" Infinity 12345678901234567"}',
      ),
    ).toEqual({
      a: [null, -Infinity, Infinity, { digits: "9007199254740993" }, { digits: "-18446744073709551615" }],
      b: 'NaN " Infinity 12345678901234567',
    });
    expect(parseJson("[0.10000000149011612,1e21,12345678901234567.5]")).toEqual([
      0.10000000149011612, 1e21, 12345678901234567.5,
    ]);
    expect(parseJson('{"model_version" : 9007199254740993}')).toEqual({ model_version: "9007199254740993" });
  });

  test("parses as JSON.parse does where JSON.parse can and no integer is long", () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), (json) => {
        fc.pre(!/\d{16}/.test(json));
        expect(parseJson(json)).toEqual(JSON.parse(json));
      }),
    );
  });

  test("ends where its first object ends, whatever bytes follow", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.uint8Array(), (value, rest) => {
        const json = bytesOf(JSON.stringify(value));
        expect(jsonLength(Uint8Array.from([...json, ...rest]))).toBe(json.length);
      }),
    );
  });
});

describe("a reply", () => {
  const reply = (outputs: unknown, more = ""): Uint8Array =>
    bytesOf(`{"model_name":"m","outputs":${JSON.stringify(outputs)}}${more}`);
  const float = { name: "y", datatype: "FP32", shape: [1] };

  test("of numbers nested otherwise than its shape, at any depth, is refused", async () => {
    const deep = `${"[".repeat(20_000)}1${"]".repeat(20_000)}`;
    for (const [shape, data] of [
      ["[1]", deep],
      ["[1]", `[${deep}]`],
      ["[2,3]", "[[1,2],[3,4],[5,6]]"],
      ["[2,3]", "[[1,2,3],4,5,6]"],
      ["[2]", "[[],1,2]"],
    ]) {
      const bytes = bytesOf(`{"outputs":[{"name":"y","datatype":"FP32","shape":${shape},"data":${data}}]}`);
      await expect(decodeReply(bytes, null)).rejects.toThrow(ReplyError);
    }
    const { outputs } = await decodeReply(reply([{ ...float, shape: [2, 1, 2], data: [[[1, 2]], [[3, 4]]] }]), null);
    expect(outputs[0]?.tensor.data).toEqual(Float32Array.of(1, 2, 3, 4));
  });

  test("with a finite number that its type has not is refused, Infinity and NaN are read", async () => {
    for (const [datatype, value] of [
      ["FP32", "1e300"],
      ["FP32", "-1e39"],
      ["FP16", "65520"],
    ])
      await expect(
        decodeReply(bytesOf(`{"outputs":[{"name":"y","datatype":"${datatype}","shape":[1],"data":[${value}]}]}`), null),
      ).rejects.toThrow(`as ${datatype}`);
    const good = bytesOf(
      '{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":[3.4028235e38,-Infinity,NaN]}]}',
    );
    expect((await decodeReply(good, null)).outputs[0]?.tensor.data).toEqual(
      Float32Array.of(3.4028235e38, -Infinity, NaN),
    );
  });

  test("with a text of digits for a number, or a number for a text, is refused: long ones as short ones", async () => {
    const long = "9007199254740993";
    const decoded = (datatype: string, value: string) =>
      decodeReply(bytesOf(`{"outputs":[{"name":"y","datatype":"${datatype}","shape":[1],"data":[${value}]}]}`), null);
    for (const digits of ["12", long, `-${long}`]) {
      for (const datatype of ["FP16", "FP32", "FP64", "INT64", "UINT64", "INT32"])
        await expect(decoded(datatype, `"${digits}"`)).rejects.toThrow(`has "${digits}" as ${datatype}`);
      await expect(decoded("BYTES", digits)).rejects.toThrow(`has ${digits} as BYTES`);
    }
    const [text] = (await decoded("BYTES", `"${long}"`)).outputs;
    expect(text?.tensor.data).toEqual([long]);
    const [float] = (await decoded("FP64", ` ${long}`)).outputs;
    expect(float?.tensor.data).toEqual(Float64Array.of(2 ** 53));
    for (const datatype of ["FP16", "FP32", "FP64"])
      await expect(decoded(datatype, "9".repeat(400))).rejects.toThrow(`as ${datatype}`);
  });

  test("has a short message however long its values are", async () => {
    for (const output of [
      { ...float, datatype: "q".repeat(1e6), data: [1] },
      { ...float, name: "q".repeat(1e6), data: [] },
      { ...float, shape: new Array<string>(1e5).fill("q"), data: [1] },
      { ...float, data: ["q".repeat(1e6)] },
    ]) {
      const error: unknown = await decodeReply(reply([output]), null).catch((x: unknown) => x);
      expect(error).toBeInstanceOf(ReplyError);
      expect((error as Error).message.length).toBeLessThan(600);
    }
  });

  test("is binary by the length header alone, and by its content where the header is hidden or all tensors are empty", async () => {
    const binary = { ...float, parameters: { binary_data_size: 4 } };
    const bytes = Uint8Array.from([...reply([binary]), 0, 0, 128, 63]);
    const length = String(reply([binary]).length);
    for (const header of [length, null]) {
      const { outputs, isBinary } = await decodeReply(bytes, header);
      expect([isBinary, outputs[0]?.tensor.data]).toEqual([true, Float32Array.of(1)]);
    }
    const empty = await decodeReply(reply([{ ...float, shape: [0], parameters: { binary_data_size: 0 } }]), null);
    expect([empty.isBinary, empty.outputs[0]?.tensor.data]).toEqual([true, new Float32Array()]);
  });

  test("has NaN where the server wrote null or NaN, and every digit of a long integer, flat or nested", async () => {
    const text =
      '{"outputs":[{"name":"a","datatype":"FP32","shape":[3],"data":[null,NaN,Infinity]},{"name":"b","datatype":"UINT64","shape":[2,1],"data":[[18446744073709551615],[1]]}]}';
    const { outputs, modelName } = await decodeReply(bytesOf(text), null);
    expect(outputs[0]?.tensor.data).toEqual(Float32Array.of(NaN, NaN, Infinity));
    expect(outputs[1]?.tensor.data).toEqual(BigUint64Array.of(18446744073709551615n, 1n));
    expect(modelName).toBeNull();
  });

  const binary = (size: unknown): unknown => ({ ...float, parameters: { binary_data_size: size } });
  test.each<[string, Uint8Array, string | null]>([
    ["no JSON", bytesOf("<html>"), null],
    ["no object", bytesOf("[]"), null],
    ["no outputs", bytesOf('{"model_name":"m"}'), null],
    ["no name", reply([{ ...float, name: 1, data: [1] }]), null],
    ["an unknown datatype", reply([{ ...float, datatype: "FLOAT", data: [1] }]), null],
    ["a negative shape", reply([{ ...float, shape: [-1], data: [1] }]), null],
    ["a huge shape", reply([{ ...float, shape: [2 ** 53 - 1, 16], data: [1] }]), null],
    ["a shape that is no list", reply([{ ...float, shape: 1, data: [1] }]), null],
    ["fewer elements than its shape", reply([{ ...float, data: [] }]), null],
    ["more elements than its shape", reply([{ ...float, data: [1, 2] }]), null],
    ["no data", reply([float]), null],
    ["text among numbers", reply([{ ...float, data: ["1"] }]), null],
    ["a fraction among integers", reply([{ ...float, datatype: "INT32", data: [1.5] }]), null],
    ["an integer out of range", reply([{ ...float, datatype: "INT8", data: [128] }]), null],
    ["a negative unsigned integer", reply([{ ...float, datatype: "UINT64", data: [-1] }]), null],
    ["null among integers", reply([{ ...float, datatype: "INT32", data: [null] }]), null],
    ["a number among strings", reply([{ ...float, datatype: "BYTES", data: [1] }]), null],
    [
      "two outputs of one name",
      reply([
        { ...float, data: [1] },
        { ...float, data: [1] },
      ]),
      null,
    ],
    ["a length header that is no number", reply([{ ...float, data: [1] }]), "abc"],
    ["a length header beyond its end", reply([{ ...float, data: [1] }]), "9999"],
    ["a length header within its JSON", reply([{ ...float, data: [1] }]), "9"],
    ["fewer bytes than its sizes", Uint8Array.from([...reply([binary(4)]), 0, 0]), String(reply([binary(4)]).length)],
    [
      "more bytes than its sizes",
      Uint8Array.from([...reply([binary(4)]), 0, 0, 0, 0, 0]),
      String(reply([binary(4)]).length),
    ],
    [
      "a size that its shape does not have",
      Uint8Array.from([...reply([binary(3)]), 0, 0, 0]),
      String(reply([binary(3)]).length),
    ],
    ["a negative size", reply([binary(-4)]), String(reply([binary(-4)]).length)],
    ["a size that is text", reply([binary("4")]), String(reply([binary("4")]).length)],
    ["bytes that are not UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d), null],
  ])("with %s is refused", async (_, bytes, header) => {
    await expect(decodeReply(bytes, header)).rejects.toThrow(ReplyError);
  });

  test("with another byte than 0 and 1 as BOOL is refused", async () => {
    const head = reply([{ name: "b", datatype: "BOOL", shape: [2], parameters: { binary_data_size: 2 } }]);
    const of = (byte: number): Promise<unknown> => decodeReply(Uint8Array.from([...head, 1, byte]), null);
    await of(0);
    await expect(of(2)).rejects.toThrow(ReplyError);
  });

  test("with strings whose lengths don't fit is refused", async () => {
    const of = (...bytes: number[]): Promise<unknown> => {
      const head = reply([
        { name: "s", datatype: "BYTES", shape: [1], parameters: { binary_data_size: bytes.length } },
      ]);
      return decodeReply(Uint8Array.from([...head, ...bytes]), String(head.length));
    };
    await of(1, 0, 0, 0, 65);
    for (const wrong of [
      of(2, 0, 0, 0, 65),
      of(255, 255, 255, 255),
      of(1, 0),
      of(),
      of(0, 0, 0, 0, 0, 0, 0, 0),
      of(1, 0, 0, 0, 255),
    ])
      await expect(wrong).rejects.toThrow(ReplyError);
  });

  test("of random bytes, or cut or changed anywhere, is decoded or refused, and nothing else is thrown", async () => {
    const attempt = async (bytes: Uint8Array, header: string | null): Promise<void> => {
      try {
        await decodeReply(bytes, header);
      } catch (error) {
        expect(error).toBeInstanceOf(ReplyError);
      }
    };
    await fc.assert(
      fc.asyncProperty(
        anyInputs,
        fc.boolean(),
        fc.nat(),
        fc.nat(255),
        fc.nat(),
        async (all, isBinary, at, byte, end) => {
          const { bytes, headerLength } = echo(
            all.map((x) => x.input),
            isBinary,
          );
          await attempt(bytes.subarray(0, end % bytes.length), headerLength);
          bytes[at % bytes.length] = byte;
          await attempt(bytes, headerLength);
        },
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), fc.option(fc.string()), async (bytes, header) => {
        await attempt(bytes, header);
      }),
    );
  });
});

function numberBytes(kind: Kind, values: readonly unknown[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(kind.size * values.length));
  for (const [i, value] of values.entries()) kind.write?.(view, kind.size * i, value as never);
  return new Uint8Array(view.buffer);
}

function stringBytes(values: readonly string[]): Uint8Array {
  return Uint8Array.from(
    values.flatMap((value) => {
      const utf8 = [...Buffer.from(value, "utf8")];
      return [utf8.length & 255, (utf8.length >> 8) & 255, 0, 0, ...utf8];
    }),
  );
}
