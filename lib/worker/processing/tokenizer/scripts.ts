// The pre-tokenizer UnicodeScripts: a text is split where its script changes. The scripts are those of the library in Rust,
// characters those of the browser: what Unicode got since the library's table is split here, and joins its neighbour there.
import type { Aligned } from "./aligned.ts";
import { slice } from "./aligned.ts";

const SCRIPTS = (
  "Latin Common Han Cyrillic Arabic Inherited Adlam Ahom Anatolian_Hieroglyphs Armenian Avestan Balinese Bamum Bassa_Vah " +
  "Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham " +
  "Cherokee Coptic Cuneiform Cypriot Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan Ethiopic Georgian Glagolitic " +
  "Gothic Grantha Greek Gujarati Gurmukhi Hangul Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inscriptional_Pahlavi " +
  "Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Khojki Khudawadi Lao Lepcha Limbu " +
  "Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam Mandaic Manichaean Marchen Meetei_Mayek Mende_Kikakui " +
  "Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean New_Tai_Lue Newa Nko Ogham " +
  "Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_South_Arabian Old_Turkic Oriya Osage " +
  "Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada " +
  "Shavian Siddham SignWriting Sinhala Sora_Sompeng Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet " +
  "Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Ugaritic Vai Warang_Citi Yi"
).split(" ");

/** Splits a text at changes of its script; spaces and unknown characters belong to what is before them. */
export function splitAtScripts(x: Aligned): Aligned[] {
  const starts: number[] = [];
  let last: string | null = null;
  let at = 0;
  for (const character of x.text) {
    const script = scriptOf(character);
    if (script !== null && script !== last) starts.push(at);
    last = script ?? last;
    at += character.length;
  }
  return starts.map((start, i) => slice(x, start, starts[i + 1] ?? x.text.length));
}

/** Returns the script of a character, of Japanese that of ideographs; null for a space and what has none. */
function scriptOf(character: string): string | null {
  if (character === " ") return null;
  if (character === "\u30fc") return "Han";
  const script = SCRIPTS.find((name) => expressionOf(name).test(character)) ?? null;
  return script === "Hiragana" || script === "Katakana" ? "Han" : script;
}

const expressions = new Map<string, RegExp>();

function expressionOf(script: string): RegExp {
  const known = expressions.get(script) ?? new RegExp(`\\p{Script=${script}}`, "u");
  expressions.set(script, known);
  return known;
}
