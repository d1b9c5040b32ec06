// Texts of the corpus: English phrases, numbers, prices, dates, times, e-mail addresses, codes. A person could read
// every line: no strings in which O and 0, or l, I and 1, only differ by the glyph.
import type { Random } from "../../lib/test-support/random.ts";

const WORDS =
  `the and for with from this that have will your about which their there after before under over between through
  every other first second third small large early late open closed quick quiet bright narrow broad plain simple
  common rare fresh clean heavy light strong gentle careful honest useful local public private modern ancient
  water river harbour garden window kitchen market station library museum theatre village county island valley
  mountain forest meadow bridge street corner number letter paper pencil notebook picture camera record report
  summary chapter section figure table index value price amount total balance account invoice receipt order delivery
  customer supplier manager teacher doctor engineer farmer writer painter driver sailor student neighbour family
  morning evening weekend summer winter autumn spring Monday Tuesday Thursday Friday January March April September
  October December north south east west left right above below inside outside away together again always never
  often seldom perhaps almost enough rather quite very much many few several most least more less
  bread butter cheese honey apple orange lemon pepper sugar coffee breakfast dinner bottle basket blanket hammer
  ladder engine wheel mirror carpet ceiling cotton copper silver timber marble gravel thunder weather temperature
  pressure measure distance journey ticket platform passenger luggage departure arrival schedule timetable
  carry bring build mend paint write read count gather follow answer explain remember forget consider decide
  receive deliver request reply notice discover improve protect repair replace remove return arrive depart
  question example reason method result problem process quality quantity material product service support
  standard original complete separate special current previous following available possible important necessary
  agreement contract payment deposit interest percent discount warranty policy document signature register
  edge cloth thread weave pattern fabric needle loom shuttle selvedge finish border ribbon woven linen`
    .split(/\s+/)
    .filter((word) => word !== "");

const NAMES = [
  "mara",
  "jonas",
  "helen",
  "peter",
  "anna",
  "david",
  "ruth",
  "martin",
  "sophie",
  "oscar",
  "nadia",
  "hugo",
];
const HOSTS = ["example.org", "example.com", "example.net", "mail.example.org", "shop.example.com"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const CODE_LETTERS = [..."ABCDEFHKMNPRTXY"];
const LABELS = ["Total", "Subtotal", "Order", "Invoice", "Date", "Room", "Phone", "Price", "Weight", "Page", "Table"];

const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);
const digits = (random: Random, count: number): string =>
  Array.from({ length: count }, (_, at) => random.whole(at === 0 ? 1 : 0, 9)).join("");
const two = (value: number): string => value.toString().padStart(2, "0");

/** Returns words of English-like prose, some with punctuation, the first with a capital. */
export function prose(random: Random, count: number): string[] {
  const words: string[] = [];
  let starts = true;
  for (let at = 0; at < count; at++) {
    let word = random.chance(0.06) ? figure(random) : random.pick(WORDS);
    if (starts) word = capital(word);
    starts = false;
    if (at < count - 1 && random.chance(0.14)) {
      const mark = random.pick([",", ",", ".", ".", ";", ":", "?", "!"]);
      starts = mark === "." || mark === "?" || mark === "!";
      word += mark;
    }
    words.push(word);
  }
  return words;
}

/** Returns one figure as in prose: a count, a price, a percentage, a time. */
function figure(random: Random): string {
  switch (random.whole(0, 4)) {
    case 0:
      return digits(random, random.whole(2, 4));
    case 1:
      return `$${random.whole(2, 980)}.${two(random.whole(0, 99))}`;
    case 2:
      return `${random.whole(2, 99)}.${random.whole(0, 9)}%`;
    case 3:
      return `${two(random.whole(0, 23))}:${two(random.whole(0, 59))}`;
    default:
      return `${random.whole(2, 99)},${digits(random, 3)}`;
  }
}

/** Returns the text of one line of its own: a phrase, heading, price, date, address, code or number. */
export function lineText(random: Random): string {
  const kind = random.next();
  if (kind < 0.34) return prose(random, random.whole(3, 7)).join(" ");
  if (kind < 0.44) return prose(random, random.whole(2, 4)).join(" ").toUpperCase();
  if (kind < 0.54) return prose(random, random.whole(2, 4)).map(capital).join(" ");
  if (kind < 0.62) return `${random.pick(LABELS)}: ${figure(random)}`;
  if (kind < 0.7) return date(random);
  if (kind < 0.77) return `${random.pick(NAMES)}.${random.pick(WORDS).toLowerCase()}@${random.pick(HOSTS)}`;
  if (kind < 0.84) return `${random.pick(LABELS)} ${code(random)}`;
  if (kind < 0.9) return `+${digits(random, 2)} ${digits(random, 3)} ${digits(random, 3)} ${digits(random, 4)}`;
  if (kind < 0.95) return `${random.whole(1, 40)} ${random.pick(WORDS)} (${figure(random)})`;
  return `${capital(random.pick(WORDS))}-${random.pick(WORDS)} & ${random.pick(WORDS)}`;
}

function date(random: Random): string {
  const year = random.whole(1985, 2029);
  const month = random.whole(1, 12);
  const day = random.whole(1, 28);
  switch (random.whole(0, 2)) {
    case 0:
      return `${year}-${two(month)}-${two(day)}`;
    case 1:
      return `${day} ${MONTHS[month - 1] ?? ""} ${year}, ${two(random.whole(0, 23))}:${two(random.whole(0, 59))}`;
    default:
      return `${two(day)}/${two(month)}/${year}`;
  }
}

function code(random: Random): string {
  const letters = Array.from({ length: random.whole(2, 3) }, () => random.pick(CODE_LETTERS)).join("");
  return `${letters}-${digits(random, random.whole(3, 6))}`;
}
