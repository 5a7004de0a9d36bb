// Control and format characters, and those that end a line: they let text from the wire forge a line of a log or
// drive a terminal.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Text from elsewhere in a form that is safe in a log and on a terminal: what cannot be printed becomes `\x1b`. */
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
