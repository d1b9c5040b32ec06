// The decoders of a tokenizer.json, as the library in Rust computes them: tokens become a text.
import { byteOf } from "./bytes.ts";
import { matchesOf } from "./aligned.ts";
import { patternOf } from "./pattern.ts";
import type { PatternPart } from "./pattern.ts";

/** A decoder of a tokenizer.json, or a list of them. */
export interface DecoderPart {
  readonly type?: string;
  readonly decoders?: readonly DecoderPart[];
  readonly pattern?: PatternPart;
  readonly content?: string;
  readonly start?: number;
  readonly stop?: number;
  readonly prefix?: string;
  readonly suffix?: string;
  readonly cleanup?: boolean;
  readonly replacement?: string;
  readonly add_prefix_space?: boolean;
  readonly prepend_scheme?: string;
  readonly pad_token?: string;
  readonly word_delimiter_token?: string;
}

/** Changes tokens to parts of a text. */
type Decode = (tokens: readonly string[]) => readonly string[];

/**
 * Creates the function that joins tokens to a text; without a decoder, by spaces.
 * @throws Error for a type that is not known
 */
export function createDecoder(part: DecoderPart | null | undefined): (tokens: readonly string[]) => string {
  if (part == null) return (tokens) => tokens.join(" ");
  const decode = decodeOf(part);
  return (tokens) => decode(tokens).join("");
}

function decodeOf(part: DecoderPart): Decode {
  switch (part.type) {
    case "Sequence": {
      const steps = (part.decoders ?? []).map(decodeOf);
      return (tokens) => steps.reduce((now, step) => step(now), tokens);
    }
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "ByteLevel":
      return (tokens) => [decodeBytes(tokens.flatMap(bytesOf))];
    case "ByteFallback":
      return byteFallback;
    case "WordPiece":
      return (tokens) => tokens.map((x, i) => wordPart(x, i === 0, part));
    case "BPEDecoder": {
      const { suffix = "</w>" } = part;
      return (tokens) => tokens.map((x, i) => x.replaceAll(suffix, () => (i === tokens.length - 1 ? "" : " ")));
    }
    case "Metaspace":
      return metaspaceOf(part);
    case "CTC":
      return ctcOf(part);
    case "Replace": {
      const [pattern, content] = [patternOf(part.pattern), part.content ?? ""];
      return (tokens) => tokens.map((x) => replaced(x, pattern, content));
    }
    case "Strip":
      return (tokens) => tokens.map((x) => stripped(x, part));
    default:
      throw new Error(`Unknown Decoder type: ${String(part.type)}`);
  }
}

/** The bytes of a byte-level token; of another one its own. */
function bytesOf(token: string): number[] {
  const bytes = Array.from(token, byteOf);
  return bytes.every((x) => x !== undefined) ? bytes : Array.from(new TextEncoder().encode(token));
}

function decodeBytes(bytes: readonly number[], fatal = false): string {
  return new TextDecoder(undefined, { ignoreBOM: true, fatal }).decode(Uint8Array.from(bytes));
}

/** A token of a byte, as `<0xE4>`. */
const BYTE = /^<0x([0-9A-Fa-f]{2})>$/;

/** Decodes the bytes between other tokens; ones that are no text become a replacement character each. */
function byteFallback(tokens: readonly string[]): string[] {
  const found: string[] = [];
  let bytes: number[] = [];
  const end = (): void => {
    if (bytes.length === 0) return;
    try {
      found.push(decodeBytes(bytes, true));
    } catch {
      found.push(...bytes.map(() => "\ufffd"));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = BYTE.exec(token)?.[1];
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else {
      end();
      found.push(token);
    }
  }
  end();
  return found;
}

function wordPart(token: string, isFirst: boolean, { prefix = "##", cleanup = true }: DecoderPart): string {
  const part = isFirst ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
  return cleanup ? cleaned(part) : part;
}

/** Forms that tokens of English texts get. */
const CLEAN: readonly (readonly [string, string])[] = [
  ...[".", "?", "!", ","].map((x) => [` ${x}`, x] as const),
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  ...["'s", "'ve", "'re"].map((x) => [` ${x}`, x] as const),
];

function cleaned(text: string): string {
  return CLEAN.reduce((now, [from, to]) => now.replaceAll(from, to), text);
}

/** Writes marks as spaces; those of the first token are taken out where one was put before the text. */
function metaspaceOf({ replacement: mark = "\u2581", ...part }: DecoderPart): Decode {
  const isBegun = (part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always")) !== "never";
  return (tokens) => tokens.map((x, i) => x.replaceAll(mark, isBegun && i === 0 ? "" : " "));
}

/** Leaves out repeated tokens and padding. */
function ctcOf({ pad_token: pad = "<pad>", word_delimiter_token: space = "|", cleanup = true }: DecoderPart): Decode {
  return (tokens) =>
    tokens
      .filter((x, i) => x !== tokens[i - 1])
      .map((x) => {
        const token = x.replaceAll(pad, "");
        return cleanup ? cleaned(token).replaceAll(space, " ") : token;
      })
      .filter((x) => x !== "");
}

function replaced(text: string, pattern: RegExp, content: string): string {
  let [now, last] = ["", 0];
  for (const [start, end] of matchesOf(text, pattern)) {
    now += text.slice(last, start) + content;
    last = end;
  }
  return now + text.slice(last);
}

/** Takes a character away at the begin and at the end, so many times at most. */
function stripped(token: string, { content, start = 0, stop = 0 }: DecoderPart): string {
  const characters = Array.from(token);
  let [from, to] = [0, characters.length];
  while (from < start && characters[from] === content) from += 1;
  while (characters.length - to < stop && to > 0 && characters[to - 1] === content) to -= 1;
  return characters.slice(from, Math.max(from, to)).join("");
}
