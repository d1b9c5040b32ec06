// Decides whether a model needs the second part of ONNX Runtime's binary (build/split.ts): it does if it has an
// operator that is not among the profiled ones. Reads only the types of the nodes and skips weights, so this takes
// about a microsecond per node.
import { WIRE } from "./onnx-fields.ts";
import { USUAL_OPERATORS } from "./usual-operators.ts";

/** Field numbers in onnx.proto. */
const MODEL = { graph: 7, functions: 25 } as const;
const GRAPH_NODE = 1;
const FUNCTION_NODE = 7;
const NODE = { opType: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { graph: 6, graphs: 11 } as const;

const text = new TextDecoder();

/**
 * Whether an ONNX file, or the head of one, has an operator that is not in `usual`; false for a file that is no ONNX
 * model, which ONNX Runtime rejects itself.
 */
export function hasRareOperator(model: Uint8Array, usual: ReadonlySet<string> = USUAL_OPERATORS): boolean {
  let isRare = false;
  const readNode = (node: Uint8Array, isWhole: boolean): void => {
    let [opType, domain] = ["", ""];
    readFields(node, (field, value) => {
      if (field === NODE.opType) opType = text.decode(value);
      else if (field === NODE.domain) domain = text.decode(value);
      else if (field === NODE.attribute)
        readFields(value, (each, graph) => {
          if (each === ATTRIBUTE.graph || each === ATTRIBUTE.graphs) readNodes(graph, GRAPH_NODE);
        });
    });
    isRare ||= isWhole && !usual.has(operatorName(opType, domain));
  };
  const readNodes = (holder: Uint8Array, nodeField: number): void => {
    readFields(holder, (field, value, isWhole) => {
      if (field === nodeField) readNode(value, isWhole);
    });
  };
  try {
    readFields(model, (field, value) => {
      if (field === MODEL.graph) readNodes(value, GRAPH_NODE);
      else if (field === MODEL.functions) readNodes(value, FUNCTION_NODE);
    });
  } catch {
    // The head of a file ends somewhere; nodes before that count.
  }
  return isRare;
}

/** Returns an operator's name: its type, prefixed with its domain unless that is ONNX's own. */
export function operatorName(opType: string, domain: string): string {
  return domain === "" || domain === "ai.onnx" ? opType : `${domain}:${opType}`;
}

/**
 * Calls `take` for each length-delimited field of a message; a truncated last field is passed with `isWhole` false.
 * @throws RangeError where it ends within a field or has an unknown wire type
 */
function readFields(message: Uint8Array, take: (field: number, value: Uint8Array, isWhole: boolean) => void): void {
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("ends within a number");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = readVarint();
    const wire = tag % 8;
    if (wire === WIRE.varint) readVarint();
    else if (wire === WIRE.bytes8) at += 8;
    else if (wire === WIRE.bytes4) at += 4;
    else if (wire === WIRE.message) {
      const end = readVarint() + at;
      take(Math.floor(tag / 8), message.subarray(at, end), end <= message.length);
      if (end > message.length) throw new RangeError("ends within a field");
      at = end;
    } else throw new RangeError(`has wire type ${wire}`);
  }
}
