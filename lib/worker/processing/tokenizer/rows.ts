// The post-processors of a tokenizer.json, as the library in Rust computes them: the tokens of one text or of a pair become
// a row with special tokens and token types.
import type { TextToken } from "./model.ts";

/** A post-processor of a tokenizer.json, or a list of them. */
export interface ProcessorPart {
  readonly type?: string;
  readonly processors?: readonly ProcessorPart[];
  readonly trim_offsets?: boolean;
  readonly add_prefix_space?: boolean;
  readonly cls?: readonly [token: string, id: number];
  readonly sep?: readonly [token: string, id: number];
  readonly single?: readonly TemplatePart[];
  readonly pair?: readonly TemplatePart[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids?: readonly number[] }>>;
}

/** A part of a template: a text, or a special token. */
interface TemplatePart {
  readonly Sequence?: { readonly id?: string; readonly type_id?: number };
  readonly SpecialToken?: { readonly id?: string; readonly type_id?: number };
}

/** A token of a row; `token` is null for a special one. */
export interface RowToken {
  readonly id: number;
  readonly type: number;
  readonly token: TextToken | null;
}

/** Changes the parts of a row, which are the texts at first. */
type Process = (parts: readonly (readonly RowToken[])[]) => readonly (readonly RowToken[])[];

/** Returns the row of a text or of a pair. */
export type MakeRow = (text: readonly TextToken[], pair: readonly TextToken[] | null) => RowToken[];

/**
 * Creates the function that makes rows.
 * @throws Error for a type that is not known
 */
export function createRows(part: ProcessorPart | null | undefined): MakeRow {
  const process = processOf(part);
  return (text, pair) => {
    const texts = pair === null ? [text] : [text, pair];
    return process(texts.map((tokens, type) => tokens.map((token) => ({ id: token.id, type, token })))).flat();
  };
}

function processOf(part: ProcessorPart | null | undefined): Process {
  if (part == null) return (parts) => parts;
  switch (part.type) {
    case "ByteLevel":
      return (parts) => parts;
    case "BertProcessing":
      return (parts) => parts.map((x, i) => [...(i === 0 ? mark(part.cls) : []), ...typed(x, i), ...mark(part.sep, i)]);
    case "RobertaProcessing":
      return (parts) =>
        parts.map((x, i) => [...mark(i === 0 ? part.cls : part.sep), ...typed(x, 0), ...mark(part.sep)]);
    case "TemplateProcessing":
      checkTemplate(part);
      return (parts) => templateOf(part, parts);
    case "Sequence": {
      const steps = (part.processors ?? []).map(processOf);
      return (parts) => steps.reduce((now, step) => step(now), parts);
    }
    default:
      throw new Error(`Unknown PostProcessor type: ${String(part.type)}`);
  }
}

function mark(special: readonly [token: string, id: number] | undefined, type = 0): RowToken[] {
  return special === undefined ? [] : [{ id: special[1], type, token: null }];
}

function typed(tokens: readonly RowToken[], type: number): RowToken[] {
  return tokens.map((x) => ({ ...x, type }));
}

function checkTemplate({ single = [], pair = [], special_tokens: known = {} }: ProcessorPart): void {
  const unknown = [...single, ...pair].map((x) => x.SpecialToken?.id).find((x) => x !== undefined && !(x in known));
  if (unknown !== undefined) throw new Error(`special_tokens of TemplateProcessing lack "${unknown}"`);
}

function templateOf(part: ProcessorPart, parts: readonly (readonly RowToken[])[]): RowToken[][] {
  const template = (parts.length > 1 ? part.pair : part.single) ?? [];
  return template.map(({ Sequence: text, SpecialToken: special }): RowToken[] => {
    if (text !== undefined) return typed(parts[text.id === "A" ? 0 : 1] ?? [], text.type_id ?? 0);
    const ids = part.special_tokens?.[special?.id ?? ""]?.ids ?? [];
    return ids.map((id) => ({ id, type: special?.type_id ?? 0, token: null }));
  });
}

/** A way to take spaces out of the places of byte-level tokens. */
export interface Trimmer {
  /** Whether the pre-tokenizer put a space before the text. */
  readonly hasBegin: boolean;
}

/** Returns how the places of byte-level tokens are trimmed, one after the other. */
export function trimmersOf(part: ProcessorPart | null | undefined): readonly Trimmer[] {
  return [part, ...(part?.processors ?? [])].flatMap((x) =>
    x != null && /^(ByteLevel|RobertaProcessing)$/.test(x.type ?? "") && x.trim_offsets !== false
      ? [{ hasBegin: x.add_prefix_space !== false }]
      : [],
  );
}
