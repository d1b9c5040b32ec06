// The recogniser reads Chinese and Latin alike, and sometimes gives Latin text the full-width punctuation of Chinese:
// they look the same to it. The script of the line decides. Pure.

const WIDE = /[\uff01-\uff5e]/g;
const WIDE_OFFSET = 0xfee0;
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/** Replaces full-width forms of ASCII characters in a line without any East Asian letter. */
export function narrowPunctuation(text: string): string {
  if (EAST_ASIAN.test(text)) return text;
  return text.replace(WIDE, (wide) => String.fromCharCode(wide.charCodeAt(0) - WIDE_OFFSET));
}
