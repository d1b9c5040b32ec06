// Text for a terminal. Names come from models that may be untrusted, and a terminal interprets control characters: an
// escape sequence sets its title or hides a line, a right-to-left mark reorders the visible text.

/** Escapes the control characters that a terminal interprets as `\u001b`; line ends and tabs stay. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, (x) =>
    x === "\n" || x === "\t" ? x : `\\u${x.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Writes a result of one or more lines to standard output. */
export function print(text: string): void {
  process.stdout.write(`${plain(text)}\n`);
}

/** Writes progress or an error to standard error. */
export function note(text: string): void {
  process.stderr.write(`${plain(text)}\n`);
}
