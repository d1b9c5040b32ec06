// The added tokens of a tokenizer.json, as the library in Rust finds them: those without `normalized` in the text as it is,
// the others in the normalized one, the longest at each place.
import { spacesAfter, spacesBefore } from "./spaces.ts";

/** A token of `added_tokens`. */
export interface AddedTokenPart {
  readonly id: number;
  readonly content: string;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
  readonly special?: boolean;
}

/** A part of a text: an added token with the white space that it takes, or what lies between two. */
export interface TextSection {
  readonly start: number;
  readonly end: number;
  readonly token: AddedTokenPart | null;
}

/** Letters of words: Unicode's `\w`. */
const WORD = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const WORD_START = new RegExp(`^${WORD}`, "u");
const WORD_END = new RegExp(`${WORD}$`, "u");

/** Finds the added tokens of a text. */
export type FindSections = (text: string) => TextSection[];

/** Creates the function that finds tokens, by their forms in a text. */
export function createFinder(tokens: ReadonlyMap<string, AddedTokenPart>): FindSections {
  /** Forms by their first unit, the longest first. */
  const forms = new Map<string, string[]>();
  for (const form of [...tokens.keys()].sort((a, b) => b.length - a.length))
    if (form !== "") forms.set(form[0] ?? "", [...(forms.get(form[0] ?? "") ?? []), form]);
  return (text) => {
    const sections: TextSection[] = [];
    let from = 0; // the end of the last token
    const addUpTo = (end: number): void => {
      if (from < end) sections.push({ start: from, end, token: null });
    };
    for (let at = 0; at < text.length;) {
      const form = forms.get(text[at] ?? "")?.find((x) => text.startsWith(x, at));
      const token = form === undefined ? undefined : tokens.get(form);
      let [start, end] = [at, at + (form?.length ?? 1)];
      at = end;
      if (token === undefined) continue;
      const isInWord =
        WORD_END.test(text.slice(Math.max(0, start - 2), start)) || WORD_START.test(text.slice(end, end + 2));
      if (token.single_word === true && isInWord) continue;
      if (token.lstrip === true) start = Math.max(from, start - spacesAfter(text.slice(from, start)));
      if (token.rstrip === true) end += spacesBefore(text.slice(end));
      addUpTo(start);
      sections.push({ start, end, token });
      from = end;
    }
    addUpTo(text.length);
    return sections;
  };
}
