// Text for a terminal. Names come from models that a stranger may have made, and a terminal obeys what is in them: an
// escape sequence sets its title or hides a line, a mark for right-to-left text reorders what is read.

/** Returns text with the characters that a terminal obeys written as `\u001b`; line ends and tabs stay. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, (x) =>
    x === "\n" || x === "\t" ? x : `\\u${x.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Writes a result, a line or several, to standard output. */
export function print(text: string): void {
  process.stdout.write(`${plain(text)}\n`);
}

/** Writes progress or an error to standard error. */
export function note(text: string): void {
  process.stderr.write(`${plain(text)}\n`);
}
